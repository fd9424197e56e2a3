package containerd

import (
	"context"
	"errors"
	"testing"
	"time"

	"moorage/fsbridge"
	"moorage/sandbox"
	"moorage/sandbox/containerd/freezer"
)

// freeze stops the container by its cgroups' files.
func (f *fixture) freeze() *freezer.Frozen {
	f.t.Helper()
	frozen, err := freezer.Freeze(f.t.Context(), f.cgroupDirs(keyOf(f.instance, ref)))
	if err != nil {
		f.t.Fatal(err)
	}
	return frozen
}

// answers checks that the agent does, or within a moment does not.
func answers(t *testing.T, c *fsbridge.Client, want bool) {
	t.Helper()
	within := waitFor
	if !want {
		within = 50 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := c.Ping(ctx); (err == nil) != want {
		t.Errorf("it answers: %v; want %v", err, want)
	}
}

// TestFrozen: a container that was frozen by its cgroup's files, of which
// containerd does not know, can be started, stopped and deleted, and a new server
// lets it go on.
func TestFrozen(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		f.create(ref)
		c := f.greet()
		frozen := f.freeze()
		answers(t, c, false)
		if st, err := f.Status(ctx, ref); err != nil || st.State != sandbox.StateRunning {
			t.Errorf("while it is frozen: %v, %v", st.State, err)
		}
		if err := frozen.Thaw(); err != nil {
			t.Error(err)
		}
		answers(t, c, true)
		start := func() {
			t.Helper()
			if err := f.Start(ctx, ref); err != nil {
				t.Fatal(err)
			}
		}
		f.freeze()
		start()
		answers(t, c, true)
		for _, grace := range []time.Duration{waitFor, 0} {
			f.freeze()
			begun := time.Now()
			if err := f.Stop(ctx, ref, grace); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begun); took > waitFor/2 {
				t.Errorf("stop with a grace of %v took %v", grace, took)
			}
			start()
		}
		pid := f.pid(ref)
		f.freeze()
		f.restart()
		answers(t, f.greet(), true)
		if f.pid(ref) != pid {
			t.Error("the container that was frozen was restarted")
		}
		f.freeze() // and is deleted as such
		if err := f.Delete(ctx, ref, false); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkFreeze compares with the OCI runtime's way.
func BenchmarkFreeze(b *testing.B) {
	f := newFixture(b, engines[0])
	f.create(ref)
	f.connect(ref)
	ctx := f.namespaced(context.Background())
	task, err := f.task(ctx, keyOf(f.instance, ref))
	if err != nil {
		b.Fatal(err)
	}
	dirs := f.cgroupDirs(keyOf(f.instance, ref))
	b.Run("files", func(b *testing.B) {
		for b.Loop() {
			frozen, err := freezer.Freeze(ctx, dirs)
			if err != nil {
				b.Fatal(err)
			}
			if err := frozen.Thaw(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("runc", func(b *testing.B) {
		for b.Loop() {
			if err := errors.Join(task.Pause(ctx), task.Resume(ctx)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
