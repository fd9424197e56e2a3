package layers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting overlayfs needs root")
	}
}

// history is a pile of layers that real mounts have made: lower ones first, and
// what a mount showed when each was the top one.
type history struct {
	base   string
	layers []string // bottom first
	trees  []tree
	n      int
}

func newHistory(t testing.TB) *history {
	needRoot(t)
	base := t.TempDir()
	unix.Chmod(base, 0o755)
	return &history{base: base}
}

func (h *history) dir(name string) string {
	h.n++
	d := filepath.Join(h.base, fmt.Sprint(h.n), name)
	if err := os.MkdirAll(d, 0o755); err != nil {
		panic(err)
	}
	return d
}

// topFirst are the layers up to number i as a stack takes them.
func (h *history) topFirst(i int) []string {
	var dirs []string
	for ; i >= 0; i-- {
		dirs = append(dirs, h.layers[i])
	}
	return dirs
}

// mounted calls f with the mount of the layers, top first, and an upper or "".
func (h *history) mounted(dirs []string, upper string, f func(root string)) {
	target := h.dir("m")
	// volatile: an unmount syncs nothing.
	opts := "index=off,xino=off,lowerdir=" + strings.Join(append(dirs, h.dir("e"), h.dir("e")), ":")
	if upper != "" {
		opts += ",volatile,upperdir=" + upper + ",workdir=" + h.dir("w")
	}
	if err := unix.Mount("overlay", target, "overlay", 0, opts); err != nil {
		panic(fmt.Sprintf("mount %s: %v", opts, err))
	}
	defer func() {
		// Busy for a moment where another process has just copied all mounts.
		if err := unix.Unmount(target, 0); err != nil {
			if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
				panic(err)
			}
		}
	}()
	f(target)
}

// commit lets f work in a new layer on top, which stays.
func (h *history) commit(f func(root string)) {
	upper := h.dir("fs")
	h.mounted(h.topFirst(len(h.layers)-1), upper, func(root string) {
		f(root)
		h.trees = append(h.trees, readTree(root))
	})
	h.layers = append(h.layers, upper)
}

// names are few, so that operations meet. They sort differently as paths and
// name by name.
var names = []string{"a", "b", "a-b", "\xff\n", "d"}

var paths = rapid.Custom(func(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(names), 1, 3).Draw(t, "path"), "/")
})

// within says that a path is really below root, and no link itself. The links of
// the tree lead anywhere, and operations must not follow them.
func within(root, p string) bool {
	dir, err := filepath.EvalSymlinks(filepath.Dir(p))
	if err != nil || dir != root && !strings.HasPrefix(dir, root+"/") {
		return os.IsNotExist(err)
	}
	info, err := os.Lstat(p)
	return err != nil || info.Mode()&os.ModeSymlink == 0
}

// write makes or overwrites a regular file; it opens nothing else.
func write(p, content string, mode os.FileMode, at int64) {
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, mode)
	if info, e := os.Lstat(p); err != nil && e == nil && info.Mode().IsRegular() {
		f, err = os.OpenFile(p, os.O_WRONLY|os.O_TRUNC|unix.O_NOFOLLOW, 0)
	}
	if err == nil {
		f.WriteAt([]byte(content), at)
		f.Close()
	}
}

// removeAll is os.RemoveAll, which would wait where the parent is a FIFO.
func removeAll(p string) {
	if info, err := os.Lstat(filepath.Dir(p)); err == nil && info.IsDir() {
		os.RemoveAll(p)
	}
}

// operate does something random below root. What cannot be done does nothing.
func operate(t *rapid.T, root string) {
	p := filepath.Join(root, paths.Draw(t, "p"))
	q := filepath.Join(root, paths.Draw(t, "q"))
	n := rapid.IntRange(0, 3).Draw(t, "n")
	op := rapid.IntRange(0, 19).Draw(t, "op")
	if !within(root, p) && op != 5 || !within(root, q) || !within(root, filepath.Dir(p)+"/x") {
		return
	}
	ts := []unix.Timespec{{Sec: int64(n) * 1e8, Nsec: 123456789}, {Sec: int64(n)*1e8 + 1, Nsec: 987654321}}
	switch op {
	case 0, 1:
		write(p, strings.Repeat("x\n", n), 0o644, 0)
	case 2:
		write(p, fmt.Sprintf("line %d\n", n), 0o600, 0)
	case 3, 4:
		os.MkdirAll(p, 0o755)
	case 5:
		os.Remove(p)
	case 6:
		removeAll(p)
	case 7, 8:
		os.Rename(p, q)
	case 9:
		unix.Chmod(p, []uint32{0o600, 0o755, 0o4755, 0o1777}[n])
	case 10:
		os.Lchown(p, n, n+1)
	case 11, 12:
		os.Link(p, q)
	case 13:
		os.Symlink([]string{"a", "/nowhere", "../b", "b/a"}[n], p)
	case 14:
		removeAll(p)
		write(p, "was replaced", 0o644, 0)
	case 15:
		removeAll(p)
		os.MkdirAll(p, 0o700)
	case 16:
		unix.Lsetxattr(p, "user.x", []byte(strings.Repeat("v", n)), 0)
		unix.Lsetxattr(p, "trusted.y", []byte{0, byte(n)}, 0)
	case 17:
		unix.Mknod(p, []uint32{unix.S_IFIFO, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFSOCK}[n]|0o640, int(unix.Mkdev(4000, uint32(n))))
	case 18:
		unix.UtimesNanoAt(unix.AT_FDCWD, p, ts, unix.AT_SYMLINK_NOFOLLOW)
	case 19:
		if n > 1 {
			write(p, "end", 0o644, linkFrom+int64(n))
		}
	}
}

// anyHistory makes a pile of layers.
func anyHistory(t *rapid.T, base string) *history {
	h := &history{base: base}
	for range rapid.IntRange(2, 5).Draw(t, "layers") {
		h.commit(func(root string) {
			for range rapid.IntRange(1, 15).Draw(t, "operations") {
				operate(t, root)
			}
		})
	}
	return h
}
