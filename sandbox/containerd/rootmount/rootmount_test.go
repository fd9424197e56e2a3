package rootmount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"moorage/sandbox/containerd/idmap"
)

var ids = idmap.Range{Base: 1 << 30}

// store is a directory as a snapshotter's, with layers and an upper directory.
type store struct {
	t      testing.TB
	dir    string
	layers int
}

// newStore makes layers; each has a file of its own and one that all have.
func newStore(t testing.TB, layers int) store {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	s := store{t, t.TempDir(), layers}
	for i := range layers {
		s.write(fmt.Sprintf("snapshots/%d/fs/own%d", i, i), "own")
		s.write(fmt.Sprintf("snapshots/%d/fs/all", i), fmt.Sprint(i))
	}
	for _, d := range []string{"fs", "work"} {
		if err := os.MkdirAll(s.path("snapshots/upper", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		b, _ := os.ReadFile("/proc/self/mountinfo")
		if strings.Contains(string(b), s.dir) {
			t.Errorf("mounts are left in %s:\n%s", s.dir, b)
		}
	})
	return s
}

func (s store) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

func (s store) write(name, text string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.path(name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// options are in containerd's words, the topmost layer first.
func (s store) options() []string {
	lower := make([]string, s.layers)
	for i := range lower {
		lower[i] = s.path("snapshots", fmt.Sprint(s.layers-1-i), "fs")
	}
	return []string{
		"index=off", "workdir=" + s.path("snapshots/upper/work"), "upperdir=" + s.path("snapshots/upper/fs"),
		"lowerdir=" + strings.Join(lower, ":"),
	}
}

// open makes a map for the time of the test.
func open(t testing.TB, ids idmap.Range) *idmap.Map {
	t.Helper()
	m, err := idmap.Open(ids)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// attach shows a mount for the time of the test.
func (s store) attach(f *os.File) string {
	s.t.Helper()
	at := s.path("at")
	if err := os.Mkdir(at, 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := Attach(f, at); err != nil {
		s.t.Fatal(err)
	}
	f.Close()
	s.t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			s.t.Errorf("unmount: %v", err)
		}
	})
	return at
}

// as runs f with the file system ids of the range's root.
func as(ids idmap.Range, f func() error) error {
	_, err := onThread(func() (*os.File, error) {
		if err := actAs(ids); err != nil {
			return nil, err
		}
		return nil, f()
	})
	return err
}

func owner(t testing.TB, path string) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Uid
}

func TestOverlay(t *testing.T) {
	for name, ways := range map[string][]way{
		"by layers": {overlay.byLayers}, "by string": {overlay.byString}, "first that works": {tooOld, overlay.byString},
	} {
		for _, ids := range []idmap.Range{{}, ids} {
			for _, layers := range []int{1, 2, 100, 499} {
				t.Run(fmt.Sprintf("%s/%s/%d", name, ids, layers), func(t *testing.T) {
					s := newStore(t, layers)
					o, err := parseOverlay(s.options())
					if err != nil {
						t.Fatal(err)
					}
					tmp := s.path("tmp")
					if err := os.Mkdir(tmp, 0o700); err != nil {
						t.Fatal(err)
					}
					f, err := o.mount(open(t, ids), tmp, ways...)
					if err := errors.Join(err, idmap.Unmount(tmp)); err != nil {
						t.Fatal(err)
					}
					s.use(s.attach(f), ids)
				})
			}
		}
	}
}

func tooOld(overlay, string) (*os.File, error) { return nil, errOld }

// use reads from every layer, and writes as the range's root.
func (s store) use(at string, ids idmap.Range) {
	s.t.Helper()
	for i := range s.layers {
		if _, err := os.Stat(filepath.Join(at, fmt.Sprintf("own%d", i))); err != nil {
			s.t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(at, "all")); err != nil || string(b) != fmt.Sprint(s.layers-1) {
		s.t.Errorf("all is %q, %v: expected the topmost layer's", b, err)
	}
	if got := owner(s.t, filepath.Join(at, "all")); got != ids.Base {
		s.t.Errorf("a layer's file belongs to %d, expected %d", got, ids.Base)
	}
	err := as(ids, func() error {
		return errors.Join(os.WriteFile(filepath.Join(at, "new"), []byte("new"), 0o644),
			os.WriteFile(filepath.Join(at, "all"), []byte("changed"), 0o644),
			os.Remove(filepath.Join(at, "own0")))
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range []string{"new", "all"} {
		if got := owner(s.t, s.path("snapshots/upper/fs", name)); got != 0 {
			s.t.Errorf("%s belongs to %d on disk, expected 0", name, got)
		}
	}
	if b, err := os.ReadFile(s.path("snapshots/0/fs/all")); err != nil || string(b) != "0" {
		s.t.Errorf("the lowest layer's file is %q, %v: it was changed", b, err)
	}
}

func TestDetached(t *testing.T) {
	s := newStore(t, 3)
	f, err := Detached([]mount.Mount{{Type: "overlay", Source: "overlay", Options: s.options()}}, open(t, ids), s.path("tmp"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(s.path("tmp")); !os.IsNotExist(err) {
		t.Errorf("the temporary directory is left: %v", err)
	}
	s.use(s.attach(f), ids)
}

func TestBind(t *testing.T) {
	for _, m := range []mount.Mount{
		{Type: "bind", Options: []string{"rw", "rbind"}}, {Type: "bind", Options: []string{"ro", "rbind"}},
	} {
		t.Run(m.Options[0], func(t *testing.T) {
			s := newStore(t, 1)
			m.Source = s.path("snapshots/0/fs")
			f, err := Detached([]mount.Mount{m}, open(t, ids), s.path("tmp"))
			if err != nil {
				t.Fatal(err)
			}
			at := s.attach(f)
			err = as(ids, func() error { return os.WriteFile(filepath.Join(at, "new"), nil, 0o644) })
			if readOnly(m.Options) != errors.Is(err, unix.EROFS) || !readOnly(m.Options) && err != nil {
				t.Errorf("write to a %s mount: %v", m.Options[0], err)
			}
			if got := owner(t, filepath.Join(at, "all")); got != ids.Base {
				t.Errorf("its file belongs to %d, expected %d", got, ids.Base)
			}
		})
	}
}

// TestOther: a snapshotter with devices is not here, but the kernel mounts a
// tmpfs as readily.
func TestOther(t *testing.T) {
	s := newStore(t, 1)
	f, err := Detached([]mount.Mount{{Type: "tmpfs", Source: "tmpfs"}}, nil, s.path("tmp"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.attach(f), "x"), nil, 0o644); err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	s := newStore(t, 1)
	for name, mounts := range map[string][]mount.Mount{
		"no mount": nil,
		"no layer": {{Type: "overlay", Options: []string{"index=off"}}},
		"layer is gone": {{Type: "overlay", Options: []string{
			"upperdir=" + s.path("snapshots/upper/fs"), "workdir=" + s.path("snapshots/upper/work"), "lowerdir=" + s.path("snapshots/7/fs")}}},
		"layer elsewhere": {{Type: "overlay", Options: []string{
			"upperdir=" + s.path("snapshots/upper/fs"), "workdir=" + s.path("snapshots/upper/work"), "lowerdir=/usr"}}},
		"directory is gone": {{Type: "bind", Source: s.path("nothing")}},
	} {
		if f, err := Detached(mounts, open(t, ids), s.path("tmp")); err == nil {
			f.Close()
			t.Errorf("%s: mounted", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
		if _, err := os.Lstat(s.path("tmp")); !os.IsNotExist(err) {
			t.Errorf("%s: the temporary directory is left", name)
		}
	}
}

// TestThreads: nothing of what the mounting threads do to themselves is seen by
// others.
func TestThreads(t *testing.T) {
	s := newStore(t, 2)
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	m := open(t, ids)
	for range 20 {
		f, err := Detached([]mount.Mount{{Type: "overlay", Options: s.options()}}, m, s.path("tmp"))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	tasks, _ := filepath.Glob("/proc/self/task/*")
	for _, task := range tasks {
		if at, err := os.Readlink(filepath.Join(task, "cwd")); err == nil && at != before {
			t.Errorf("%s works in %s", task, at)
		}
		b, _ := os.ReadFile(filepath.Join(task, "status"))
		if strings.Contains(string(b), fmt.Sprint(ids.Base)) {
			t.Errorf("%s has the range's ids:\n%s", task, b)
		}
	}
}

func BenchmarkDetached(b *testing.B) {
	for _, ids := range []idmap.Range{{}, ids} {
		b.Run(ids.String(), func(b *testing.B) {
			s, m := newStore(b, 4), open(b, ids)
			for b.Loop() {
				f, err := Detached([]mount.Mount{{Type: "overlay", Options: s.options()}}, m, s.path("tmp"))
				if err != nil {
					b.Fatal(err)
				}
				f.Close()
			}
		})
	}
}

func TestSupported(t *testing.T) {
	s := newStore(t, 1)
	if err := Supported(s.dir); err != nil {
		t.Error(err)
	}
	// A file system that the kernel cannot shift.
	if err := Supported("/proc"); err == nil {
		t.Error("/proc is said to do")
	}
	// One that was killed in the middle of it.
	killed := s.path(probePrefix + "1")
	if err := os.MkdirAll(filepath.Join(killed, "m"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := open(t, ids).Mount(s.path("snapshots"), filepath.Join(killed, "m")); err != nil {
		t.Fatal(err)
	}
	if err := removeProbes(s.dir, time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.path("snapshots/0/fs/all")); err != nil {
		t.Errorf("what was mounted there is gone: %v", err)
	}
	if left, _ := filepath.Glob(s.path(".probe-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func BenchmarkSupported(b *testing.B) {
	s := newStore(b, 1)
	for b.Loop() {
		if err := Supported(s.dir); err != nil {
			b.Fatal(err)
		}
	}
}
