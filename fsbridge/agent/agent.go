package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"moorage/fsbridge"
	"moorage/fsbridge/agent/files"
	"moorage/fsbridge/agent/process"
	"moorage/fsbridge/agent/search"
)

// gateSize is how many operations block in system calls at once. More would need
// more threads and not be faster.
const gateSize = 16

// Options are what an Agent may be told. The zero value is one outside of a
// container, for tests.
type Options struct {
	// Spool is a directory for the output of processes and notes of its own. It
	// is made if it does not exist. "" means a temporary one that Close removes.
	Spool string
	// Build says which program this is; "" means "devel".
	Build string
	// Init says that the agent is PID 1 of the container.
	Init bool
	Log  *slog.Logger // nil: discarded
}

// Agent carries out operations in the container that it runs in.
type Agent struct {
	o         Options
	hello     fsbridge.Hello
	log       *slog.Logger
	files     *files.Tree
	processes *process.Table
	search    *search.Searcher
	gate      gate
	ownSpool  bool

	stop context.CancelFunc
	wg   sync.WaitGroup
}

// New makes an Agent. It starts the goroutine that waits for children and one
// that removes what a killed agent has left; Close ends both.
func New(o Options) (*Agent, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Build == "" {
		o.Build = "devel"
	}
	var random [8]byte
	rand.Read(random[:])
	boot := hex.EncodeToString(random[:])
	a := &Agent{
		log:   o.Log,
		hello: fsbridge.Hello{Version: fsbridge.Version, Build: o.Build, BootID: boot, PID: os.Getpid()},
		gate:  make(gate, gateSize),

		search: search.New(),
	}
	if err := a.openSpool(&o); err != nil {
		return nil, err
	}
	a.o = o
	var err error
	a.processes, err = process.New(process.Options{Spool: o.Spool, Env: os.Environ(), Init: o.Init, Log: o.Log})
	if err != nil {
		a.removeSpool()
		return nil, fmt.Errorf("start agent: %w", err)
	}
	a.files = files.New(files.Options{Spool: o.Spool, Boot: boot, Log: o.Log})
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	a.wg.Go(func() { a.clean(ctx) })
	return a, nil
}

// openSpool makes the spool directory, or a temporary one where the given one
// cannot be.
func (a *Agent) openSpool(o *Options) error {
	if o.Spool != "" {
		err := os.MkdirAll(o.Spool, 0o700)
		if err == nil {
			return nil
		}
		a.log.Warn("spool directory cannot be made", "path", o.Spool, "err", err)
	}
	for _, parent := range []string{"", "/", "/dev/shm"} {
		if dir, err := os.MkdirTemp(parent, ".moorage-spool-"); err == nil {
			o.Spool, a.ownSpool = dir, true
			return nil
		}
	}
	return fmt.Errorf("start agent: no directory can be made for the output of processes")
}

func (a *Agent) removeSpool() {
	if a.ownSpool {
		os.RemoveAll(a.o.Spool)
	}
}

func (a *Agent) clean(ctx context.Context) {
	if a.gate.enter(ctx) == nil {
		defer a.gate.leave()
		a.files.Clean(ctx)
	}
}

// Close kills every process and waits for the Agent's goroutines. No connection
// may be served any more.
func (a *Agent) Close() error {
	a.stop()
	a.wg.Wait()
	a.processes.Close()
	a.files.Close()
	a.removeSpool()
	return nil
}

// gate bounds how many operations are in system calls at once.
type gate chan struct{}

func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	default:
	}
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mustEnter waits without end: those who are in leave.
func (g gate) mustEnter() { g <- struct{}{} }

func (g gate) leave() { <-g }
