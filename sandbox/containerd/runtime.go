package containerd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"moorage/sandbox"
	"moorage/sandbox/containerd/door"
	"moorage/sandbox/containerd/idmap"
	"moorage/sandbox/containerd/image"
	"moorage/sandbox/containerd/ocispec"
	"moorage/sandbox/containerd/quota"
	"moorage/sandbox/containerd/snapstore"
)

// Bounds of waits.
const (
	undoTimeout   = 10 * time.Second // for undoing what has failed
	clearTimeout  = 10 * time.Second // for removing a task, or what is left of one
	forceAfter    = 3 * time.Second  // then the task's shim is killed
	startTimeout  = 30 * time.Second // for making and starting a task, once begun
	deleteTimeout = 5 * time.Minute  // for deleting a container and, perhaps, a bot's data
	answerTimeout = 10 * time.Second // then a shim counts as gone
	stateTimeout  = 2 * time.Second  // for a shim to say its task's state
)

// plainRuntime is the runtime's name in every record: containerd refuses to
// change it later. The shim that is really used is named with each task.
const plainRuntime = "io.containerd.runc.v2"

// Runtime makes containers on a containerd. It implements sandbox.Runtime and
// sandbox.ImageStore.
type Runtime struct {
	client   *client.Client
	opts     Options
	log      *slog.Logger
	instance string
	agent    string // the installed binary
	host     ocispec.Host
	images   *image.Store
	snaps    *snapstore.Store
	removed  chan struct{} // has an item when containerd has something to collect
	maxOwn   int           // maxOwnLayers, but in tests
	ids      *idmap.Pool   // who has which host ids
	userns   bool          // containers that start get ids of their own; set by Open

	ctx    context.Context // ends with Close; for what outlives a call
	cancel context.CancelFunc
	work   sync.WaitGroup // one for each task that is watched

	hosts sync.Map // chain ids of images that have an /etc/hosts

	disk *quota.Projects

	mu     sync.Mutex
	slots  map[string]*slot // by key
	closed bool
}

var (
	_ sandbox.Runtime    = (*Runtime)(nil)
	_ sandbox.ImageStore = (*Runtime)(nil)
)

// slot is what is kept in memory of a container: a lock and, while its task
// runs or when it was seen to end, its door.
type slot struct {
	sem chan struct{} // holds one item while the slot is locked

	linked bool // its layer had files with several names when it was last measured; under sem

	mu   sync.Mutex
	door *door.Door
}

// New checks the options, prepares the directories and installs the agent. It
// starts nothing: call Open before anything else.
func New(c *client.Client, o Options) (*Runtime, error) {
	o, err := o.complete()
	if err != nil {
		return nil, fmt.Errorf("open runtime: %w", err)
	}
	span, err := idmap.ParseSpan(o.UsernsRange)
	if err != nil {
		return nil, fmt.Errorf("open runtime: --userns-range: %w", err)
	}
	r := &Runtime{client: c, opts: o, log: o.Log, slots: map[string]*slot{}, removed: make(chan struct{}, 1), maxOwn: maxOwnLayers}
	if err := r.prepare(); err != nil {
		return nil, fmt.Errorf("open runtime: %w", err)
	}
	r.ids = idmap.NewPool(span, r.instance)
	r.images = image.NewStore(c, image.Options{
		Namespace: o.Namespace, Snapshotter: o.Snapshotter, Owner: r.instance, InsecureRegistries: o.InsecureRegistries, Log: o.Log,
	})
	r.snaps = snapstore.New(snapstore.Options{
		Instance: r.instance, Dir: filepath.Join(o.DataRoot, r.instance), Snapshotter: c.SnapshotService, Freed: r.freed, Log: o.Log,
	})
	if err := r.snaps.Prepare(); err != nil {
		return nil, fmt.Errorf("open runtime: %w", err)
	}
	r.disk = quota.NewProjects(quota.Options{Root: o.DataRoot, Dir: r.projectsDir(), Seed: r.instance, Most: o.MaxDisk, Log: o.Log})
	r.ctx, r.cancel = context.WithCancel(namespaces.WithNamespace(context.Background(), o.Namespace))
	return r, nil
}

func (r *Runtime) prepare() (err error) {
	for _, dir := range []string{r.opts.Root, r.opts.Run} {
		if err := makeDir(dir, 0o711); err != nil {
			return err
		}
	}
	// No business of other users of the host. Containers get at what is below by
	// their mounts.
	for _, dir := range []string{
		filepath.Join(r.opts.Root, "spool"), filepath.Join(r.opts.DataRoot, "bots"), r.projectsDir(),
		filepath.Join(r.opts.Run, "c"), filepath.Join(r.opts.Run, "m"), filepath.Join(r.opts.Run, "d"),
		filepath.Join(r.opts.Run, "runc"),
	} {
		if err := makeDir(dir, 0o700); err != nil {
			return err
		}
	}
	if r.instance, err = loadInstance(filepath.Join(r.opts.Root, "instance")); err != nil {
		return err
	}
	if r.agent, err = installAgent(r.opts.AgentPath, filepath.Join(r.opts.Root, "agent")); err != nil {
		return err
	}
	r.host, err = ocispec.HostFacts()
	return err
}

