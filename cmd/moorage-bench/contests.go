package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"moorage/cmd/moorage-bench/client"
)

// The names of the peers.
const (
	moorageName   = "moorage"
	floorName     = "floor: mcp-go, no-op tool"
	referenceName = "server-filesystem, no sandbox"
	runcRunName   = "runc run of true"
	runcExecName  = "runc exec of true"
)

// Aims in seconds and bytes.
const (
	execAim  = 2.5e-3
	startAim = 0.3
	rssAim   = 80e6
	// Half of what Docker's API took at its fastest, see dockerNote.
	createAim = 0.111 / 2
)

// dockerNote is the one comparison that is quoted.
const dockerNote = `Quoted, not measured here: Docker's API took 111 to 201 ms to create and start a
container on a machine like the one Moorage was developed on. The aim of
"create to first answer" is half of the lower figure.`

// bench is what the contests need.
type bench struct {
	opts      options
	dir       string // of this run
	server    *server
	ours      *fileServer
	creator   *client.Client // of another bot, so that ours keeps its current container
	floor     *client.Client
	reference *fileServer // nil without Node
	runc      *runc
	created   int
}

// contests lists all but the server's start.
func (b *bench) contests() []contest {
	list := b.fileContests(1)
	list = append(list, contest{
		name: "exec true", rounds: b.rounds(20), slice: slice, aims: []aim{{limit: execAim}},
		peers: []peer{
			calling(moorageName, b.ours.client, client.Tool("exec", map[string]any{"argv": []string{"/bin/true"}}), 1),
			timed(runcExecName, b.runc.exec),
			calling(floorName, b.floor, nothing(), 1),
		},
	})
	if b.opts.Inflight > 1 {
		list = append(list, b.fileContests(b.opts.Inflight)...)
	}
	return append(list, contest{
		name: "create to first answer", rounds: b.rounds(20), aims: []aim{{limit: createAim}},
		peers: []peer{timed(moorageName, b.create), timed(runcRunName, b.runc.runTrue)},
	})
}

// slice is how long one round of one peer is.
const slice = 50 * time.Millisecond

// rounds is how many of n rounds this run has.
func (b *bench) rounds(n int) int { return max(1, n/b.opts.divisor) }

// fileContests compares the file calls with depth of them in flight.
func (b *bench) fileContests(depth int) []contest {
	sides := func(call func(*fileServer) client.Request) []peer {
		peers := []peer{calling(moorageName, b.ours.client, call(b.ours), depth)}
		if b.reference != nil {
			peers = append(peers, calling(referenceName, b.reference.client, call(b.reference), depth))
		}
		return append(peers, calling(floorName, b.floor, nothing(), depth))
	}
	title, aims := "", fileAims
	if depth > 1 {
		title, aims = fmt.Sprintf(", %d in flight", depth), fileRateAims
	}
	c := contest{rounds: b.rounds(20), slice: slice, byRate: depth > 1}
	read, write, list := c, c, c
	read.name, read.aims = "fs_read 4 KiB"+title, aims.read
	read.peers = sides(func(f *fileServer) client.Request { return f.callRead })
	write.name, write.aims = "fs_write 4 KiB"+title, aims.write
	write.peers = sides(func(f *fileServer) client.Request { return f.callWrite })
	list.name, list.aims = "fs_list 100"+title, aims.list
	list.peers = sides(func(f *fileServer) client.Request { return f.callList })
	return []contest{read, write, list}
}

type aimsOfFiles struct{ read, write, list []aim }

var (
	fileAims = aimsOfFiles{
		read:  []aim{{against: floorName, limit: 2}, {against: referenceName, limit: 1. / 3}},
		write: []aim{{against: referenceName, limit: 1}},
		list:  []aim{{against: referenceName, limit: 1. / 3}},
	}
	// With several in flight the ratio is of calls per second.
	fileRateAims = aimsOfFiles{
		read: []aim{{against: referenceName, limit: 3}},
		list: []aim{{against: referenceName, limit: 3}},
	}
)

// create times a new container from the request to the first answer of its
// agent. The image is in the store; deleting it again is not timed.
func (b *bench) create(context.Context) (time.Duration, error) {
	b.created++
	id := fmt.Sprintf("bench-%d", b.created)
	begun := time.Now()
	if _, err := b.creator.Call("create_container", map[string]any{"container_id": id}); err != nil {
		return 0, err
	}
	if _, err := b.creator.Call("fs_stat", map[string]any{"container_id": id, "path": "/"}); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	_, err := b.creator.Call("delete_container", map[string]any{"container_id": id})
	return took, err
}

// starts measures servers on empty directories, from their start to ready, and
// their memory then.
func starts(ctx context.Context, o options, dir string, times int) ([]row, error) {
	var took, memory samples
	for i := range times {
		s, d, err := startServer(ctx, o.moorage(), filepath.Join(dir, fmt.Sprint("start-", i)))
		if err != nil {
			return nil, err
		}
		bytes, err := s.rss()
		if stopErr := s.stop(); err == nil {
			err = stopErr
		}
		if err != nil {
			return nil, err
		}
		took.took, took.busy = append(took.took, d), took.busy+d
		memory.took = append(memory.took, time.Duration(bytes)) // only for its quantiles
	}
	start := row{
		Contest: "server start to ready", Who: moorageName, Unit: "s", Calls: times,
		P50: took.quantile(0.5).Seconds(), P95: took.quantile(0.95).Seconds(),
	}
	rss := row{
		Contest: "server RSS, no container", Who: moorageName, Unit: "B", Calls: times,
		P50: float64(memory.quantile(0.5)), P95: float64(memory.quantile(0.95)),
	}
	return []row{judge(start, true, []aim{{limit: startAim}}), judge(rss, true, []aim{{limit: rssAim}})}, nil
}
