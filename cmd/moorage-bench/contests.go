package main

import (
	"context"
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

// benchBot is whose container the calls are for.
const benchBot = "bench"

// Tools of Moorage without which a contest is left out. Without others there is
// no benchmark.
const (
	editTool = "fs_edit"
	grepTool = "fs_grep"
	globTool = "fs_glob"
)

// Aims in seconds, bytes, and bytes a second.
const (
	execAim  = 2e-3
	startAim = 0.3
	rssAim   = 80e6
	// Half of what Docker's API took at its fastest, see dockerNote.
	createAim = 0.111 / 2
	globAim   = 0.15
	bridgeAim = 200e6
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
	lacks     map[string]bool // tools that Moorage does not have
	creator   *client.Client  // of another bot, so that ours keeps its current container
	floor     *client.Client
	reference *fileServer // nil without Node
	runc      *runc
	big       *big
	created   int
}

// part is a part of the run: a contest, or what else makes rows.
type part struct {
	name string
	run  func(context.Context) ([]row, error)
}

// parts lists all that is measured, in its order. Making some of it checks that
// every side does what it is timed for.
func (b *bench) parts(ctx context.Context) ([]part, error) {
	searches, err := b.searchContests(ctx)
	if err != nil {
		return nil, err
	}
	list := b.fileContests(1)
	list = append(list, contest{
		name: "exec true", rounds: b.rounds(20), slice: slice, aims: []aim{{limit: execAim}},
		peers: []peer{
			calling(moorageName, b.ours.client, same(execTrue(), 1)),
			timed(runcExecName, b.runc.exec),
			calling(floorName, b.floor, same(nothing(), 1)),
		},
	})
	if b.opts.Inflight > 1 {
		list = append(list, b.fileContests(b.opts.Inflight)...)
	}
	list = append(list, searches...)
	list = append(list, b.bigContest(), contest{
		name: "create to first answer", rounds: b.rounds(20), aims: []aim{{limit: createAim}},
		peers: []peer{timed(moorageName, b.create), timed(runcRunName, b.runc.runTrue)},
	})
	var parts []part
	for _, c := range list {
		parts = append(parts, part{c.name, c.measure})
	}
	return append(parts, part{"exec true in many containers", b.load}, part{"server start", b.starts},
		part{"snapshots on the host's file system", b.statesOnHost}, part{"snapshots on the loop store", b.statesOnLoop}), nil
}

// slice is how long one round of one peer is.
const slice = 50 * time.Millisecond

// rounds is how many of n rounds this run has.
func (b *bench) rounds(n int) int { return max(1, n/b.opts.divisor) }

func execTrue() client.Request {
	return client.Tool("exec", map[string]any{"argv": []string{"/bin/true"}})
}
