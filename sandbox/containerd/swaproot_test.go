package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"

	"moorage/fsbridge"
	"moorage/sandbox/containerd/swaproot"
	"moorage/sandbox/sandboxtest"
)

// greet connects to the container's agent.
func (f *fixture) greet() *fsbridge.Client {
	f.t.Helper()
	c, err := fsbridge.Connect(f.t.Context(), f.connect(ref), fsbridge.Welcome{DataDir: "/data"})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	return c
}

func (f *fixture) exec(c *fsbridge.Client, req fsbridge.ExecRequest) string {
	f.t.Helper()
	req.Wait = waitFor
	res, out, err := c.Exec(f.t.Context(), req, nil)
	if err != nil || res.State == fsbridge.Running {
		f.t.Fatalf("%s: %+v, %v", req.Command, res, err)
	}
	return strings.TrimSpace(string(out.StdoutHead) + string(out.StderrHead))
}

func (f *fixture) sh(c *fsbridge.Client, line string) string {
	f.t.Helper()
	return f.exec(c, fsbridge.ExecRequest{Command: line})
}

// procs are the processes in the container's cgroups.
func (f *fixture) procs() ([]int, error) {
	var pids []int
	for _, dir := range f.cgroupDirs(keyOf(f.instance, ref)) {
		pids = append(pids, processesIn(dir)...)
	}
	return pids, nil
}

// swapper swaps the root of the container, again and again.
type swapper struct {
	*fixture
	sn     snapshots.Snapshotter
	active string   // the present snapshot
	upper  string   // its directory
	kept   []string // committed ones
	n      int
}

func (f *fixture) swapper() *swapper {
	f.t.Helper()
	ctx := f.namespaced(context.Background())
	st, err := f.Status(ctx, ref)
	if err != nil {
		f.t.Fatal(err)
	}
	s := &swapper{fixture: f, sn: f.client.SnapshotService("overlayfs"), active: st.SnapshotKey}
	mounts, err := s.sn.Mounts(ctx, s.active)
	if err != nil {
		f.t.Fatal(err)
	}
	s.upper = option(mounts[0], "upperdir")
	f.t.Cleanup(s.end)
	return s
}

// end removes what it has committed, the last first.
func (s *swapper) end() {
	ctx := s.namespaced(context.Background())
	if err := s.Delete(ctx, ref, false); err != nil {
		s.t.Error(err)
	}
	for i := len(s.kept) - 1; i >= 0; i-- {
		if err := s.sn.Remove(ctx, s.kept[i]); err != nil {
			s.t.Error(err)
		}
	}
}

func option(m mount.Mount, name string) string {
	for _, o := range m.Options {
		if v, ok := strings.CutPrefix(o, name+"="); ok {
			return v
		}
	}
	return ""
}

// swap commits the container's snapshot and gives it a root on top of that. It
// returns how long the change of roots took, and the error of that.
func (s *swapper) swap() (took time.Duration, err error) {
	s.t.Helper()
	ctx := s.namespaced(context.Background())
	s.n++
	key := keyOf(s.instance, ref)
	name, active := fmt.Sprintf("%s-kept%d", key, s.n), fmt.Sprintf("%s-swap%d", key, s.n)
	labels := snapshots.WithLabels(map[string]string{labelGCRoot: "x", labelInstance: s.instance, labelActive: key})
	if err := s.sn.Commit(ctx, name, s.active, snapshots.WithLabels(map[string]string{labelGCRoot: "x"})); err != nil {
		s.t.Fatal(err)
	}
	s.kept = append(s.kept, name)
	mounts, err := s.sn.Prepare(ctx, active, name, labels)
	if err != nil {
		s.t.Fatal(err)
	}
	c := containers.Container{ID: key, Labels: map[string]string{labelSnapshot: active}}
	if _, err := s.client.ContainerService().Update(ctx, c, "labels."+labelSnapshot); err != nil {
		s.t.Fatal(err)
	}
	s.active, s.upper = active, option(mounts[0], "upperdir")
	now, err := s.load(ctx, ref)
	if err != nil {
		s.t.Fatal(err)
	}
	rec, err := decode(now)
	if err != nil {
		s.t.Fatal(err)
	}
	root, err := s.detached(ctx, key, rec)
	if err != nil {
		s.t.Fatal(err)
	}
	defer root.Close()
	begun := time.Now()
	old, err := swaproot.Swap(s.pid(ref), root, rec.ids.Base)
	took = time.Since(begun)
	if err == nil {
		err = old.Close()
	}
	return took, err
}

