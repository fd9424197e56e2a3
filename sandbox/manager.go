package sandbox

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"moorage/fsbridge"
)

// BaseImage is the built-in image, which needs no registry.
const BaseImage = "moorage.local/base:latest"

// Bounds of the Manager that are no options.
const (
	startTimeout   = 30 * time.Second // from Start to the agent's hello
	redialTimeout  = 5 * time.Second  // for the agent of a running container to dial again
	cleanupTimeout = 10 * time.Second // for undoing what failed
	adoptParallel  = 8                // containers adopted at once
)

// Options configure a Manager. The zero value is usable.
type Options struct {
	DefaultImage  string // for a request that names none; BaseImage if empty
	Snapshotter   string // for a request that names none; "overlayfs" if empty
	NoAutoCreate  bool   // a bot without a container gets ErrNotFound, not a new one
	Limits        Limits // for what a request leaves 0; see DefaultLimits
	MaxLimits     Limits // the most that a request may ask for; zero fields: no bound but the field's own
	MaxContainers int    // of one bot; 32 if 0
	// MaxSnapshots and MaxSnapshotBytes are the most that one bot may have: 1000
	// and 64 GiB if 0, no bound if negative.
	MaxSnapshots     int
	MaxSnapshotBytes int64
	DataDir          string       // where relative paths start; "/data" if empty
	Log              *slog.Logger // discards if nil
}

// DefaultLimits are those of a container whose request names none and for which
// Options.Limits names none: 2 GiB, 2 CPUs, 1024 processes.
var DefaultLimits = Limits{MemoryMB: 2048, CPUs: 2, PIDs: 1024}

func (o Options) withDefaults() Options {
	if o.DefaultImage == "" {
		o.DefaultImage = BaseImage
	}
	if o.Snapshotter == "" {
		o.Snapshotter = "overlayfs"
	}
	o.Limits = o.Limits.or(DefaultLimits)
	if o.MaxContainers <= 0 {
		o.MaxContainers = 32
	}
	if o.MaxSnapshots == 0 {
		o.MaxSnapshots = 1000
	}
	if o.MaxSnapshotBytes == 0 {
		o.MaxSnapshotBytes = 64 << 30
	}
	if o.DataDir == "" {
		o.DataDir = "/data"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Manager keeps the containers of all bots. Its methods may be called at once
// from many goroutines. See the package's comment for its locks.
type Manager struct {
	rt   Runtime
	opts Options

	bots       keyLock[Bot]
	containers keyLock[Ref]

	mu      sync.Mutex
	agents  map[Ref]*fsbridge.Client // open, or just closed
	current map[Bot]Ref              // what a call without an id means; absent: not known
	closed  bool
	watch   sync.WaitGroup // one for each client that is watched, each start, and each change by finish

	closing context.Context // ends with Close, and with it what goes on without a caller
	cut     context.CancelFunc
}

// NewManager makes a Manager on a runtime. It starts nothing.
func NewManager(rt Runtime, o Options) *Manager {
	closing, cut := context.WithCancel(context.Background())
	return &Manager{
		rt: rt, opts: o.withDefaults(), closing: closing, cut: cut,
		agents: map[Ref]*fsbridge.Client{}, current: map[Bot]Ref{},
	}
}

// Adopt connects to the agents of all containers that run already, as after a
// restart of the server. Nothing in them is touched. A container whose agent
// does not dial in time is left as it is: the next call of it decides.
func (m *Manager) Adopt(ctx context.Context) error {
	all, err := m.rt.List(ctx, "")
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, adoptParallel)
	for _, st := range all {
		if st.State != StateRunning {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			m.adopt(ctx, st.Spec.Ref)
		})
	}
	wg.Wait()
	return nil
}

func (m *Manager) adopt(ctx context.Context, ref Ref) {
	unlock, err := m.containers.lock(ctx, ref)
	if err != nil {
		return
	}
	defer unlock()
	if m.open(ref) != nil {
		return
	}
	if _, err := m.connect(ctx, ref, redialTimeout); err != nil {
		m.opts.Log.Warn("adopt container", "bot", ref.Bot, "container", ref.ID, "err", err)
		return
	}
	m.opts.Log.Info("adopted container", "bot", ref.Bot, "container", ref.ID)
}

// Close closes the connections to all agents and waits for what watches them,
// and for changes of snapshots, which it cuts short. The containers go on. It is safe to call it twice.
func (m *Manager) Close() error {
	m.mu.Lock()
	m.closed = true
	clients := make([]*fsbridge.Client, 0, len(m.agents))
	for _, c := range m.agents {
		clients = append(clients, c)
	}
	m.mu.Unlock()
	m.cut()
	for _, c := range clients {
		c.Close()
	}
	m.watch.Wait()
	return nil
}
