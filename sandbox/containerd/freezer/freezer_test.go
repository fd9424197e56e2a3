package freezer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"moorage/sandbox/sandboxtest"
)

// hierarchy is a place where cgroups that can freeze are made.
type hierarchy struct{ name, root string }

// hierarchies are those that this host has: v1's freezer, v2, or both.
func hierarchies(t testing.TB) []hierarchy {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("cgroups need root")
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var found []hierarchy
	for line := range strings.Lines(string(b)) {
		fields, rest, _ := strings.Cut(line, " - ")
		at := strings.Fields(fields)[4]
		switch kind := strings.Fields(rest); {
		case kind[0] == "cgroup2":
			found = append(found, hierarchy{"v2", at})
		case kind[0] == "cgroup" && strings.Contains(kind[2], "freezer"):
			found = append(found, hierarchy{"v1", at})
		}
	}
	if len(found) == 0 {
		t.Skip("no hierarchy of cgroups is mounted that can freeze")
	}
	return found
}

// onEach runs a test in a new cgroup of each hierarchy.
func onEach(t *testing.T, test func(t *testing.T, g *group)) {
	for _, h := range hierarchies(t) {
		t.Run(h.name, func(t *testing.T) { test(t, newGroup(t, h)) })
	}
}

// group is a cgroup of a test, with the processes that it has started there.
type group struct {
	t   testing.TB
	dir string
}

func newGroup(t testing.TB, h hierarchy) *group {
	t.Helper()
	dir, err := os.MkdirTemp(h.root, "moorage-test-")
	if err != nil {
		t.Fatal(err)
	}
	g := &group{t, dir}
	t.Cleanup(g.remove)
	return g
}

func (g *group) procs() []string {
	b, _ := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
	return strings.Fields(string(b))
}

func (g *group) remove() {
	sandboxtest.Eventually(g.t, 10*time.Second, func() bool {
		ThawAll(g.dir)
		for _, p := range g.procs() {
			if pid, err := strconv.Atoi(p); err == nil && pid > 1 {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		err := os.Remove(g.dir)
		return err == nil || os.IsNotExist(err)
	}, func() string { return g.dir + " is left" })
}

// run starts a shell in the cgroup.
func (g *group) run(line string) *exec.Cmd {
	g.t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "read go; "+line)
	in, err := cmd.StdinPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { cmd.Wait() }) // runs before the cgroup's end: it is killed here too
	g.t.Cleanup(func() {
		ThawAll(g.dir)
		cmd.Process.Kill()
	})
	if err := os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), fmt.Append(nil, cmd.Process.Pid), 0); err != nil {
		g.t.Fatal(err)
	}
	in.Write([]byte("go\n"))
	in.Close()
	return cmd
}

// counter starts a shell that appends to a file without end.
func (g *group) counter() (size func() int64) {
	g.t.Helper()
	file := filepath.Join(g.t.TempDir(), "count")
	g.run("while :; do echo x; done >" + file)
	size = func() int64 {
		fi, err := os.Stat(file)
		if err != nil {
			return 0
		}
		return fi.Size()
	}
	g.grows(size)
	return size
}

func (g *group) grows(size func() int64) {
	g.t.Helper()
	before := size()
	sandboxtest.Eventually(g.t, 10*time.Second, func() bool { return size() > before }, func() string { return "nothing is written" })
}

// stands checks that nothing is written for a while.
func (g *group) stands(size func() int64) {
	g.t.Helper()
	before := size()
	time.Sleep(20 * time.Millisecond)
	if now := size(); now != before {
		g.t.Errorf("it goes on to write: from %d bytes to %d", before, now)
	}
}

func (g *group) state() state {
	g.t.Helper()
	c, ok := freezable(g.dir)
	if !ok {
		g.t.Fatalf("%s cannot freeze", g.dir)
	}
	st, err := c.state()
	if err != nil {
		g.t.Fatal(err)
	}
	return st
}

func (g *group) freeze(dirs ...string) *Frozen {
	g.t.Helper()
	f, err := Freeze(g.t.Context(), append(dirs, g.dir))
	if err != nil {
		g.t.Fatal(err)
	}
	return f
}

func (g *group) thaw(f *Frozen) {
	g.t.Helper()
	if err := f.Thaw(); err != nil {
		g.t.Error(err)
	}
}

func TestFreeze(t *testing.T) {
	onEach(t, func(t *testing.T, g *group) {
		size := g.counter()
		f := g.freeze()
		g.stands(size)
		if g.state() != frozen {
			t.Error("it is not said to be frozen")
		}
		g.thaw(f)
		g.grows(size)
		other := g.freeze()
		g.thaw(f) // a second time: it undoes no other's
		g.stands(size)
		g.thaw(other)
		g.grows(size)
	})
}

// TestManyAtOnce: several containers are frozen together, and one that is gone is
// no error, before or meanwhile.
func TestManyAtOnce(t *testing.T) {
	for _, h := range hierarchies(t) {
		t.Run(h.name, func(t *testing.T) {
			a, b, c := newGroup(t, h), newGroup(t, h), newGroup(t, h)
			sizes := []func() int64{a.counter(), b.counter()}
			f := a.freeze(b.dir, c.dir, filepath.Join(h.root, "moorage-test-none"))
			for _, size := range sizes {
				a.stands(size)
			}
			c.remove()
			a.thaw(f)
			for _, size := range sizes {
				a.grows(size)
			}
		})
	}
}

