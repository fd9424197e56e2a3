package copier

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"moorage/sandbox/copier/treetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func free(t testing.TB, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	unix.Sync()
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bfree) * st.Bsize
}

// settled waits until what was written is old enough to be trusted.
func settled() { time.Sleep(3 * racyWindow) }

func TestWritersDuringPasses(t *testing.T) {
	needRoot(t)
	for seed := range uint64(15) {
		src, dst, remove := scratch(t, t.TempDir())
		treetest.Mutate(src, treetest.Seeded(seed), 100)
		c, err := New(dst, src, Options{NoClone: seed%2 == 0})
		if err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		var writers sync.WaitGroup
		for i := range uint64(3) {
			writers.Go(func() {
				r := treetest.Seeded(seed*100 + i)
				for {
					select {
					case <-stop:
						return
					default:
						treetest.Mutate(src, r, 1)
					}
				}
			})
		}
		for range 8 {
			if err := c.Pass(t.Context()); err != nil {
				t.Error(err)
			}
		}
		close(stop)
		writers.Wait()
		if err := c.Finish(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		same(t, c, src, dst)
		remove()
	}
}

// A name that is made right after or during a pass is in the next one's copy, although
// the directory's times may be what they were.
func TestNamesOfOneTick(t *testing.T) {
	src, dst, remove := scratch(t, t.TempDir())
	defer remove()
	d := filepath.Join(src, "d")
	if err := os.Mkdir(d, 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := New(dst, src, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var made sync.WaitGroup
	for i := range 200 {
		made.Go(func() { os.Mkdir(filepath.Join(d, "during"+pad(i)), 0o700) })
		if err := c.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		made.Wait()
		if err := os.WriteFile(filepath.Join(d, "after"+pad(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if i%20 == 0 {
			settled()
		}
		if err := c.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, _ := os.ReadDir(filepath.Join(dst, "d")); len(n) != 2*(i+1) {
			t.Fatalf("%d names after %d rounds", len(n), i+1)
		}
	}
}

// A name that is at one moment a directory, at the next a link out of the tree, a
// FIFO, a device or a file, leads nowhere.
func TestSwappedEntries(t *testing.T) {
	src, dst, remove := scratch(t, t.TempDir())
	defer remove()
	outside := filepath.Join(filepath.Dir(src), "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	const secret = "outside of the tree"
	os.WriteFile(filepath.Join(outside, "f"), []byte(secret), 0o600)
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		d := filepath.Join(src, "d")
		for {
			select {
			case <-stop:
				return
			default:
			}
			os.Mkdir(d, 0o755)
			os.WriteFile(d+"/f", []byte("in"), 0o600)
			os.Remove(d + "/f")
			unix.Mkfifo(d+"/f", 0o600)
			os.Remove(d + "/f")
			unix.Mknod(d+"/f", unix.S_IFCHR|0o600, 0) // a whiteout, which nobody can open
			os.Remove(d + "/f")
			os.Symlink(outside+"/f", d+"/f")
			os.RemoveAll(d)
			os.Symlink(outside, d)
			os.Remove(d)
		}
	})
	for range 300 {
		dst := filepath.Join(dst, "one")
		os.Mkdir(dst, 0o755)
		c, err := New(dst, src, Options{})
		if err == nil {
			err = c.Pass(t.Context())
		}
		if err != nil {
			t.Error(err)
		}
		filepath.Walk(dst, func(path string, st os.FileInfo, _ error) error {
			if st != nil && st.Mode().IsRegular() {
				if b, _ := os.ReadFile(path); string(b) == secret {
					t.Error("a file outside was read")
				}
			}
			return nil
		})
		if err := Remove(t.Context(), dst); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	writer.Wait()
	if b, err := os.ReadFile(filepath.Join(outside, "f")); err != nil || string(b) != secret {
		t.Fatalf("the file outside is %q, %v", b, err)
	}
}

// A file stays mapped and is written to through the mapping: no time stamp tells.
func TestMappedFile(t *testing.T) {
	for _, told := range []bool{true, false} {
		src, dst, remove := scratch(t, t.TempDir())
		defer remove()
		fill(t, src, 2, 8192)
		f, err := os.OpenFile(filepath.Join(src, "file00000"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		m, err := unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Munmap(m)
		var st unix.Stat_t
		unix.Fstat(int(f.Fd()), &st)
		f.Close()
		m[0] = 'a'
		settled()
		c, err := New(dst, src, Options{NoClone: true})
		if err == nil {
			err = c.Pass(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		m[0] = 'b'
		var mapped func(uint64) bool
		if told {
			mapped = func(ino uint64) bool { return ino == st.Ino }
		}
		if err := c.Finish(t.Context(), mapped); err != nil {
			t.Fatal(err)
		}
		same(t, c, src, dst)
		if c.Stats().Copied != 3 {
			t.Fatalf("%+v, want one file copied twice", c.Stats())
		}
		unix.Stat(filepath.Join(src, "file00000"), &st)
		if c.Record().Unchanged("file00000", &st) {
			t.Fatal("the record trusts a mapped file")
		}
		unix.Stat(filepath.Join(src, "file00001"), &st)
		if !c.Record().Unchanged("file00001", &st) {
			t.Fatal("the record does not trust a file that nobody has open")
		}
	}
}

func TestChangeDuringFinish(t *testing.T) {
	src, dst, remove := scratch(t, t.TempDir())
	defer remove()
	fill(t, src, 300, 10)
	c, err := New(dst, src, Options{Parallel: 1})
	if err != nil {
		t.Fatal(err)
	}
	once := sync.OnceFunc(func() {
		os.WriteFile(filepath.Join(src, "file00299"), []byte("other"), 0o600)
		os.Remove(filepath.Join(src, "file00298"))
		os.Remove(filepath.Join(src, "file00000"))
	})
	err = c.Finish(t.Context(), func(uint64) bool { once(); return false })
	if !errors.Is(err, ErrChanged) {
		t.Fatalf("got %v, want ErrChanged", err)
	}
	if again := c.Pass(t.Context()); again != err {
		t.Fatalf("a pass after the error gave %v", again)
	}
}

func TestNoSpace(t *testing.T) {
	root := mounted(t, "ext4", 64)
	src, _, remove := scratch(t, t.TempDir())
	defer remove()
	_, dst, _ := scratch(t, root)
	fill(t, src, 3, 40<<20)
	_, err := Tree(t.Context(), dst, src, Options{})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "/file0") {
		t.Fatalf("got %v, want ENOSPC and the file", err)
	}
}

func TestCancel(t *testing.T) {
	src, dst, remove := scratch(t, t.TempDir())
	defer remove()
	fill(t, src, 2, 700<<20)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := Tree(ctx, dst, src, Options{NoClone: true})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if took := time.Since(began); took > 400*time.Millisecond {
		t.Fatalf("it went on for %v", took)
	}
}

func TestOverlay(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	for _, d := range []string{"lower/gone", "lower/opaque", "upper", "work", "merged", "copy", "work2", "merged2"} {
		os.MkdirAll(filepath.Join(dir, d), 0o755)
	}
	fill(t, filepath.Join(dir, "lower/gone"), 3, 10)
	fill(t, filepath.Join(dir, "lower/opaque"), 3, 10)
	mount := func(upper, work, merged string) {
		o := fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/%s,workdir=%s/%s", dir, dir, upper, dir, work)
		if err := unix.Mount("overlay", filepath.Join(dir, merged), "overlay", 0, o); err != nil {
			t.Skipf("no overlayfs on this file system: %v", err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(filepath.Join(dir, merged), 0); err != nil {
				t.Error(err)
			}
		})
	}
	mount("upper", "work", "merged")
	merged := filepath.Join(dir, "merged")
	os.RemoveAll(filepath.Join(merged, "gone"))
	os.RemoveAll(filepath.Join(merged, "opaque"))
	os.Mkdir(filepath.Join(merged, "opaque"), 0o750)
	fill(t, filepath.Join(merged, "opaque"), 2, 100)
	treetest.Mutate(merged, treetest.Seeded(7), 60)
	upper, to := filepath.Join(dir, "upper"), filepath.Join(dir, "copy")
	c, err := Tree(t.Context(), to, upper, Options{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, c, upper, to)
	mount("copy", "work2", "merged2")
	err = treetest.Compare(merged, filepath.Join(dir, "merged2"), treetest.Options{Ignore: treetest.Sockets})
	if err != nil {
		t.Fatal(err)
	}
}

// A tree whose paths are far longer than PATH_MAX, with side branches.
func TestDeepTree(t *testing.T) {
	src, dst, remove := scratch(t, t.TempDir())
	defer remove()
	const depth = 3000
	at, err := unix.Open(src, openDir, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range depth {
		for _, name := range []string{"directory", "aside"} {
			if err := unix.Mkdirat(at, name, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		fd, err := unix.Openat(at, "directory", openDir, 0)
		if err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			unix.Mkdirat(fd, "leaf", 0o700)
			unix.Symlinkat("x", fd, "link")
		}
		unix.Close(at)
		at = fd
	}
	unix.Close(at)
	c, err := New(dst, src, Options{})
	if err == nil {
		err = c.Pass(t.Context())
	}
	if err == nil {
		err = c.Finish(t.Context(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Stats(); s.Dirs != 1+2*depth+depth/100 || s.Files != depth/100 {
		t.Fatalf("%+v", s)
	}
	for _, dir := range []string{src, dst} {
		if _, n, err := Usage(t.Context(), dir); err != nil || n != 2*depth+2*depth/100 {
			t.Fatalf("%d files, %v", n, err)
		}
		if err := Remove(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	}
}

// Nothing depends on the umask: a program of its own has another.
func TestUmask(t *testing.T) {
	if os.Getenv("COPIER_UMASK") != "" {
		syscall.Umask(0o777)
		if _, err := Tree(t.Context(), os.Getenv("COPIER_DST"), os.Getenv("COPIER_SRC"), Options{}); err != nil {
			t.Fatal(err)
		}
		return
	}
	needRoot(t)
	src, dst, remove := scratch(t, t.TempDir())
	defer remove()
	treetest.Mutate(src, treetest.Seeded(3), 150)
	cmd := exec.Command(os.Args[0], "-test.run=^TestUmask$")
	cmd.Env = append(os.Environ(), "COPIER_UMASK=1", "COPIER_DST="+dst, "COPIER_SRC="+src)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := treetest.Compare(src, dst, treetest.Options{Ignore: treetest.Sockets}); err != nil {
		t.Fatal(err)
	}
}
