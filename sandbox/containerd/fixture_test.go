package containerd

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"

	"moorage/fsbridge"
	"moorage/sandbox"
	"moorage/sandbox/containerd/embed"
	"moorage/sandbox/sandboxtest"
)

// engine is a kind of containerd under test.
type engine struct {
	name  string
	start func(t testing.TB, dir string) (c *client.Client, runtimeName string, stop func())
}

var engines = []engine{{"embedded", startEmbedded}, {"system", startSystem}}

// onEach runs a test on each kind of containerd.
func onEach(t *testing.T, test func(t *testing.T, f *fixture)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) { test(t, newFixture(t, e)) })
	}
}

// fixture is a Runtime on directories of its own.
type fixture struct {
	*Runtime
	t      testing.TB
	dir    string
	opts   Options
	engine engine

	containerd *client.Client
	stop       func() // ends the engine; nil when it does not run

	entered map[sandbox.Ref]*fsbridge.Client // by enter
}

// newFixture opens a Runtime. At the test's end all its containers are deleted,
// and nothing may be left.
func newFixture(t testing.TB, e engine) *fixture {
	t.Helper()
	needRoot(t)
	return openFixture(t, e, sandboxtest.Dir(t))
}

// adoptFixture opens one on directories that an embedding server has left.
func adoptFixture(t testing.TB, dir string) *fixture {
	t.Helper()
	return openFixture(t, engines[0], dir)
}

func openFixture(t testing.TB, e engine, dir string) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: dir, engine: e, opts: Options{
		Root: filepath.Join(dir, "root"), Run: filepath.Join(dir, "run"), AgentPath: agentPath, Log: testLog(t),
	}}
	f.open()
	t.Cleanup(f.end)
	return f
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containers need root")
	}
}

func (f *fixture) open() {
	f.t.Helper()
	if f.stop == nil {
		f.containerd, f.opts.RuntimeName, f.stop = f.engine.start(f.t, f.dir)
	}
	r, err := New(f.containerd, f.opts)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := r.Open(context.Background()); err != nil {
		f.t.Fatal(err)
	}
	f.Runtime = r
}

// close is the end of a server; a system's containerd goes on.
func (f *fixture) close() {
	f.t.Helper()
	if err := f.Runtime.Close(); err != nil {
		f.t.Error(err)
	}
	if f.engine.name == "embedded" {
		f.stop()
		f.stop = nil
	}
}

// restart is what happens when a server ends and another one starts.
func (f *fixture) restart() {
	f.t.Helper()
	f.close()
	f.open()
}

func (f *fixture) end() {
	ctx := context.Background()
	all, err := f.List(ctx, "")
	if err != nil {
		f.t.Error(err)
	}
	for _, st := range all {
		if err := f.Delete(ctx, st.Spec.Ref, true); err != nil {
			f.t.Error(err)
		}
	}
	for _, dir := range []string{filepath.Join(f.opts.Run, "c"), filepath.Join(f.opts.Root, "spool")} {
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			f.t.Errorf("left in %s: %v", dir, left)
		}
	}
	f.close()
	if f.stop != nil {
		f.stop()
	}
	sandboxtest.CheckClean(f.t, f.dir, f.Instance())
}

// create makes and starts a container of the base image.
func (f *fixture) create(ref sandbox.Ref) {
	f.t.Helper()
	ctx := context.Background()
	img, err := f.EnsureImage(ctx, sandbox.BaseImage, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.Create(ctx, sandbox.Spec{Ref: ref, Image: img}); err != nil {
		f.t.Fatal(err)
	}
	if err := f.Start(ctx, ref); err != nil {
		f.t.Fatal(err)
	}
}

// connect takes the agent's connection.
func (f *fixture) connect(ref sandbox.Ref) io.ReadWriteCloser {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitFor)
	defer cancel()
	c, err := f.Connect(ctx, ref)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	return c
}

// pid is the host's number of the container's PID 1.
func (f *fixture) pid(ref sandbox.Ref) int {
	f.t.Helper()
	task, err := f.task(f.namespaced(context.Background()), keyOf(f.instance, ref))
	if err != nil {
		f.t.Fatal(err)
	}
	return int(task.Pid())
}

func startEmbedded(t testing.TB, dir string) (*client.Client, string, func()) {
	t.Helper()
	e, err := embed.Start(context.Background(), embed.Options{
		Root: filepath.Join(dir, "root"), Run: filepath.Join(dir, "run"), ShimPath: shimPath, Log: testLog(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	return e.Client(), e.RuntimeName(), func() { e.Close() }
}

func startSystem(t testing.TB, dir string) (*client.Client, string, func()) {
	t.Helper()
	return dialSystem(t, sandboxtest.StartSystem(t, dir))
}

func dialSystem(t testing.TB, s *sandboxtest.System) (*client.Client, string, func()) {
	t.Helper()
	c, err := client.New(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	return c, "", func() {
		c.Close()
		s.Stop()
	}
}

// testLog shows warnings and worse with the test.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// activeSnapshots are those of this instance's containers.
func (f *fixture) activeSnapshots() []string {
	f.t.Helper()
	var names []string
	err := f.client.SnapshotService("overlayfs").Walk(f.namespaced(context.Background()), func(_ context.Context, i snapshots.Info) error {
		if i.Labels[labelActive] != "" && i.Labels[labelInstance] == f.instance {
			names = append(names, i.Name)
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return names
}

// prepareOrphan makes a snapshot as a Create does that is killed after it.
func (f *fixture) prepareOrphan(sn snapshots.Snapshotter, key string) {
	f.t.Helper()
	_, err := sn.Prepare(f.namespaced(context.Background()), snapshotName(key), "", snapshots.WithLabels(map[string]string{
		labelGCRoot: "x", labelInstance: f.instance, labelActive: key,
	}))
	if err != nil {
		f.t.Fatal(err)
	}
}