// listing is a directory's files with their content, and when they were changed.
func listing(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %v %v", path, fi.Mode(), fi.ModTime())
		if fi.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			fmt.Fprintf(&b, " %q %v", content, err)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestSwapRoot: a container lives through 25 new roots in a row, and writes to
// the newest alone.
func TestSwapRoot(t *testing.T) {
	f := newFixture(t, engines[0])
	f.create(ref)
	c := f.greet()
	s := f.swapper()
	pid := f.pid(ref)
	f.sh(c, "echo first >/etc/marker; echo data >/data/d; mkdir /work; cd /work")
	mounts := f.sh(c, "cut -d' ' -f5 /proc/self/mountinfo | sort")
	var swaps, looks []time.Duration
	for i := range 25 {
		line := fmt.Sprintf("gen %d", i)
		if _, err := c.Write(t.Context(), fsbridge.WriteRequest{Path: "/work/gen"}, []byte(line)); err != nil {
			t.Fatal(err)
		}
		old := s.upper
		release, err := c.Hold(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := swaproot.Quiet(pid, f.procs); err != nil {
			t.Fatal(err)
		}
		looks = append(looks, time.Since(begun))
		before := listing(t, old)
		took, err := s.swap()
		if err != nil {
			t.Fatal(err)
		}
		swaps = append(swaps, took)
		release()
		if got := f.sh(c, "cat /work/gen /etc/marker /data/d; echo changed >/etc/marker; echo first >/etc/marker; echo >/work/new"); got != line+"first\ndata" {
			t.Errorf("after swap %d: %q", i, got)
		}
		if after := listing(t, old); after != before {
			t.Errorf("swap %d: the old root was\n%s\nand is\n%s", i, before, after)
		}
		if _, err := os.Stat(filepath.Join(s.upper, "work/new")); err != nil {
			t.Error(err)
		}
	}
	slices.Sort(swaps)
	slices.Sort(looks)
	t.Logf("a swap takes %v to %v, %v mostly; a look %v to %v, %v mostly", swaps[0], swaps[24], swaps[12], looks[0], looks[24], looks[12])
	if now := f.sh(c, "cut -d' ' -f5 /proc/self/mountinfo | sort"); now != mounts {
		t.Errorf("mounts were %s\nand are %s", mounts, now)
	}
	got := f.exec(c, fsbridge.ExecRequest{Command: "pwd; tty; ls /proc/1/root/data; ls /dev/null /sys/fs/cgroup >/dev/null && echo there", Cwd: "/data", TTY: &fsbridge.WinSize{Rows: 24, Cols: 80}})
	if got = strings.ReplaceAll(got, "\r", ""); got != "/data\n/dev/pts/0\nd\nthere" {
		t.Errorf("on a terminal: %q", got)
	}
	if f.pid(ref) != pid || c.Err() != nil {
		t.Errorf("the agent is another: %v", c.Err())
	}
	if err := f.Stop(t.Context(), ref, waitFor); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if got := f.sh(f.greet(), "cat /work/gen"); got != "gen 24" {
		t.Errorf("after a restart: %q", got)
	}
}

// TestSwapHostile: whatever a container has done to its root, it gets the new one.
func TestSwapHostile(t *testing.T) {
	for _, c := range []struct{ name, line string }{
		{"moved and a link", "mv /.moorage /x && ln -s /etc /.moorage"},
		{"moved", "mv /.moorage /x"},
		{"data moved", "mv /bin /bin2; mkdir '/a b'; rm -rf /etc"},
		{"full of links", "ln -s /proc /p; ln -s . /dot; mkdir -p /deep/er; mv /.moorage /deep/er/m; ln -s /deep/er/m /.moorage"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, engines[0])
			f.create(ref)
			client := f.greet()
			s := f.swapper()
			res, _, err := client.Exec(t.Context(), fsbridge.ExecRequest{Command: c.line, Wait: waitFor}, nil)
			if err != nil || res.State == fsbridge.Running {
				t.Fatal(res, err)
			}
			if _, err = s.swap(); err != nil {
				t.Error(err)
			}
			if _, err := client.Write(t.Context(), fsbridge.WriteRequest{Path: "/after"}, nil); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(s.upper, "after")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestQuiet: it says why a container is not.
func TestQuiet(t *testing.T) {
	f := newFixture(t, engines[0])
	f.create(ref)
	c := f.greet()
	pid := f.pid(ref)
	look := func() error { return swaproot.Quiet(pid, f.procs) }
	sandboxtest.Eventually(t, waitFor, func() bool { return look() == nil }, func() string { return fmt.Sprint(look()) })
	f.sh(c, "echo x >/file; sleep 1000 & echo")
	if err := look(); !errors.Is(err, swaproot.ErrBusy) || !strings.Contains(err.Error(), "(sleep) runs in it") {
		t.Errorf("with a process in the background: %v", err)
	}
	f.sh(c, "kill -9 $(pidof sleep)")
	sandboxtest.Eventually(t, waitFor, func() bool { return look() == nil }, func() string { return fmt.Sprint(look()) })

	// The agent itself, while it sends a file.
	f.sh(c, "head -c 9000000 /dev/zero >/big")
	slow := &slowWriter{begun: make(chan struct{}), goOn: make(chan struct{})}
	done := make(chan error, 1)
	go func() {
		_, err := c.ReadTo(t.Context(), "/big", 0, -1, slow)
		done <- err
	}()
	<-slow.begun
	if err := look(); !errors.Is(err, swaproot.ErrBusy) || !strings.Contains(err.Error(), `is open: "/big"`) {
		t.Errorf("with an open file: %v", err)
	}
	close(slow.goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	sandboxtest.Eventually(t, waitFor, func() bool { return look() == nil }, func() string { return fmt.Sprint(look()) })

	// Another process of the same program, in the place of the agent.
	for _, p := range []struct{ name, line, reason string }{
		{"a file", "exec 3</big; cd /", `file 3 is open: "/big"`},
		{"a directory", "exec 3</; cd /", `file 3 is open: "/"`},
		{"a file of the data is none", "exec 3</data; cd /data", ""},
		{"a working directory", "cd /etc", `the cwd of thread`},
	} {
		f.sh(c, "("+p.line+"; exec /.moorage/agent) >/dev/null 2>&1 </dev/null & echo")
		other := 0
		sandboxtest.Eventually(t, waitFor, func() bool {
			all, _ := f.procs()
			for _, n := range all {
				if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", n)); n != pid && filepath.Base(exe) == "agent" {
					other = n
				}
			}
			return other > 0
		}, func() string { return p.name + ": no other agent" })
		err := swaproot.Quiet(other, func() ([]int, error) { return []int{other}, nil })
		if p.reason == "" && err != nil || p.reason != "" && (!errors.Is(err, swaproot.ErrBusy) || !strings.Contains(err.Error(), p.reason)) {
			t.Errorf("%s: %v", p.name, err)
		}
		kill(t, other)
		sandboxtest.Eventually(t, waitFor, func() bool { return look() == nil }, func() string { return fmt.Sprint(look()) })
	}
}

// slowWriter takes its first bytes when it is let.
type slowWriter struct {
	begun, goOn chan struct{}
	once        sync.Once
}

func (w *slowWriter) Write(p []byte) (int, error) {
	w.once.Do(func() {
		close(w.begun)
		<-w.goOn
	})
	return len(p), nil
}

func BenchmarkQuiet(b *testing.B) {
	f := newFixture(b, engines[0])
	f.create(ref)
	f.connect(ref)
	pid := f.pid(ref)
	for b.Loop() {
		if err := swaproot.Quiet(pid, f.procs); err != nil {
			b.Fatal(err)
		}
	}
}
