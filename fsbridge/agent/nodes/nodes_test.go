package nodes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// opened is a new directory, open, in memory if that can be.
func opened(t *testing.T) (fd int, path string) {
	t.Helper()
	path = t.TempDir()
	if unix.Mount("tmpfs", path, "tmpfs", 0, "") == nil {
		t.Cleanup(func() {
			if err := unix.Unmount(path, 0); err != nil {
				t.Error(err)
			}
		})
	}
	return open(t, path), path
}

func open(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// descriptors counts what the test has open.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// deep makes a directory in dir with so many below each other, deeper than any
// path may be long.
func deep(t *testing.T, dir int, name string, levels int) {
	t.Helper()
	c := cursor{fd: dir}
	defer c.close()
	for i := range levels {
		if i > 0 {
			name = fmt.Sprintf("level-%d", i)
		}
		if err := unix.Mkdirat(c.fd, name, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := c.down(name); err != nil {
			t.Fatal(err)
		}
		c.above = c.above[len(c.above)-1:] // the way back is not needed
		c.names = c.names[len(c.names)-1:]
	}
}

func TestDeep(t *testing.T) {
	const levels = 10_000
	dir, _ := opened(t)
	deep(t, dir, "d", levels)
	before := descriptors(t)
	n, err := Copy(t.Context(), dir, "d", dir, "e", 1<<20)
	if err != nil || n != levels {
		t.Errorf("copied %d: %v", n, err)
	}
	for _, name := range []string{"d", "e"} {
		if n, err := Remove(t.Context(), dir, name, 1<<20); err != nil || n != levels {
			t.Errorf("removed %d: %v", n, err)
		}
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, %d were", after, before)
	}
}

// touch makes n files.
func touch(t testing.TB, dir string, n int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		fd, err := unix.Open(fmt.Sprintf("%s/f%d", dir, i), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
}

// Wide: a directory with many files and many directories in it.
func TestWide(t *testing.T) {
	dir, path := opened(t)
	const files, dirs = 20_000, 3000
	touch(t, path+"/w", files)
	for i := range dirs {
		touch(t, fmt.Sprintf("%s/w/d%d", path, i), 1)
	}
	const all = 1 + files + 2*dirs
	if n, err := Copy(t.Context(), dir, "w", dir, "c", all); err != nil || n != all {
		t.Errorf("copied %d: %v", n, err)
	}
	for _, name := range []string{"w", "c"} {
		if n, err := Remove(t.Context(), dir, name, all); err != nil || n != all {
			t.Errorf("removed %d of %s: %v", n, name, err)
		}
	}
}

func TestLimit(t *testing.T) {
	dir, path := opened(t)
	touch(t, path+"/d", 100)
	if n, err := Copy(t.Context(), dir, "d", dir, "c", 50); !errors.Is(err, ErrLimit) || n != 50 {
		t.Errorf("copied %d: %v", n, err)
	}
	for _, want := range []int64{50, 50} {
		if n, err := Remove(t.Context(), dir, "d", 50); !errors.Is(err, ErrLimit) || n != want {
			t.Errorf("removed %d: %v", n, err)
		}
	}
	if n, err := Remove(t.Context(), dir, "d", 50); err != nil || n != 1 {
		t.Errorf("removed %d: %v", n, err)
	}
}

// countdown is a context that ends when it has been asked so often whether it has.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left == 0 {
		return context.Canceled
	}
	c.left--
	return nil
}

// A removal that is cancelled stops at the next node and says how much is gone.
func TestRemoveCancelled(t *testing.T) {
	dir, path := opened(t)
	touch(t, path+"/d", 1000)
	n, err := Remove(&countdown{t.Context(), 301}, dir, "d", 1<<20)
	left, lerr := os.ReadDir(path + "/d")
	if !errors.Is(err, context.Canceled) || n != 300 || len(left) != 700 || lerr != nil {
		t.Errorf("%d were removed, %d are left, %v, %v", n, len(left), err, lerr)
	}
}

// A directory that is swapped for a link while it is removed does not lead the
// removal outside.
func TestRemoveSwapped(t *testing.T) {
	dir, path := opened(t)
	touch(t, path+"/outside/deep", 5)
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			sub := fmt.Sprintf("%s/d/s%d", path, i%8)
			os.Rename(sub, fmt.Sprintf("%s/away%d", path, i))
			os.Symlink(path+"/outside", sub)
		}
	})
	for range 100 {
		for i := range 8 {
			touch2(fmt.Sprintf("%s/d/s%d/deep", path, i))
		}
		Remove(t.Context(), dir, "d", 1<<20)
	}
	close(stop)
	swapper.Wait()
	if left, err := filepath.Glob(path + "/outside/deep/f*"); err != nil || len(left) != 5 { // the test itself makes others there
		t.Errorf("outside are %d files of 5, %v", len(left), err)
	}
}

// touch2 makes a directory with two files, if it can.
func touch2(dir string) {
	os.MkdirAll(dir, 0o755)
	for _, name := range []string{"/a", "/b"} {
		os.WriteFile(dir+name, nil, 0o600)
	}
}

