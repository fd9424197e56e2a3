package main

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"moorage/cmd/moorage/session"
	"moorage/cmd/moorage/store"
	"moorage/sandbox/sandboxtest"
)

var (
	modelRuns  = flag.Int("model.runs", 0, "runs of TestModel with 200 steps each (default 3 short ones)")
	modelSteps = flag.Int("model.steps", 0, "steps of each run of TestModel instead")
	modelSeed  = flag.Uint64("model.seed", 0, "seed of the first run of TestModel; those after it count on")
)

// modelLength is how many runs are made, and of how many steps.
func modelLength() (runs, steps int) {
	runs, steps = 3, 40
	if *modelRuns > 0 {
		runs, steps = *modelRuns, 200
	}
	return runs, cmp.Or(*modelSteps, steps)
}

// TestModel takes random steps on a real server and compares all files with a
// model of the trees: changes of files by tools and by programs, snapshots of
// containers that are quiet, busy or stopped, restores, forks, deletions, stops,
// restarts and kills of the server, also in the middle of what it does.
//
// A failure tells the seed; with -model.seed it gives the same choices again,
// though not always the same moments.
func TestModel(t *testing.T) {
	runs, steps := modelLength()
	for n := range runs {
		seed := *modelSeed + uint64(n)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			needRoot(t)
			newModelWorld(t, seed).run(steps)
		})
	}
}

// modelWorld is a server, its bots and what has been done.
type modelWorld struct {
	instance
	t      *testing.T
	seed   uint64
	rng    *rand.Rand
	loop   bool
	length int // in steps
	bots   []*modelBot

	mu     sync.Mutex
	steps  []string
	counts map[string]int
}

// newModelWorld starts a server: of every three runs one is on a loop store, of
// every four one without user namespaces, of every two one with two bots.
func newModelWorld(t *testing.T, seed uint64) *modelWorld {
	w := &modelWorld{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), counts: map[string]int{}}
	t.Setenv("MOORAGE_STORE", "plain")
	if w.loop = seed%3 == 1; w.loop {
		t.Setenv("MOORAGE_STORE", fmt.Sprintf("loop:%d", 2*store.MinSize))
	}
	if seed%4 == 2 {
		t.Setenv("MOORAGE_USERNS", "off")
	}
	w.instance = newInstance(t)
	if w.loop {
		t.Cleanup(func() { w.wipe(); w.checkUnmounted() })
	}
	for n := range 1 + seed%2 {
		b := &modelBot{
			w: w, name: []string{"ann", "bob"}[n], rng: rand.New(rand.NewPCG(seed, n+1)),
			containers: map[string]*modelContainer{}, snapshots: map[string]*modelSnapshot{}, data: new(tree),
		}
		b.cl = w.client(b.name)
		w.bots = append(w.bots, b)
	}
	return w
}

func (w *modelWorld) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps = append(w.steps, fmt.Sprintf("%d. ", len(w.steps)+1)+fmt.Sprintf(format, args...))
}

func (w *modelWorld) count(what string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what] += n
}

// check ends the test with all that was done.
func (w *modelWorld) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("after these steps:\n%s\n%v\nAgain: go test ./cmd/moorage -run TestModel -model.runs=1 -model.seed=%d -model.steps=%d",
			strings.Join(w.steps, "\n"), err, w.seed, w.length)
	}
}

func (w *modelWorld) run(steps int) {
	w.length = steps
	for _, b := range w.bots {
		w.check(b.run(b.createOp()))
	}
	begun := time.Now()
	for n := 0; n < steps; n += len(w.bots) {
		w.check(w.step())
	}
	w.say("the end")
	w.check(w.each(func(b *modelBot) error { return b.compareAll(true) }))
	w.check(w.each((*modelBot).compareSnapshots))
	w.check(w.each((*modelBot).deleteAll))
	w.t.Logf("%v, %v", time.Since(begun), w.counts)
	w.nothingLeft()
}

