package embed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/cmd/containerd/server"
	"github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/containerd/v2/version"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	bolt "go.etcd.io/bbolt/errors"

	"moorage/sandbox/containerd/embed/shim"
)

// RunMax is the most bytes that Options.Run may have: containerd wants the
// directory of the shims' sockets, <Run>/s, to have at most 38.
const RunMax = 38 - len("/s")

// Options say where containerd keeps its things. All but Log and ShimPath are
// required.
type Options struct {
	Root string // durable directory, absolute
	Run  string // directory for sockets and the like, absolute, at most RunMax bytes
	// ShimPath is a binary whose main calls shim.Run when shim.Is; the running
	// executable if empty.
	ShimPath string
	Log      *slog.Logger // discards if nil
}

// Embedded is a containerd that lives in this process.
type Embedded struct {
	client  *client.Client
	runtime string
	server  *server.Server
	cancel  context.CancelFunc
	once    sync.Once
}

// running is held while a containerd is embedded: its registry is global.
var running sync.Mutex

// Start starts containerd and returns when it is ready. Values of ctx are kept;
// its end does not end the server, Close does.
func Start(ctx context.Context, o Options) (*Embedded, error) {
	link, err := o.prepare()
	if err != nil {
		return nil, err
	}
	if !running.TryLock() {
		return nil, errors.New("start containerd: one is embedded in this process already")
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e := &Embedded{runtime: link, cancel: cancel}
	bridgeLogs(o.Log)
	if err := e.serve(ctx, o); err != nil {
		e.stop()
		return nil, fmt.Errorf("start containerd: %w", err)
	}
	return e, nil
}

// Client is the in-memory client. It has no default namespace.
func (e *Embedded) Client() *client.Client { return e.client }

// RuntimeName is the path of the shim, for containerd.Options.RuntimeName.
func (e *Embedded) RuntimeName() string { return e.runtime }

// Close stops the server and gives its root free. Shims and their containers go
// on. It is safe to call it twice. containerd keeps its connections to the shims
// while the process lives, and clears up after one that dies; so between Close
// and the process's end a shim's death is better left alone.
func (e *Embedded) Close() error {
	e.once.Do(e.stop)
	return nil
}

func (e *Embedded) stop() {
	if e.server != nil {
		e.server.Stop()
	}
	e.cancel()
	// containerd 2.4 never closes a file in its root with which it tried fs-verity.
	// The collector does, soon after; until then the file system is busy.
	runtime.GC()
	running.Unlock()
}

func (e *Embedded) serve(ctx context.Context, o Options) error {
	cfg := o.config()
	if err := server.CreateTopLevelDirectories(cfg); err != nil {
		return err
	}
	if err := mount.SetTempMountLocation(filepath.Join(cfg.Root, "tmpmounts")); err != nil {
		return fmt.Errorf("make directory for temporary mounts: %w", err)
	}
	if _, err := mount.CleanupTempMounts(0); err != nil {
		return fmt.Errorf("unmount temporary mounts: %w", err)
	}
	if err := removeHalfGone(cfg.State); err != nil && o.Log != nil {
		o.Log.Warn("remove what is left of tasks", "err", err)
	}
	registerClient()
	srv, err := server.New(ctx, cfg)
	if errors.Is(err, bolt.ErrTimeout) {
		return fmt.Errorf("another process holds %s: %w", cfg.Root, err)
	}
	if err != nil {
		return err
	}
	e.server = srv
	e.client = takeClient()
	if err := srv.Start(ctx); err != nil {
		return err
	}
	srv.Wait()
	return nil
}

const clientPlugin = "moorage-client"

// config is the whole configuration. The gRPC address is never listened on, but
// the shims' socket names are hashed from it: it must stay the same.
func (o Options) config() *config.Config {
	address := filepath.Join(o.Run, "containerd.sock")
	return &config.Config{
		Version: version.ConfigVersion,
		Root:    filepath.Join(o.Root, "containerd"),
		State:   filepath.Join(o.Run, "containerd"),
		Plugins: map[string]any{
			"io.containerd.server.v1.grpc":  map[string]any{"address": address},
			"io.containerd.server.v1.ttrpc": map[string]any{"address": address + ".ttrpc"},
			"io.containerd.shim.v1.manager": map[string]any{
				"socket_dir": filepath.Join(o.Run, "s"),
				"env":        []string{shim.Env},
			},
			// Its default frees the disk only after a hundred changes, whatever
			// was deleted.
			"io.containerd.gc.v1.scheduler": map[string]any{"deletion_threshold": 1, "schedule_delay": "200ms"},
		},
		// Without it the database waits for ever for another owner's lock.
		Timeouts: map[string]string{"io.containerd.timeout.bolt.open": "1s"},
		// Comes with the sandbox store, and finds nothing to control.
		DisabledPlugins: []string{"io.containerd.grpc.v1.sandbox-controllers"},
		// A part that fails is else only logged.
		RequiredPlugins: []string{
			"io.containerd.metadata.v1.bolt", "io.containerd.runtime.v2.task",
			"io.containerd.server.v1.ttrpc", "io.containerd.snapshotter.v1.overlayfs",
			plugins.InternalPlugin.String() + "." + clientPlugin,
		},
	}
}

// prepare makes the run directory and the link by which the shim is called.
func (o Options) prepare() (link string, err error) {
	for _, dir := range []string{o.Root, o.Run} {
		if !filepath.IsAbs(dir) {
			return "", fmt.Errorf("start containerd: directory %q is not absolute", dir)
		}
	}
	if len(o.Run) > RunMax {
		return "", fmt.Errorf("start containerd: --run %s has %d bytes: at most %d, so that the shims' sockets fit", o.Run, len(o.Run), RunMax)
	}
	if o.ShimPath == "" {
		if o.ShimPath, err = os.Executable(); err != nil {
			return "", fmt.Errorf("find shim: %w", err)
		}
	}
	if _, err := os.Stat(o.ShimPath); err != nil {
		return "", fmt.Errorf("find shim: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(o.Run, "s"), 0o711); err != nil {
		return "", fmt.Errorf("make run directory: %w", err)
	}
	link = filepath.Join(o.Run, shim.Name)
	return link, relink(o.ShimPath, link)
}

// relink points link to target, also when there is one already.
func relink(target, link string) error {
	tmp := link + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("link shim: %w", err)
	}
	if err := os.Symlink(target, tmp); err != nil {
		return fmt.Errorf("link shim: %w", err)
	}
	if err := os.Rename(tmp, link); err != nil {
		return fmt.Errorf("link shim: %w", err)
	}
	return nil
}

var registration struct {
	once   sync.Once
	client *client.Client // of the Start that is under way; guarded by running
}

// registerClient adds a part of our own, whose one task is to make the client:
// only a part gets at the other parts.
func registerClient() {
	registration.once.Do(func() {
		registry.Register(&plugin.Registration{
			Type: plugins.InternalPlugin,
			ID:   clientPlugin,
			Requires: []plugin.Type{
				plugins.EventPlugin, plugins.LeasePlugin, plugins.SandboxStorePlugin,
				plugins.TransferPlugin, plugins.MountManagerPlugin, plugins.ServicePlugin, plugins.SnapshotPlugin,
			},
			InitFn: func(ic *plugin.InitContext) (any, error) {
				if err := cleanSnapshots(ic); err != nil {
					return nil, err
				}
				c, err := client.New("", client.WithInMemoryServices(ic))
				registration.client = c
				return c, err
			},
		})
	})
}

func takeClient() *client.Client {
	c := registration.client
	registration.client = nil
	return c
}
