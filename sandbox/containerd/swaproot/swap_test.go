package swaproot

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"moorage/sandbox/sandboxtest"
)

// box is a process in a mount namespace whose root is an overlay, with mounts in
// it: like a container, and with more than one would have.
type box struct {
	t      *testing.T
	pid    int
	dir    string
	lowers []string // of the next root
	upper  string   // of the present one
	n      int
}

// script makes the mounts, in the new root, before it becomes the root.
const script = `set -e
cd "$0"
mount -t overlay overlay -o lowerdir=lower,upperdir=u0,workdir=w0 merged
cd merged
mkdir -p proc dev t/data t/deep/er t/once "t/sp ace" old
echo old >marker; echo 1 >t/f
mount -t proc proc proc
mount --bind ../d1 t/data
mkdir -p t/data/sub; mount -t tmpfs sub t/data/sub; echo sub >t/data/sub/file
mount --bind ../d2 t/data; mount --bind ../d3 t/data
mount --bind ../f1 t/f; mount --bind ../f2 t/f
mount --bind ../d1 t/deep/er; mount --bind ../d2 t/once; mount --bind ../d3 "t/sp ace"
pivot_root . old
/bin/busybox umount -l /old
cd /
echo ready
exec /bin/busybox sleep 1000`

func newBox(t *testing.T) *box {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("busybox is not there, which runs in the box")
	}
	b := &box{t: t, dir: sandboxtest.Dir(t), upper: "u0"}
	for _, d := range []string{"lower/bin", "u0", "w0", "merged", "d1", "d2", "d3"} {
		b.must(os.MkdirAll(filepath.Join(b.dir, d), 0o755))
	}
	for _, f := range []string{"d1/one", "d2/two", "d3/three", "f1", "f2"} {
		b.must(os.WriteFile(filepath.Join(b.dir, f), []byte(f), 0o644))
	}
	b.must(exec.Command("cp", busybox, filepath.Join(b.dir, "lower/bin/busybox")).Run())
	b.lowers = []string{filepath.Join(b.dir, "lower")}
	b.start()
	return b
}

func (b *box) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) start() {
	b.t.Helper()
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, b.dir)
	cmd.Stderr = b.t.Output()
	out, err := cmd.StdoutPipe()
	b.must(err)
	b.must(cmd.Start())
	b.pid = cmd.Process.Pid
	b.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line := make([]byte, 6)
	if n, err := out.Read(line); err != nil || string(line[:n]) != "ready\n" {
		b.t.Fatalf("the box says %q, %v", line[:n], err)
	}
}

// next makes the root that is to come: a new upper over the present one.
func (b *box) next() *os.File {
	b.t.Helper()
	b.n++
	b.lowers = append([]string{filepath.Join(b.dir, b.upper)}, b.lowers...)
	b.upper = fmt.Sprintf("u%d", b.n)
	root := b.overlay(b.lowers, b.upper)
	b.t.Cleanup(func() { root.Close() })
	return root
}

func (b *box) overlay(lowers []string, upper string) *os.File {
	b.t.Helper()
	up, work := filepath.Join(b.dir, upper), filepath.Join(b.dir, "work-"+upper)
	b.must(errors.Join(os.MkdirAll(up, 0o755), os.MkdirAll(work, 0o755)))
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	b.must(err)
	defer unix.Close(fs)
	for _, l := range lowers {
		b.must(unix.FsconfigSetString(fs, "lowerdir+", l))
	}
	b.must(unix.FsconfigSetString(fs, "upperdir", up))
	b.must(unix.FsconfigSetString(fs, "workdir", work))
	b.must(unix.FsconfigCreate(fs))
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	b.must(err)
	return os.NewFile(uintptr(fd), "new root")
}

// in is a path in the box as seen from here.
func (b *box) in(path string) string { return fmt.Sprintf("/proc/%d/root/%s", b.pid, path) }

func (b *box) reads(path, want string) {
	b.t.Helper()
	got, err := os.ReadFile(b.in(path))
	if err != nil || strings.TrimSpace(string(got)) != want {
		b.t.Errorf("%s: got %q, %v; want %q", path, got, err, want)
	}
}