// each does something with all bots at once.
func (w *modelWorld) each(do func(*modelBot) error) error {
	errs := make([]error, len(w.bots))
	var wg sync.WaitGroup
	for n, b := range w.bots {
		wg.Go(func() { errs[n] = do(b) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *modelWorld) step() error {
	switch n := w.rng.IntN(100); {
	case n < 2:
		w.say("stop the server")
		w.instance.run("stop")
	case n < 4:
		w.say("kill the server")
		w.kill(w.t)
	case n < 10:
		return w.killMeanwhile()
	default:
		return w.each((*modelBot).step)
	}
	return w.each(func(b *modelBot) error { return b.compareAll(false) })
}

// killMeanwhile kills the server while each bot changes something.
func (w *modelWorld) killMeanwhile() error {
	pid := w.serverPID0()
	delay := time.Duration(w.rng.IntN(60_000)) * time.Microsecond
	if w.rng.IntN(4) == 0 {
		delay *= 4
	}
	ops := make([]*modelOp, len(w.bots))
	results := make([]session.ToolResult, len(w.bots))
	errs := make([]error, len(w.bots))
	var wg sync.WaitGroup
	for n, b := range w.bots {
		ops[n] = b.cutOp()
		b.say("%s, and kill the server after %v", ops[n].say, delay)
		wg.Go(func() { results[n], errs[n] = b.cl.Tool(ops[n].tool, ops[n].args) })
	}
	time.Sleep(delay)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		w.t.Errorf("kill the server: %v", err)
	}
	wg.Wait()
	for n, b := range w.bots {
		if err := b.settle(ops[n], results[n], errs[n]); err != nil {
			return err
		}
	}
	return nil
}

// serverPID0 is the server's; one is started if need be.
func (w *modelWorld) serverPID0() int {
	if _, err := w.bots[0].listed(); err != nil {
		w.check(err)
	}
	return w.serverPID()
}

func (b *modelBot) step() error {
	switch n := b.rng.IntN(100); {
	case n < 56:
		return b.change()
	case n < 64:
		return b.run(b.newSnapshotOp())
	case n < 69:
		return b.run(b.restoreOp())
	case n < 73:
		return b.run(b.forkOp())
	case n < 76:
		return b.run(b.deleteSnapshotOp())
	case n < 78:
		return b.run(b.deleteContainerOp())
	case n < 80:
		return b.run(b.createOp())
	case n < 82:
		return b.run(b.stopOp())
	case n < 86:
		return b.overlap()
	case n < 91:
		return b.diff()
	case n < 93:
		return b.startWriter(b.anyContainer())
	case n < 96:
		return b.feed(b.anyContainer())
	default:
		return b.idle(b.anyContainer())
	}
}

// second is another session of the bot.
func (b *modelBot) second() client {
	if b.other == nil {
		c := b.w.client(b.name)
		b.other = &c
	}
	return *b.other
}

// compareSnapshots compares each with the model, by a fork.
func (b *modelBot) compareSnapshots() error {
	for _, name := range slices.Sorted(maps.Keys(b.snapshots)) {
		op := b.forkOf(b.snapshots[name])
		b.say("%s", op.say)
		r, err := b.cl.Tool(op.tool, op.args)
		if err == nil {
			err = op.after(r)
		}
		id := op.args["container_id"].(string)
		if err == nil {
			err = b.compare(b.containers[id])
		}
		if err == nil {
			_, err = b.cl.Tool("delete_container", map[string]any{"container_id": id})
		}
		if err != nil {
			return err
		}
		delete(b.containers, id)
	}
	return nil
}

// deleteAll deletes containers and snapshots, in any order that is allowed.
func (b *modelBot) deleteAll() error {
	for len(b.containers)+len(b.snapshots) > 0 {
		var tool string
		args := map[string]any{}
		if len(b.containers) > 0 && (len(b.snapshots) == 0 || b.chance(50)) {
			c := b.anyContainer()
			tool, args["container_id"] = "delete_container", c.id
			args["delete_data"] = c.own || len(b.sharers(c)) == 1
			delete(b.containers, c.id)
		} else {
			s := b.anySnapshot()
			if slices.ContainsFunc(b.ids(), func(id string) bool { return b.containers[id].of == s }) {
				continue
			}
			tool, args["snapshot_name"] = "delete_snapshot", s.name
			delete(b.snapshots, s.name)
		}
		b.say("%s %v", tool, args)
		if _, err := b.cl.Tool(tool, args); err != nil {
			return err
		}
	}
	return nil
}

// nothingLeft waits until the engine has collected all layers but the image's, and
// looks at what else could be left, before and after the server's end.
func (w *modelWorld) nothingLeft() {
	root := w.Root
	if w.loop {
		root += "/store"
	}
	id, err := os.ReadFile(filepath.Join(root, "instance"))
	if err != nil {
		w.t.Fatal(err)
	}
	left := func() (all []string) {
		for _, dir := range []string{
			w.Run + "/c", w.Run + "/m", w.Run + "/d", w.Run + "/runc/*", w.Run + "/containerd/io.containerd.runtime.v2.task/*",
			root + "/spool", root + "/data/*/snapshots", root + "/data/*/own", root + "/data/*/tmp",
			root + "/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots",
		} {
			found, _ := filepath.Glob(dir + "/*")
			all = append(all, found...)
		}
		return all
	}
	// A server that ends at once leaves to the next one what it has not freed yet.
	w.instance.run("stop")
	w.instance.run("image", "list")
	sandboxtest.Eventually(w.t, 20*time.Second, func() bool {
		all := left()
		return len(all) == 1 && strings.Contains(all[0], "/io.containerd.snapshotter.v1.overlayfs/snapshots/") // the image's layer
	}, func() string { return "left, besides the image's layer: " + strings.Join(left(), "\n") })
	for _, b := range w.bots {
		_ = b.cl.Close()
		if b.other != nil {
			_ = b.other.Close()
		}
	}
	w.instance.run("stop", "--containers")
	sandboxtest.CheckClean(w.t, filepath.Dir(w.Root), strings.TrimSpace(string(id)))
}
