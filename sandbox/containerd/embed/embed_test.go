package embed

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"moorage/sandbox/containerd/embed/shim"
	"moorage/sandbox/sandboxtest"
)

// TestMain: the test binary is its own shim, as moorage can be.
func TestMain(m *testing.M) {
	if shim.Is() {
		shim.Run()
		return
	}
	os.Exit(m.Run())
}

func options(t *testing.T) Options {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containerd needs root")
	}
	dir := sandboxtest.Dir(t)
	return Options{
		Root: filepath.Join(dir, "root"), Run: filepath.Join(dir, "run"),
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

func start(t *testing.T, o Options) *Embedded {
	t.Helper()
	e, err := Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// What was written is there after a restart in the same process.
func TestRestart(t *testing.T) {
	o := options(t)
	ctx := namespaces.WithNamespace(context.Background(), "test")
	e := start(t, o)
	img := images.Image{Name: "x", Target: ocispec.Descriptor{Digest: digest.FromString("x"), Size: 1, MediaType: "x"}}
	if _, err := e.Client().ImageService().Create(ctx, img); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e.Close() // twice is safe
	e = start(t, o)
	if _, err := e.Client().ImageService().Get(ctx, "x"); err != nil {
		t.Error(err)
	}
}

// The same binary as server and shim, and runc at the end of it.
func TestOwnShim(t *testing.T) {
	o := options(t)
	ctx := namespaces.WithNamespace(context.Background(), "test")
	e := start(t, o)
	root := filepath.Join(o.Root, "rootfs")
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs busybox-static")
	}
	if err := os.WriteFile(filepath.Join(root, "bin/true"), busybox, 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := e.Client().NewContainer(ctx, "c", client.WithRuntime("io.containerd.runc.v2", nil),
		client.WithNewSpec(oci.WithRootFSPath(root), oci.WithProcessArgs("/bin/true")))
	if err != nil {
		t.Fatal(err)
	}
	task, err := c.NewTask(ctx, cio.NullIO, client.WithRuntimePath(e.RuntimeName()))
	if err != nil {
		t.Fatal(err)
	}
	exit, err := task.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if status := <-exit; status.ExitCode() != 0 || status.Error() != nil {
		t.Errorf("exit %d, %v", status.ExitCode(), status.Error())
	}
	if _, err := task.Delete(ctx); err != nil {
		t.Error(err)
	}
	if err := c.Delete(ctx); err != nil {
		t.Error(err)
	}
	sandboxtest.CheckClean(t, filepath.Dir(o.Root), "")
}

// What a task leaves whose removal was cut short is removed, but for a rootfs
// with something in it.
func TestHalfGone(t *testing.T) {
	o := options(t)
	tasks := filepath.Join(o.Run, "containerd/io.containerd.runtime.v2.task/test")
	gone := []string{filepath.Join(tasks, ".c/work"), filepath.Join(tasks, ".d/rootfs")}
	stay := []string{filepath.Join(tasks, ".e/rootfs/file")}
	for _, dir := range slices.Concat(gone, stay) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	start(t, o)
	for _, dir := range gone {
		if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there: %v", dir, err)
		}
	}
	for _, dir := range stay {
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
	}
}

// A snapshot can be made after a process that ended while it made one.
func TestSnapshotHalfMade(t *testing.T) {
	o := options(t)
	ctx := namespaces.WithNamespace(context.Background(), "test")
	e := start(t, o)
	if _, err := e.Client().SnapshotService("overlayfs").Prepare(ctx, "first", ""); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"2", "3", "new-3"} {
		if err := os.MkdirAll(filepath.Join(o.Root, "containerd/io.containerd.snapshotter.v1.overlayfs/snapshots", n, "fs"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := start(t, o).Client().SnapshotService("overlayfs").Prepare(ctx, "x", ""); err != nil {
		t.Error(err)
	}
}

func TestStartChecks(t *testing.T) {
	good := options(t)
	for want, change := range map[string]func(*Options){
		"--run":       func(o *Options) { o.Run = "/" + strings.Repeat("r", RunMax) },
		"absolute":    func(o *Options) { o.Root = "relative" },
		"find shim":   func(o *Options) { o.ShimPath = "/does/not/exist" },
		"not a direc": func(o *Options) { o.Root = "/dev/null/x" },
	} {
		o := good
		change(&o)
		if _, err := Start(context.Background(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, got %v", want, err)
		}
	}
	start(t, good)
	if _, err := Start(context.Background(), good); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second one: %v", err)
	}
}
