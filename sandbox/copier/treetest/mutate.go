package treetest

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// Random returns a number from 0 to n-1.
type Random func(n int) int

// Rapid draws from a property's test, which shrinks what failed.
func Rapid(t *rapid.T) Random {
	return func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") }
}

// Seeded is for a goroutine of its own: the same seed, the same numbers.
func Seeded(seed uint64) Random { return rand.New(rand.NewPCG(seed, 1)).IntN }

// names are few, so that steps meet; with bytes that programs stumble over.
var names = []string{
	"a", "b", "c", "d", "e", "-rf", " ", "new\nline", "\xff\xfe", "ünï", "*", "...", `back\slash`, strings.Repeat("n", 255),
}

// Mutate changes a tree by so many random steps, each of which makes, writes,
// moves, links, removes, or changes the attributes of something that is there.
// A step that cannot be made, as on a file that somebody else has removed, is
// left out, so it works also without root and on any file system.
func Mutate(dir string, r Random, steps int) {
	for range steps {
		m := mutation{dir, r}
		step := all[r(len(all))]
		for range step.weight {
			step.do(m)
		}
	}
}

type mutation struct {
	dir    string
	random Random
}

var all = []struct {
	weight int
	do     func(m mutation)
}{
	{3, mutation.write}, {2, mutation.mkdir}, {1, mutation.overwrite}, {1, mutation.truncate},
	{1, mutation.sparse}, {1, mutation.special}, {1, mutation.symlink}, {2, mutation.link},
	{1, mutation.rename}, {1, mutation.remove}, {1, mutation.chmod}, {1, mutation.chown},
	{2, mutation.setXattr}, {1, mutation.removeXattr}, {1, mutation.times},
}

// any is a path that is there, or the root.
func (m mutation) any() string {
	paths := []string{m.dir}
	filepath.WalkDir(m.dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			paths = append(paths, path)
		}
		return nil
	})
	return paths[m.random(len(paths))]
}

// fresh is a path below some directory, which may or may not be there.
func (m mutation) fresh() string {
	dir := m.any()
	if st, err := os.Lstat(dir); err != nil || !st.IsDir() {
		dir = filepath.Dir(dir)
	}
	if len(dir) < len(m.dir) {
		dir = m.dir
	}
	return filepath.Join(dir, names[m.random(len(names))])
}

func (m mutation) bytes() []byte {
	sizes := []int{0, 1, 100, 4096, 5000, 65536, 200_000}
	b := make([]byte, sizes[m.random(len(sizes))])
	fill := byte(m.random(256))
	for i := range b {
		b[i] = fill + byte(i%251)
	}
	return b
}

// open opens a regular file, and nothing that would block.
func (m mutation) open(path string, flags int) *os.File {
	if st, err := os.Lstat(path); err == nil && !st.Mode().IsRegular() {
		return nil
	}
	f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return nil
	}
	return f
}

func (m mutation) write() {
	if f := m.open(m.fresh(), os.O_RDWR|os.O_CREATE|os.O_TRUNC); f != nil {
		f.Write(m.bytes())
		f.Close()
	}
}

func (m mutation) overwrite() {
	if f := m.open(m.any(), os.O_RDWR); f != nil {
		f.WriteAt(m.bytes(), int64(m.random(70_000)))
		f.Close()
	}
}

func (m mutation) truncate() {
	if f := m.open(m.any(), os.O_RDWR); f != nil {
		f.Truncate(int64(m.random(100_000)))
		f.Close()
	}
}

func (m mutation) sparse() {
	if f := m.open(m.fresh(), os.O_RDWR|os.O_CREATE); f != nil {
		for range m.random(3) {
			f.WriteAt(m.bytes(), int64(m.random(16))<<20)
		}
		f.Truncate(int64(m.random(32)) << 20)
		f.Close()
	}
}

func (m mutation) mkdir() { os.Mkdir(m.fresh(), 0o755) }

func (m mutation) special() {
	kinds := []struct {
		mode uint32
		dev  int
	}{{unix.S_IFIFO, 0}, {unix.S_IFSOCK, 0}, {unix.S_IFCHR, 0}, {unix.S_IFCHR, int(unix.Mkdev(1, 3))}, {unix.S_IFBLK, int(unix.Mkdev(7, 300))}}
	kind := kinds[m.random(len(kinds))]
	unix.Mknod(m.fresh(), kind.mode|0o640, kind.dev)
}

func (m mutation) symlink() {
	targets := []string{"a", "/etc/passwd", "..", "nowhere", strings.Repeat("x/", 500)}
	os.Symlink(targets[m.random(len(targets))], m.fresh())
}

func (m mutation) link()   { os.Link(m.any(), m.fresh()) }
func (m mutation) rename() { m.inside(m.any(), func(path string) { os.Rename(path, m.fresh()) }) }
func (m mutation) remove() { m.inside(m.any(), func(path string) { os.RemoveAll(path) }) }

func (m mutation) inside(path string, do func(string)) {
	if path != m.dir {
		do(path)
	}
}

func (m mutation) chmod() {
	path := m.any()
	if st, err := os.Lstat(path); err == nil && st.Mode()&fs.ModeSymlink == 0 {
		modes := []uint32{0o600, 0o755, 0o4755, 0o2775, 0o1777, 0o000, 0o444}
		unix.Fchmodat(unix.AT_FDCWD, path, modes[m.random(len(modes))], 0)
	}
}

func (m mutation) chown() {
	ids := []int{0, 1000, 65534, 100_000}
	os.Lchown(m.any(), ids[m.random(len(ids))], ids[m.random(len(ids))])
}

// acl is a list of access: the owner rwx, user 1000 rw, the group r, a mask rwx,
// others none, as the kernel keeps it.
const acl = "\x02\x00\x00\x00" + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x06\x00\xe8\x03\x00\x00" +
	"\x04\x00\x04\x00\xff\xff\xff\xff" + "\x10\x00\x07\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"

var attributes = []struct{ name, value string }{
	{"user.note", "one"}, {"user.note", "two"}, {"user.empty", ""}, {"user.big", strings.Repeat("v", 2000)},
	{"trusted.overlay.opaque", "y"}, {"trusted.overlay.redirect", "/a"}, {"trusted.overlay.origin", "\x00\xfb\x1d"},
	{"security.capability", "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
	{"system.posix_acl_access", acl}, {"system.posix_acl_default", acl},
}

func (m mutation) setXattr() {
	a := attributes[m.random(len(attributes))]
	unix.Lsetxattr(m.any(), a.name, []byte(a.value), 0)
}

func (m mutation) removeXattr() {
	unix.Lremovexattr(m.any(), attributes[m.random(len(attributes))].name)
}

func (m mutation) times() {
	at := time.Unix(int64(m.random(2_000_000_000)), int64(m.random(1_000_000_000)))
	ts := unix.NsecToTimespec(at.UnixNano())
	unix.UtimesNanoAt(unix.AT_FDCWD, m.any(), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}
