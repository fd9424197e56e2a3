package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"moorage/sandbox"
	"moorage/sandbox/sandboxtest"
)

const waitFor = 20 * time.Second

var ref = sandbox.Ref{Bot: "bot", ID: "one"}

func TestConnectionsOverALife(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.create(ref)
		f.connect(ref)
		if err := f.Stop(ctx, ref, waitFor); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Connect(ctx, ref); !errors.Is(err, sandbox.ErrNotRunning) {
			t.Errorf("connect to a stopped one: %v", err)
		}
		if err := f.Start(ctx, ref); err != nil {
			t.Fatal(err)
		}
		f.connect(ref).Close()
		f.connect(ref) // the agent dials again
	})
}

func TestConnectGivesUpWithItsContext(t *testing.T) {
	f := newFixture(t, engines[0])
	f.create(ref)
	f.connect(ref)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := f.Connect(ctx, ref); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("connect while the agent is connected: %v", err)
	}
}

// A container without our labels, or with those of another instance, is none of
// our business, even under the very key that ours would have.
func TestForeignContainers(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := f.namespaced(context.Background())
		key := keyOf(f.instance, ref)
		f.plant(key, nil)
		f.plant("foreign", map[string]string{labelBot: "bot", labelContainer: "one", labelInstance: "0123456789abcdef"})
		if all, err := f.List(ctx, ""); err != nil || len(all) != 0 {
			t.Errorf("list: %v, %v", all, err)
		}
		calls := map[string]error{
			"start": f.Start(ctx, ref), "stop": f.Stop(ctx, ref, 0), "delete": f.Delete(ctx, ref, true), "touch": f.Touch(ctx, ref),
		}
		_, calls["status"] = f.Status(ctx, ref)
		_, calls["usage"] = f.Usage(ctx, ref)
		_, calls["connect"] = f.Connect(ctx, ref)
		for name, err := range calls {
			if !errors.Is(err, sandbox.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
		img, err := f.EnsureImage(ctx, sandbox.BaseImage, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Create(ctx, sandbox.Spec{Ref: ref, Image: img}); !errors.Is(err, sandbox.ErrAlreadyExists) {
			t.Errorf("create: %v", err)
		}
		f.restart()
		for _, id := range []string{key, "foreign"} {
			if err := f.client.ContainerService().Delete(ctx, id); err != nil {
				t.Errorf("it was touched: %v", err)
			}
		}
	})
}

// plant makes a container that is not ours.
func (f *fixture) plant(id string, labels map[string]string) {
	f.t.Helper()
	spec, err := typeurl.MarshalAny(&specs.Spec{})
	if err != nil {
		f.t.Fatal(err)
	}
	c := containers.Container{ID: id, Labels: labels, Spec: spec, Runtime: containers.RuntimeInfo{Name: plainRuntime}}
	if _, err := f.client.ContainerService().Create(f.namespaced(context.Background()), c); err != nil {
		f.t.Fatal(err)
	}
}

// Two servers on one system containerd, with bots and ids of the same names.
func TestTwoInstances(t *testing.T) {
	f := newFixture(t, engines[1])
	ctx := context.Background()
	o := f.opts
	o.Root, o.Run = filepath.Join(f.dir, "root2"), filepath.Join(f.dir, "run2")
	other, err := New(f.client, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Open(ctx); err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if f.Instance() == other.Instance() {
		t.Fatal("two roots have one instance id")
	}
	f.create(ref)
	if _, err := other.Status(ctx, ref); !errors.Is(err, sandbox.ErrNotFound) {
		t.Errorf("the other's container: %v", err)
	}
	if err := other.Create(ctx, sandbox.Spec{Ref: ref, Image: sandbox.BaseImage}); err != nil {
		t.Fatal(err)
	}
	if err := other.Start(ctx, ref); err != nil {
		t.Fatal(err)
	}
	if err := other.Delete(ctx, ref, true); err != nil {
		t.Fatal(err)
	}
	f.connect(ref)
}

func TestUndoneStart(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.create(ref)
		if err := f.Stop(ctx, ref, waitFor); err != nil {
			t.Fatal(err)
		}
		bad := filepath.Join(f.dir, "badrunc")
		if err := os.WriteFile(bad, []byte("#!/bin/sh\necho no such thing >&2\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		good := f.Runtime.opts.OCIRuntime
		f.Runtime.opts.OCIRuntime = bad
		if err := f.Start(ctx, ref); err == nil {
			t.Error("started by a runtime that fails")
		}
		if st, err := f.Status(ctx, ref); err != nil || st.State != sandbox.StateStopped {
			t.Errorf("after a failed start: %+v, %v", st, err)
		}
		if left := f.cgroupDirs(keyOf(f.instance, ref)); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		f.Runtime.opts.OCIRuntime = good
		if err := f.Start(ctx, ref); err != nil {
			t.Error(err)
		}
	})
}

func TestUndoneCreate(t *testing.T) {
	f := newFixture(t, engines[0])
	ctx := f.namespaced(context.Background())
	if _, err := f.EnsureImage(ctx, sandbox.BaseImage, nil); err != nil {
		t.Fatal(err)
	}
	huge := map[string]string{}
	for i := range 40 {
		huge[fmt.Sprintf("KEY%d", i)] = strings.Repeat("ü", 500)
	}
	for name, c := range map[string]struct {
		spec sandbox.Spec
		want error
	}{
		"missing image":       {sandbox.Spec{Ref: ref, Image: "docker.io/library/none:latest"}, sandbox.ErrImage},
		"no image":            {sandbox.Spec{Ref: ref, Image: "Not An Image"}, sandbox.ErrInvalid},
		"unknown snapshotter": {sandbox.Spec{Ref: ref, Image: sandbox.BaseImage, Snapshotter: "none"}, sandbox.ErrInvalid},
		"huge env":            {sandbox.Spec{Ref: ref, Image: sandbox.BaseImage, Env: huge}, sandbox.ErrInvalid},
		"env with NUL":        {sandbox.Spec{Ref: ref, Image: sandbox.BaseImage, Env: map[string]string{"A": "\x00"}}, sandbox.ErrInvalid},
		"env with =":          {sandbox.Spec{Ref: ref, Image: sandbox.BaseImage, Env: map[string]string{"A=B": ""}}, sandbox.ErrInvalid},
	} {
		if err := f.Create(ctx, c.spec); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if names := f.activeSnapshots(); len(names) > 0 {
		t.Errorf("snapshots left: %v", names)
	}
	if all, err := f.client.ContainerService().List(ctx); err != nil || len(all) > 0 {
		t.Errorf("records left: %v, %v", all, err)
	}
}

// A server that died between two steps leaves parts of a container.
func TestSweep(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.create(ref)
		pid := f.pid(ref)
		orphan := keyOf(f.instance, sandbox.Ref{Bot: "bot", ID: "orphan"})
		dirs := []string{f.runDir(orphan), f.spoolDir(orphan), f.mountDir(orphan)}
		for _, dir := range dirs {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		sn := f.client.SnapshotService("overlayfs")
		f.prepareOrphan(sn, orphan)
		before := len(f.activeSnapshots())
		f.restart()
		if now := f.activeSnapshots(); before != 2 || len(now) != 1 {
			t.Errorf("%d snapshots before, now %v", before, now)
		}
		for _, dir := range dirs {
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("%s: %v", dir, err)
			}
		}
		if f.pid(ref) != pid {
			t.Error("the container that runs was restarted")
		}
		if err := f.Start(ctx, ref); err != nil {
			t.Fatal(err)
		}
		f.connect(ref)
	})
}

func TestPaused(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := f.namespaced(context.Background())
		f.create(ref)
		f.connect(ref)
		pause := func() {
			task, err := f.task(ctx, keyOf(f.instance, ref))
			if err != nil {
				t.Fatal(err)
			}
			if err := task.Pause(ctx); err != nil {
				t.Fatal(err)
			}
		}
		pause()
		if st, err := f.Status(ctx, ref); err != nil || st.State != sandbox.StatePaused {
			t.Errorf("paused: %v, %v", st.State, err)
		}
		pid := f.pid(ref)
		if err := f.Start(ctx, ref); err != nil {
			t.Fatal(err)
		}
		if st, err := f.Status(ctx, ref); err != nil || st.State != sandbox.StateRunning || f.pid(ref) != pid {
			t.Errorf("let go on: %v, %v", st.State, err)
		}
		pause()
		if err := f.Stop(ctx, ref, waitFor); err != nil {
			t.Error(err)
		}
		if err := f.Start(ctx, ref); err != nil {
			t.Error(err)
		}
		pause() // and is deleted as such
	})
}