// TestBusy: many processes that are busy, or that fork as fast as they can.
func TestBusy(t *testing.T) {
	for name, line := range map[string]string{
		"busy":  "for i in $(seq 200); do (while :; do :; done) & done; wait",
		"forks": "for i in $(seq 20); do (while :; do (:) & wait; done) & done; wait",
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, g *group) {
				g.run(line)
				size := g.counter()
				sandboxtest.Eventually(t, 10*time.Second, func() bool { return len(g.procs()) > 20 }, func() string { return "no processes" })
				for range 10 {
					begun := time.Now()
					f := g.freeze()
					t.Logf("%d processes frozen in %v", len(g.procs()), time.Since(begun))
					g.stands(size)
					g.thaw(f)
					time.Sleep(5 * time.Millisecond)
				}
				g.grows(size)
			})
		})
	}
}

// TestFrozenByAnother: who was frozen before stays so.
func TestFrozenByAnother(t *testing.T) {
	onEach(t, func(t *testing.T, g *group) {
		size := g.counter()
		first := g.freeze()
		second := g.freeze()
		g.thaw(second)
		g.stands(size)
		if g.state() != frozen {
			t.Error("it was thawed by one who had not frozen it")
		}
		g.thaw(first)
		g.grows(size)
	})
}

// TestThawAll is what comes after a process that was killed in between.
func TestThawAll(t *testing.T) {
	onEach(t, func(t *testing.T, g *group) {
		size := g.counter()
		g.freeze()
		pattern := filepath.Join(filepath.Dir(g.dir), "moorage-t*", "..", filepath.Base(g.dir))
		if n, err := ThawAll(pattern[:len(pattern)-1] + "?"); n < 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		g.grows(size)
		if n, err := ThawAll(g.dir, filepath.Join(g.dir, "none*")); n != 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if _, err := ThawAll("["); !errors.Is(err, filepath.ErrBadPattern) {
			t.Errorf("got %v", err)
		}
	})
}

// TestGivesUpWithItsContext: nothing is left frozen, or half so.
func TestGivesUpWithItsContext(t *testing.T) {
	for _, h := range hierarchies(t) {
		t.Run(h.name, func(t *testing.T) {
			g, idle := newGroup(t, h), newGroup(t, h)
			idle.run("exec sleep 1000")
			g.run("for i in $(seq 20); do (while :; do (:) & wait; done) & done; wait")
			size := g.counter()
			for i := range 30 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*20*time.Microsecond)
				f, err := Freeze(ctx, []string{idle.dir, g.dir})
				cancel()
				if err == nil {
					g.thaw(f)
				} else if !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				if g.state() != running || idle.state() != running {
					t.Fatalf("after %v they are left in states %v, %v", err, g.state(), idle.state())
				}
			}
			g.grows(size)
		})
	}
}

// TestNoFreezer: a cgroup of a hierarchy that cannot freeze does only beside one
// that can.
func TestNoFreezer(t *testing.T) {
	h := hierarchies(t)[0]
	g := newGroup(t, h)
	plain := filepath.Join(t.TempDir(), filepath.Base(g.dir))
	if err := os.Mkdir(plain, 0o700); err != nil {
		t.Fatal(err)
	}
	g.thaw(g.freeze(plain))
	if _, err := Freeze(t.Context(), []string{plain}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("got %v", err)
	}
	f, err := Freeze(t.Context(), nil)
	if err != nil || f.Thaw() != nil {
		t.Errorf("nothing to freeze: %v", err)
	}
}

// TestHybrid: of a container with both kinds of cgroups v1's is used, unless v2's
// is frozen already.
func TestHybrid(t *testing.T) {
	all := hierarchies(t)
	if len(all) < 2 {
		t.Skip("one kind of cgroups is mounted")
	}
	g := newGroup(t, all[0])
	twin := &group{t, filepath.Join(all[1].root, filepath.Base(g.dir))}
	if err := os.Mkdir(twin.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(twin.remove)
	if all[0].name == "v2" {
		g, twin = twin, g
	}
	cmd := g.run("exec sleep 1000")
	if err := os.WriteFile(filepath.Join(twin.dir, "cgroup.procs"), fmt.Append(nil, cmd.Process.Pid), 0); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		g.thaw(g.freeze(twin.dir))
		g.thaw(twin.freeze(g.dir))
	}
	first := twin.freeze()
	g.thaw(g.freeze(twin.dir))
	if twin.state() != frozen || g.state() != running {
		t.Errorf("v2 is in state %v, v1 in %v", twin.state(), g.state())
	}
	g.thaw(first)
}

func BenchmarkFreeze(b *testing.B) {
	for _, h := range hierarchies(b) {
		for name, line := range map[string]string{
			"idle": "exec sleep 1000",
			"fork": "for i in $(seq 20); do (while :; do (:) & wait; done) & done; wait",
		} {
			b.Run(h.name+"/"+name, func(b *testing.B) {
				g := newGroup(b, h)
				g.run(line)
				time.Sleep(time.Second)
				var longest, total time.Duration
				n := 0
				for b.Loop() {
					begun := time.Now()
					f, err := Freeze(b.Context(), []string{g.dir})
					took := time.Since(begun)
					if err != nil {
						b.Fatal(err)
					}
					longest, total, n = max(longest, took), total+took, n+1
					if err := f.Thaw(); err != nil {
						b.Fatal(err)
					}
					time.Sleep(2 * time.Millisecond)
				}
				b.ReportMetric(float64(longest.Microseconds()), "µs-max")
				b.ReportMetric(float64(total.Microseconds())/float64(n), "µs-freeze")
			})
		}
	}
}
