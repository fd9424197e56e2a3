package process

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

const (
	finishedMax = 256       // finished processes that are kept
	finishedAge = time.Hour // and for how long
	runningMax  = 1024      // processes at once
	spoolTotal  = 256 << 20 // bytes of output of all processes
	expireEvery = 5 * time.Minute
	spoolCalls  = 4 // reads and writes of spool files at once; each may hold a thread
)

// Options are what a Table needs to know.
type Options struct {
	// Spool is the directory of the output files. It belongs to the Table:
	// output files of an earlier one are removed.
	Spool string
	// Env is the environment that every command gets, as os.Environ gives it.
	Env []string
	// Init says that this is PID 1 of the container: any child that ends is
	// waited for, and signals to all processes go to all of the container.
	Init bool
	Log  *slog.Logger // nil: discarded
}

// Table is the set of processes.
type Table struct {
	o      Options
	env    environment
	tag    string // random, in every id
	limits counters
	score  score
	reaper *reaper
	census census
	rings  rings
	queued atomic.Int64 // bytes of input that wait

	spooling chan struct{} // tokens of spoolCalls
	wg       sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	lastID   int
	starting int
	running  map[string]*Process
	finished []*Process // oldest first
	spooled  int64      // bytes in the spool
}

// New makes a Table and starts the goroutine that waits for children; Close ends
// it.
func New(o Options) (*Table, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	var random [3]byte
	rand.Read(random[:])
	t := &Table{
		o:       o,
		env:     newEnvironment(o.Env),
		tag:     hex.EncodeToString(random[:]),
		running: make(map[string]*Process),

		spooling: make(chan struct{}, spoolCalls),
	}
	if err := t.sweep(); err != nil {
		return nil, err
	}
	t.limits.open()
	t.score.open()
	t.reaper = newReaper(o.Init)
	t.wg.Go(func() { t.reaper.run(expireEvery, t.expire) })
	return t, nil
}

// sweep removes the output of processes of an earlier life.
func (t *Table) sweep() error {
	entries, err := os.ReadDir(t.o.Spool)
	if err != nil {
		return fmt.Errorf("read spool: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, "p") && (strings.HasSuffix(name, ".out") || strings.HasSuffix(name, ".err")) {
			os.Remove(filepath.Join(t.o.Spool, name))
		}
	}
	return nil
}

// admit makes a new process, which gets an id that is unique also among those of
// other Tables. Either enter or refuse must follow.
func (t *Table) admit() (*Process, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, unix.ECANCELED
	}
	if len(t.running)+t.starting >= runningMax {
		return nil, fsbridge.Errorf(fsbridge.OpExec, "", fsbridge.CodeLimit, "%d processes run already", runningMax)
	}
	t.starting++
	t.lastID++
	return &Process{
		t:      t,
		id:     fmt.Sprintf("p%d-%s", t.lastID, t.tag),
		seq:    t.lastID,
		state:  fsbridge.Running,
		exited: make(chan struct{}),
		done:   make(chan struct{}),
	}, nil
}

// enter adds a process that was started. When the Table was closed meanwhile, it
// is killed.
func (t *Table) enter(p *Process) {
	t.mu.Lock()
	t.starting--
	t.running[p.id] = p
	closed := t.closed
	t.mu.Unlock()
	if closed {
		p.kill()
	}
}

// refuse takes back an admission.
func (t *Table) refuse() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.starting--
}

// remove forgets a process.
func (t *Table) remove(p *Process) {
	t.mu.Lock()
	delete(t.running, p.id)
	t.finished = slices.DeleteFunc(t.finished, func(f *Process) bool { return f == p })
	t.dropLocked(p)
	t.mu.Unlock()
	p.unlink()
}

// finish moves a process from the running to the finished ones. It returns those
// that are forgotten for it, whose files are still to be unlinked.
func (t *Table) finish(p *Process) (forgotten []*Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running[p.id] != p {
		return nil
	}
	delete(t.running, p.id)
	t.finished = append(t.finished, p)
	for len(t.finished) > finishedMax {
		forgotten = append(forgotten, t.evictLocked())
	}
	return forgotten
}

// expire forgets the finished processes that are too old.
func (t *Table) expire() {
	t.mu.Lock()
	var forgotten []*Process
	for len(t.finished) > 0 && time.Since(t.finished[0].endTime()) > finishedAge {
		forgotten = append(forgotten, t.evictLocked())
	}
	t.mu.Unlock()
	unlink(forgotten)
}

// evictLocked forgets the process that has finished first.
func (t *Table) evictLocked() *Process {
	oldest := t.finished[0]
	t.finished[0] = nil
	t.finished = t.finished[1:]
	t.dropLocked(oldest)
	return oldest
}

// dropLocked gives up a process's output, and input that it has not read. Its
// background children, if any, can still write.
func (t *Table) dropLocked(p *Process) {
	if p.in != nil {
		p.in.close()
	}
	for _, c := range p.captures() {
		t.spooled -= c.drop()
	}
}

// unlink removes the output files of processes that are forgotten.
func unlink(list []*Process) {
	for _, p := range list {
		p.unlink()
	}
}

func (p *Process) unlink() {
	for _, c := range p.captures() {
		os.Remove(c.path)
	}
}

// reserve takes n bytes of the spool, for which finished processes make room.
func (t *Table) reserve(n int64) bool {
	forgotten, ok := t.makeRoom(n)
	unlink(forgotten)
	return ok
}

func (t *Table) makeRoom(n int64) (forgotten []*Process, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.spooled+n > spoolTotal {
		if len(t.finished) == 0 {
			return forgotten, false
		}
		forgotten = append(forgotten, t.evictLocked())
	}
	t.spooled += n
	return forgotten, true
}

// release gives bytes back that were reserved but not written.
func (t *Table) release(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spooled -= n
}

// all returns every process.
func (t *Table) all() []*Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := append([]*Process(nil), t.finished...)
	for _, p := range t.running {
		list = append(list, p)
	}
	return list
}

// Terminate asks every process to end, and kills those that have not when ctx
// ends. As PID 1 that is every process of the container.
func (t *Table) Terminate(ctx context.Context) {
	t.signal(unix.SIGTERM)
	for _, p := range t.all() {
		if p.session { // a shell at a terminal passes over SIGTERM
			p.signal(unix.SIGHUP)
		}
	}
	t.signal(unix.SIGCONT)
	for t.alive() {
		select {
		case <-t.reaper.reaped:
		case <-ctx.Done():
			t.signal(unix.SIGKILL)
			return
		}
	}
}

func (t *Table) signal(s unix.Signal) {
	if t.o.Init {
		unix.Kill(-1, s)
		return
	}
	for _, p := range t.all() {
		p.signal(s)
	}
}

// alive reports whether a process is left to wait for.
func (t *Table) alive() bool {
	if t.o.Init {
		return !t.reaper.childless()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.running) > 0
}

// Close kills what still runs, waits for the Table's goroutines and removes the
// output. No Exec may be under way. It may be called again.
func (t *Table) Close() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	list := t.all()
	var kills sync.WaitGroup // together, as they look at /proc together
	for _, p := range list {
		if !p.hasEnded() {
			kills.Go(p.kill)
		}
	}
	kills.Wait()
	for _, p := range list {
		<-p.done
		p.killRest()
		p.closeFiles()
		t.remove(p)
	}
	t.reaper.close()
	t.wg.Wait()
	t.limits.close()
	t.score.close()
	return nil
}