// tree is each mount but the root: what it is, and where, under what.
func (b *box) tree() []string {
	b.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", b.pid))
	b.must(err)
	names := map[string]string{}
	var all [][]string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		names[f[0]] = f[3] + "@" + f[4]
		if f[4] == "/" {
			names[f[0]] = "root"
			continue
		}
		all = append(all, f)
	}
	var tree []string
	for _, f := range all {
		tree = append(tree, strings.Join([]string{f[2], f[3], f[4], "on", names[f[1]]}, " "))
	}
	slices.Sort(tree)
	return tree
}

// check: all is at its place.
func (b *box) check(want []string) {
	b.t.Helper()
	if got := b.tree(); !slices.Equal(got, want) {
		b.t.Errorf("mounts are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	b.reads("t/data/three", "d3/three")
	b.reads("t/f", "f2")
	b.reads("t/deep/er/one", "d1/one")
	b.reads("t/once/two", "d2/two")
	b.reads("t/sp ace/three", "d3/three")
	if _, err := os.Stat(b.in("proc/self")); err != nil {
		b.t.Error(err)
	}
}

func (b *box) rootMount() uint64 {
	b.t.Helper()
	at, err := placeOf(b.in(""))
	b.must(err)
	return at.mount
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// hostThreads checks that no thread of this process is left in another mount
// namespace.
func hostThreads(t *testing.T) {
	t.Helper()
	here, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	if err != nil {
		t.Fatal(err)
	}
	sandboxtest.Eventually(t, 5*time.Second, func() bool {
		tasks, _ := filepath.Glob("/proc/self/task/*/ns/mnt")
		return !slices.ContainsFunc(tasks, func(path string) bool {
			ns, err := os.Readlink(path)
			return err == nil && ns != here
		})
	}, func() string { return "a thread is left in another mount namespace" })
}

// swapped swaps and lets the old root go.
func swapped(pid int, root *os.File) error {
	old, err := Swap(pid, root, 0)
	if err == nil {
		err = old.Close()
	}
	return err
}

func TestSwap(t *testing.T) {
	b := newBox(t)
	tree := b.tree()
	files := openFiles(t)
	for i := range 25 {
		before := b.upper
		root := b.next()
		b.must(swapped(b.pid, root))
		root.Close()
		b.check(tree)
		b.reads("marker", "old")
		b.must(os.WriteFile(b.in(fmt.Sprintf("new%d", i)), []byte("new"), 0o644))
		if _, err := os.Stat(filepath.Join(b.dir, before, fmt.Sprintf("new%d", i))); !os.IsNotExist(err) {
			t.Errorf("a write after swap %d went to the old root: %v", i, err)
		}
		if _, err := os.Stat(filepath.Join(b.dir, b.upper, fmt.Sprintf("new%d", i))); err != nil {
			t.Error(err)
		}
	}
	if now := openFiles(t); now > files {
		t.Errorf("%d files are open, %d were", now, files)
	}
	if here, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(here), b.dir) {
		t.Errorf("mounts on the host, %v:\n%s", err, here)
	}
	hostThreads(t)
}

// TestThreads: whatever thread a Swap begins on, the main one stays.
func TestThreads(t *testing.T) {
	for range 200 {
		var tid int
		if err := onThread(func() error { tid = unix.Gettid(); return nil }); err != nil {
			t.Fatal(err)
		}
		if tid == os.Getpid() {
			t.Fatal("it is the main thread")
		}
	}
	sandboxtest.Eventually(t, 5*time.Second, func() bool {
		all, _ := os.ReadDir("/proc/self/task")
		return len(all) < 50
	}, func() string { return "threads are left" })
}

// TestRefused: what is seen beforehand changes nothing.
func TestRefused(t *testing.T) {
	b := newBox(t)
	tree, root := b.tree(), b.rootMount()
	without := func(change func(dir string) error) *os.File {
		b.n++
		upper := fmt.Sprintf("bad%d", b.n)
		f := b.overlay(append([]string{filepath.Join(b.dir, b.upper)}, b.lowers...), upper)
		b.must(change(fmt.Sprintf("/proc/self/fd/%d", f.Fd())))
		t.Cleanup(func() { f.Close() })
		return f
	}
	plain, err := os.Open(t.TempDir())
	b.must(err)
	defer plain.Close()
	here, err := os.Open("/")
	b.must(err)
	defer here.Close()
	own, err := os.Open(b.in(""))
	b.must(err)
	defer own.Close()
	for _, c := range []struct {
		name, reason string
		pid          int
		root         *os.File
	}{
		{"missing mount point", "no such file", b.pid, without(func(d string) error { return os.Remove(d + "/t/once") })},
		{"symbolic link", "t/deep/er", b.pid, without(func(d string) error {
			return errors.Join(os.RemoveAll(d+"/t/deep"), os.Symlink("/proc", d+"/t/deep"))
		})},
		{"last element a symbolic link", "symbolic link", b.pid, without(func(d string) error {
			return errors.Join(os.Remove(d+"/t/once"), os.Symlink("/proc", d+"/t/once"))
		})},
		{"file for a directory", "a directory", b.pid, without(func(d string) error {
			return errors.Join(os.Remove(d+"/t/once"), os.WriteFile(d+"/t/once", nil, 0o600))
		})},
		{"directory for a file", "a directory", b.pid, without(func(d string) error {
			return errors.Join(os.Remove(d+"/t/f"), os.Mkdir(d+"/t/f", 0o700))
		})},
		{"no mount", "no directory that is the root of a mount", b.pid, plain},
		{"its own root", "mounted in it already", b.pid, own},
		{"mounted elsewhere", "cross-device", b.pid, here},
		{"no process", "no such", 1 << 22, without(func(string) error { return nil })},
	} {
		err := swapped(c.pid, c.root)
		if err == nil || errors.Is(err, ErrHalf) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: got %v", c.name, err)
		}
		b.check(tree)
		if b.rootMount() != root {
			t.Fatalf("%s: it has another root", c.name)
		}
	}
	b.must(swapped(b.pid, b.next()))
	b.check(tree)
}

// TestUndone: each step that fails is undone, with those before it; and when that
// fails too, the error says so.
func TestUndone(t *testing.T) {
	b := newBox(t)
	tree, root := b.tree(), b.rootMount()
	fault := errors.New("fault")
	var steps []string
	try := func(at int, alsoUndo bool) error {
		n := 0
		file := b.overlay(append([]string{filepath.Join(b.dir, b.upper)}, b.lowers...), fmt.Sprintf("try%d-%v", at, alsoUndo))
		defer file.Close()
		s := swap{pid: b.pid, root: int(file.Fd()), fault: func(step string) error {
			if step == "undo" {
				if alsoUndo {
					return fault
				}
				return nil
			}
			n++
			if n-1 == at {
				steps = append(steps, step)
				return fault
			}
			return nil
		}}
		err := s.run()
		if s.old > 0 {
			unix.Close(s.old)
		}
		return err
	}
	for i := 0; ; i++ {
		err := try(i, false)
		if errors.Is(err, ErrHalf) && steps[len(steps)-1] == "unmount" {
			break // the root is replaced: there is no way back
		}
		if !errors.Is(err, fault) || errors.Is(err, ErrHalf) {
			t.Fatalf("step %d: got %v", i, err)
		}
		b.check(tree)
		if b.rootMount() != root {
			t.Fatalf("step %d: it has another root", i)
		}
	}
	if len(steps) < 12 {
		t.Errorf("only %q can fail", steps)
	}
	t.Logf("undone: %q", steps)
	other := newBox(t)
	b = other
	if err := try(3, true); !errors.Is(err, ErrHalf) || !errors.Is(err, fault) {
		t.Errorf("got %v", err)
	}
	hostThreads(t)
}

// TestQuietOfABox: what is not quiet but for files of an agent.
func TestQuietOfABox(t *testing.T) {
	b := newBox(t)
	procs := func() ([]int, error) { return []int{b.pid}, nil }
	if err := Quiet(b.pid, procs); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "executable") {
		t.Errorf("its executable is on its root: %v", err)
	}
	if err := Quiet(b.pid, func() ([]int, error) { return []int{b.pid, os.Getpid()}, nil }); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("another process: %v", err)
	}
	if err := Quiet(b.pid, func() ([]int, error) { return nil, nil }); err == nil || errors.Is(err, ErrBusy) {
		t.Errorf("no process: %v", err)
	}
	if err := Quiet(b.pid, func() ([]int, error) { return nil, syscall.EIO }); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v", err)
	}
}