func TestNewAgent(t *testing.T) {
	f := newFixture(t, engines[0])
	ctx := context.Background()
	f.create(ref)
	before, err := f.Status(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(agentPath)
	if err != nil {
		t.Fatal(err)
	}
	f.opts.AgentPath = filepath.Join(f.dir, "newer")
	if err := os.WriteFile(f.opts.AgentPath, append(b, "newer"...), 0o755); err != nil {
		t.Fatal(err)
	}
	old := f.agent
	f.restart()
	f.connect(ref) // the old one goes on, although its file is gone
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the old agent: %v", err)
	}
	if err := f.Stop(ctx, ref, waitFor); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(ctx, ref); err != nil {
		t.Fatal(err)
	}
	f.connect(ref)
	after, err := f.Status(ctx, ref)
	if err != nil || !after.UpdatedAt.Equal(before.UpdatedAt) {
		t.Errorf("a new agent is no update: %v, %v, %v", before.UpdatedAt, after.UpdatedAt, err)
	}
	running, err := os.ReadFile(fmt.Sprintf("/proc/%d/exe", f.pid(ref)))
	if err != nil || len(running) != len(b)+len("newer") {
		t.Errorf("the agent that runs has %d bytes, %v", len(running), err)
	}
}

func TestNewChecks(t *testing.T) {
	needRoot(t)
	dir := sandboxtest.Dir(t)
	good := Options{Root: filepath.Join(dir, "root"), Run: filepath.Join(dir, "run"), AgentPath: agentPath}
	for want, change := range map[string]func(*Options){
		"--run":              func(o *Options) { o.Run = "/" + strings.Repeat("r", RunMax) },
		"--root":             func(o *Options) { o.Root = "relative" },
		"data mount":         func(o *Options) { o.DataMounts = []string{"/.moorage/run"} },
		"find OCI runtime":   func(o *Options) { o.OCIRuntime = "no-such-runc" },
		"open agent":         func(o *Options) { o.AgentPath = "/etc/passwd" },
		"agent /bin/ls is n": func(o *Options) { o.AgentPath = "/bin/ls" },
	} {
		o := good
		change(&o)
		if _, err := New(nil, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, got %v", want, err)
		}
	}
}

// The data directory is the bot's, with the mode that it gave it.
func TestModeOfData(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.create(ref)
		dir := f.dataDir(ref.Bot)
		if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o755 {
			t.Errorf("at first: %v, %v", fi, err)
		}
		if err := os.Chmod(dir, 0o700|os.ModeSticky); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Stop(ctx, ref, 0), f.Start(ctx, ref)); err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Stat(dir); err != nil || fi.Mode() != 0o700|os.ModeSticky|os.ModeDir {
			t.Errorf("after another start: %v, %v", fi, err)
		}
	})
}