var instanceRE = regexp.MustCompile(`^[0-9a-f]{16}$`)

// loadInstance reads the instance id, or makes one.
func loadInstance(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		id := strings.TrimSpace(string(b))
		if !instanceRE.MatchString(id) {
			return "", fmt.Errorf("instance id in %s is %.40q: 16 hexadecimal digits are expected", path, id)
		}
		return id, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read instance id: %w", err)
	}
	raw := make([]byte, 8)
	rand.Read(raw)
	id := hex.EncodeToString(raw)
	if err := writeFile(path, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write instance id: %w", err)
	}
	return id, nil
}

// Instance is the random id of this Root: 16 hexadecimal digits, the same after
// each restart.
func (r *Runtime) Instance() string { return r.instance }

// Close stops listening for agents and waits for all that the Runtime has begun;
// pulls are given up. Containers go on. It is safe to call it twice.
func (r *Runtime) Close() error {
	r.cancel()
	r.mu.Lock()
	r.closed = true
	slots := make([]*slot, 0, len(r.slots))
	for _, s := range r.slots {
		slots = append(slots, s)
	}
	r.mu.Unlock()
	for _, s := range slots {
		if d := s.current(); d != nil {
			d.End(fmt.Errorf("%w: the server is closing", sandbox.ErrUnavailable))
		}
	}
	r.work.Wait()
	r.images.Close()
	r.ids.Close()
	removeCgroupDir(r.cgroupParent())
	return nil
}

// background does what nobody waits for, but Close.
func (r *Runtime) background(f func()) {
	r.mu.Lock()
	closed := r.closed
	if !closed {
		r.work.Go(f)
	}
	r.mu.Unlock()
	if closed {
		f()
	}
}

// namespaced puts containerd's namespace into a context.
func (r *Runtime) namespaced(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, r.opts.Namespace)
}

// acquire locks a container's slot, which is made if there is none. It gives up
// with the context.
func (r *Runtime) acquire(ctx context.Context, key string) (*slot, error) {
	for {
		s := r.slotOf(key)
		select {
		case s.sem <- struct{}{}:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the container: %w", context.Cause(ctx))
		}
		if r.peek(key) == s {
			return s, nil
		}
		<-s.sem // it was dropped while we waited
	}
}

// release unlocks a slot, and drops it when there is nothing to remember.
func (r *Runtime) release(key string, s *slot) {
	r.mu.Lock()
	if s.current() == nil && r.slots[key] == s {
		delete(r.slots, key)
	}
	r.mu.Unlock()
	<-s.sem
}

func (r *Runtime) slotOf(key string) *slot {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.slots[key]
	if s == nil {
		s = &slot{sem: make(chan struct{}, 1)}
		r.slots[key] = s
	}
	return s
}

// peek is the slot if there is one.
func (r *Runtime) peek(key string) *slot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.slots[key]
}

// door is the container's last known door; nil if none was opened.
func (r *Runtime) door(key string) *door.Door {
	if s := r.peek(key); s != nil {
		return s.current()
	}
	return nil
}

func (s *slot) current() *door.Door {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.door
}

func (s *slot) set(d *door.Door) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.door = d
}

// Paths on the host.

func (r *Runtime) runDir(key string) string   { return filepath.Join(r.opts.Run, "c", key) }
func (r *Runtime) spoolDir(key string) string { return filepath.Join(r.opts.Root, "spool", key) }
func (r *Runtime) mountDir(key string) string { return filepath.Join(r.opts.Run, "m", key) }
func (r *Runtime) runcRoot() string           { return filepath.Join(r.opts.Run, "runc") }
func (r *Runtime) dataDir(bot sandbox.Bot) string {
	return filepath.Join(r.opts.DataRoot, "bots", string(bot))
}
func (r *Runtime) projectsDir() string  { return filepath.Join(r.opts.DataRoot, "projects") }
func (r *Runtime) cgroupParent() string { return "/moorage/" + r.instance[:8] }

// Connect waits until the container's agent dials; see sandbox.Runtime.
func (r *Runtime) Connect(ctx context.Context, ref sandbox.Ref) (io.ReadWriteCloser, error) {
	key := keyOf(r.instance, ref)
	if d := r.door(key); d != nil {
		c, err := d.Take(ctx)
		if err != nil {
			return nil, fmt.Errorf("connect to %s: %w", ref, err)
		}
		return c, nil
	}
	if _, err := r.load(r.namespaced(ctx), ref); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("connect to %s: %w", ref, sandbox.ErrNotRunning)
}

// limitDisk makes new directories count for the bot's share of the disk.
func (r *Runtime) limitDisk(bot sandbox.Bot, dirs ...string) error {
	return r.disk.Limit(string(bot), dirs...)
}