// What cannot be removed is named.
func TestRemoveFails(t *testing.T) {
	dir, path := opened(t)
	touch(t, path+"/d/sub", 3)
	if err := unix.Mount("tmpfs", path+"/d/sub", "tmpfs", 0, ""); err != nil {
		t.Skip("no mount:", err)
	}
	defer unix.Unmount(path+"/d/sub", 0)
	touch(t, path+"/d/sub/inner", 3)
	_, err := Remove(t.Context(), dir, "d", 1<<20)
	var at *Error
	if !errors.Is(err, unix.EXDEV) || !errors.As(err, &at) || at.Name != "d/sub" {
		t.Errorf("got %v", err)
	}
	if _, err := Copy(t.Context(), dir, "d", dir, "c", 1<<20); !errors.Is(err, unix.EXDEV) {
		t.Errorf("copy: got %v", err)
	}
	if left, _ := os.ReadDir(path + "/d/sub/inner"); len(left) != 3 {
		t.Error("a mount was entered")
	}
}

func TestMounted(t *testing.T) {
	base := t.TempDir()
	odd := filepath.Join(base, "odd name\\\t#1")
	if err := os.MkdirAll(filepath.Join(odd, "in", "it"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(odd+" and more", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", filepath.Join(odd, "in"), "tmpfs", 0, ""); err != nil {
		t.Skip("no mount:", err)
	}
	defer unix.Unmount(filepath.Join(odd, "in"), 0)
	if err := os.Symlink(odd, base+"/link"); err != nil {
		t.Fatal(err)
	}
	dir := open(t, base)
	for name, want := range map[string]string{
		filepath.Base(odd): filepath.Join(odd, "in"), filepath.Base(odd) + " and more": "", "link": "",
	} {
		if got, err := Mounted(dir, name); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", name, got, err, want)
		}
	}
	if got, err := Mounted(open(t, base+"/link"), "in"); err != nil || got != "in" {
		t.Errorf("through a link: got %q, %v", got, err)
	}
}

func TestMountPoint(t *testing.T) {
	for line, want := range map[string]string{
		`36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`: "/mnt2",
		`1 2 0:3 / /a\040b\011c\012d\134e\043f rw - t s rw`:              "/a b\tc\nd\\e#f",
		`1 2 0:3 / /a\04 rw - t s rw`:                                    `/a\04`,
		`1 2 0:3 / /a\999 rw - t s rw`:                                   `/a\999`,
		``:                                                               "", `1 2 3`: "",
	} {
		if got := mountPoint(line); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

// otherFS is a directory on another file system.
func otherFS(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skip("no mount:", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A copy is like its source in all that tar can tell.
func TestCopy(t *testing.T) {
	path := t.TempDir()
	dir := open(t, path)
	script := `set -e; mkdir -p t/a/b t/empty; cd t
		echo x > a/f; ln a/f a/b/hard; ln -s ../nowhere a/link; mkfifo fifo; mknod null c 1 3 || true
		chmod 4751 a/f; chmod 1770 a/b; chown 123:456 a/f a/b a; chown -h 77:88 a/link; printf 'x' > "$(printf 'odd\n\377')"
		dd if=/dev/urandom of=big bs=100k count=30 2>/dev/null; truncate -s 20M sparse; printf end >> sparse
		touch -h -d '2001-02-03 04:05:06.789' a/link a/b a empty .`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = path
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	unix.Setxattr(path+"/t/a/f", "trusted.note", []byte("kept"), 0)
	unix.Setxattr(path+"/t/a", "trusted.note", []byte("kept"), 0)
	other := otherFS(t, "")
	if _, err := Copy(t.Context(), dir, "t", open(t, other), "t", 1000); err != nil {
		t.Fatal(err)
	}
	if got, want := listing(t, other), listing(t, path); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var st unix.Stat_t
	if err := unix.Stat(other+"/t/sparse", &st); err != nil || st.Blocks*512 > 1<<20 {
		t.Errorf("the hole takes %d bytes, %v", st.Blocks*512, err)
	}
	for _, name := range []string{"/t/a/f", "/t/a"} {
		value := make([]byte, 10)
		if n, err := unix.Getxattr(other+name, "trusted.note", value); err != nil || string(value[:n]) != "kept" {
			t.Errorf("%s: attribute %q, %v", name, value, err)
		}
	}
}

// listing is what a tree is, with times in nanoseconds and sums of content.
func listing(t *testing.T, dir string) string {
	t.Helper()
	const script = `cd t && find . -printf '%p %y %m %U %G %l %n ' \( -type d -printf '%T@\n' -o -printf '%s %T@\n' \) | sort; find . -type f -exec sha256sum {} + | sort`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestCopyFullDisk(t *testing.T) {
	dir, path := opened(t)
	if err := os.WriteFile(path+"/f", make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+"/g", []byte(strings.Repeat("x", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	other := open(t, otherFS(t, "size=256k"))
	if _, err := Copy(t.Context(), dir, "g", other, "g", 10); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
}

func TestCopyCancelled(t *testing.T) {
	dir, path := opened(t)
	touch(t, path+"/d", 1000)
	other := otherFS(t, "")
	n, err := Copy(&countdown{t.Context(), 300}, dir, "d", open(t, other), "d", 1<<20)
	made, lerr := os.ReadDir(other + "/d")
	if !errors.Is(err, context.Canceled) || n != 300 || len(made) != 299 || lerr != nil {
		t.Errorf("%d were copied, %d are there, %v, %v", n, len(made), err, lerr)
	}
}

func BenchmarkRemove(b *testing.B) {
	path := b.TempDir()
	dir, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(dir)
	for b.Loop() {
		b.StopTimer()
		touch(b, path+"/d", 10_000)
		b.StartTimer()
		if _, err := Remove(context.Background(), dir, "d", 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}
