package agent

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"moorage/fsbridge/agent/search"
)

const (
	// grace is how long processes may take to end after SIGTERM before the agent
	// kills them. The server's own SIGKILL usually comes before.
	grace = 60 * time.Second

	// maxProcs bounds how many threads run Go code.
	maxProcs = 4

	// spareThreads are for what blocks outside of the gate: who reads the socket
	// and who writes to it (one each), spool files (4), a fork, the runtime's
	// signal and monitor threads, and some to spare. A search is in the gate with
	// one goroutine and may have helpers besides.
	spareThreads = 14 + search.Helpers
)

// Run is the agent's life: it dials the server's socket, serves, and dials again,
// until ctx ends or SIGTERM or SIGINT comes. Then it asks all processes to end,
// waits for them, and returns.
func Run(ctx context.Context, socket string, o Options) error {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	defer stop()
	// The end of a terminal, or of the pipe that stderr is, is no reason for PID 1
	// to die. They are caught, not ignored: commands would inherit that.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, unix.SIGHUP, unix.SIGPIPE)
	defer signal.Stop(caught)
	a, err := New(o)
	if err != nil {
		return err
	}
	makeThreads(min(runtime.GOMAXPROCS(0), maxProcs))
	a.redial(ctx, socket)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	a.processes.Terminate(limit)
	return a.Close()
}

// makeThreads sets how many threads run Go code, and makes the runtime have as
// many threads as the agent can ever need. They stay, idle: when the container
// is at its limit of processes and threads, none can be made.
func makeThreads(procs int) {
	runtime.GOMAXPROCS(procs)
	var all, started sync.WaitGroup
	release := make(chan struct{})
	for range gateSize + procs + spareThreads {
		started.Add(1)
		all.Go(func() {
			runtime.LockOSThread() // until all have one, each needs its own
			defer runtime.UnlockOSThread()
			started.Done()
			<-release
		})
	}
	started.Wait()
	close(release)
	all.Wait()
}
