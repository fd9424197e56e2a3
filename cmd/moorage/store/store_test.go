package store

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const smallest = MinSize

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts")
	}
}

// newRoot is an empty Root; what is mounted in it is unmounted at the end, and no
// loop device may be left.
func newRoot(t testing.TB) string {
	t.Helper()
	needRoot(t)
	root := t.TempDir()
	t.Cleanup(func() {
		for mounted(t, mountPath(root)) {
			if err := unix.Unmount(mountPath(root), 0); err != nil {
				t.Fatal(err)
			}
		}
		if dev := deviceOf(t, root); dev != "" {
			t.Errorf("the loop device %s is left", dev)
		}
	})
	return root
}

func open(t testing.TB, root string, spec Spec) *Store {
	t.Helper()
	s, err := Open(root, spec, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func refused(t testing.TB, root string, spec Spec, want ...string) {
	t.Helper()
	s, err := Open(root, spec, nil)
	if err == nil {
		t.Fatalf("%v was opened as %s", spec, s.Kind())
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the refusal does not say %q: %v", w, err)
		}
	}
}

func mounted(t testing.TB, at string) bool {
	t.Helper()
	on, err := mountedFrom(at)
	if err != nil {
		t.Fatal(err)
	}
	return on != ""
}

// deviceOf is the loop device of the Root's file; "" if there is none.
func deviceOf(t testing.TB, root string) string {
	t.Helper()
	f, err := os.Open(Image(root))
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dev, err := findDevice(f)
	if err != nil {
		t.Fatal(err)
	}
	if dev == nil {
		return ""
	}
	defer dev.Close()
	return dev.Name()
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLoopStoreIsMadeUsedAndClosed(t *testing.T) {
	root := newRoot(t)
	s := open(t, root, Spec{Loop, smallest})
	if s.Kind() != Loop || s.Dir() != filepath.Join(root, "store") {
		t.Fatalf("a %s store at %s", s.Kind(), s.Dir())
	}
	facts, err := Look(s.Dir())
	if err != nil || !facts.Reflinks {
		t.Errorf("what it can do: %+v, %v", facts, err)
	}
	write(t, s.Dir()+"/kept", "kept")
	closeStore(t, s)
	closeStore(t, s) // twice is fine
	if mounted(t, s.root+"/store") || deviceOf(t, root) != "" {
		t.Error("after Close the store is mounted or attached")
	}
	again := open(t, root, Spec{})
	if again.Kind() != Loop || read(t, again.Dir()+"/kept") != "kept" {
		t.Errorf("without a flag: %s", again.Kind())
	}
	closeStore(t, again)
}

func TestFileIsReserved(t *testing.T) {
	root := newRoot(t)
	s := open(t, root, Spec{Loop, smallest})
	defer closeStore(t, s)
	write(t, s.Dir()+"/f", strings.Repeat("x", 50<<20))
	unix.Sync()
	if err := os.Remove(s.Dir() + "/f"); err != nil {
		t.Fatal(err)
	}
	// What fstrim does to the file systems of a host.
	trim, _ := exec.Command("fstrim", s.Dir()).CombinedOutput()
	var st unix.Stat_t
	if err := unix.Stat(Image(root), &st); err != nil {
		t.Fatal(err)
	}
	if st.Blocks*512 < smallest {
		t.Errorf("%d of %d bytes are reserved after fstrim: %s", st.Blocks*512, smallest, trim)
	}
}

func TestMountOfKilledServerIsUsed(t *testing.T) {
	root := newRoot(t)
	s := open(t, root, Spec{Loop, smallest})
	dev := deviceOf(t, root)
	f, err := os.Create(s.Dir() + "/open")
	if err != nil {
		t.Fatal(err)
	}
	again := open(t, root, Spec{Kind: Loop}) // s is what the killed one had
	if got := deviceOf(t, root); got != dev {
		t.Errorf("attached to %s, then to %s", dev, got)
	}
	if _, err := f.WriteString("x"); err != nil || read(t, again.Dir()+"/open") != "x" {
		t.Errorf("a file that was open: %v", err)
	}
	f.Close()
	closeStore(t, again)
	if mounted(t, again.root+"/store") {
		t.Error("it was mounted twice")
	}
}

func TestDeviceOfUnmountedStoreIsUsed(t *testing.T) {
	root := newRoot(t)
	closeStore(t, open(t, root, Spec{Loop, smallest}))
	dev, err := attach(Image(root))
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	s := open(t, root, Spec{})
	if on, err := mountedFrom(s.Dir()); err != nil || on != dev.Name() {
		t.Errorf("mounted from %s, attached to %s, %v", on, dev.Name(), err)
	}
	closeStore(t, s)
}

// TestPowerCut opens the file as it is at a moment while it is mounted.
func TestPowerCut(t *testing.T) {
	root, later := newRoot(t), newRoot(t)
	s := open(t, root, Spec{Loop, smallest})
	for _, name := range []string{"a", "b", "c"} {
		write(t, filepath.Join(s.Dir(), name, "f"), name)
	}
	f, err := os.Open(s.Dir() + "/c/f")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", Image(root), Image(later)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	closeStore(t, s) // XFS mounts no two of the same id at once
	s = open(t, later, Spec{})
	if got := read(t, s.Dir()+"/c/f"); got != "c" {
		t.Errorf("what was synced is %q", got)
	}
	closeStore(t, s)
}

func TestHalfMadeFileIsMadeAnew(t *testing.T) {
	root := newRoot(t)
	write(t, Image(root)+".new", "half")
	s := open(t, root, Spec{Loop, smallest})
	defer closeStore(t, s)
	if exists(Image(root)+".new") || s.Kind() != Loop {
		t.Errorf("the half-made file is there, or the store is %s", s.Kind())
	}
}

func TestGrowth(t *testing.T) {
	root := newRoot(t)
	size := func(s *Store) int64 {
		f, err := Look(s.Dir())
		if err != nil {
			t.Fatal(err)
		}
		return f.Size
	}
	s := open(t, root, Spec{Loop, smallest})
	write(t, s.Dir()+"/kept", "kept")
	before := size(s)
	mountedOne := open(t, root, Spec{Loop, smallest + 100<<20}) // while it is mounted
	if got := size(mountedOne); got < before+90<<20 {
		t.Errorf("grew from %d to %d while mounted", before, got)
	}
	closeStore(t, mountedOne)
	// A server that was killed after the file has grown.
	f, err := os.OpenFile(Image(root), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(reserve(f, smallest+200<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, root, Spec{})
	if got := size(s); got < before+190<<20 {
		t.Errorf("grew from %d to %d after a kill", before, got)
	}
	if read(t, s.Dir()+"/kept") != "kept" {
		t.Error("a file is not what it was")
	}
	closeStore(t, s)
	refused(t, root, Spec{Loop, smallest}, "300MiB", "500MiB", "cannot shrink", "--root")
	refused(t, root, Spec{Loop, 1 << 50}, "1PiB", "room for")
	closeStore(t, open(t, root, Spec{Kind: Loop}))
}

func TestKindsAreNotMixed(t *testing.T) {
	root := newRoot(t)
	closeStore(t, open(t, root, Spec{Loop, smallest}))
	refused(t, root, Spec{Kind: Plain}, "is a loop store", "--root")
	for _, dir := range []string{"data/bots/ann", "spool/m-1", "data/snapshots/1"} {
		root := newRoot(t)
		write(t, filepath.Join(root, dir, "f"), "x")
		refused(t, root, Spec{Loop, smallest}, "plain store", "--root")
		if s := open(t, root, Spec{}); s.Kind() != Plain || s.Dir() != root {
			t.Errorf("with %s: %s at %s", dir, s.Kind(), s.Dir())
		}
		if exists(Image(root)) {
			t.Error("a file was made")
		}
	}
}

func TestWithoutTools(t *testing.T) {
	root := newRoot(t)
	path := os.Getenv("PATH")
	t.Setenv("PATH", t.TempDir())
	var log strings.Builder
	s, err := Open(root, Spec{Loop, smallest}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil || s.Kind() != Plain || s.Dir() != root {
		t.Fatalf("%+v, %v", s, err)
	}
	if !strings.Contains(log.String(), "install xfsprogs") {
		t.Errorf("the log does not say why: %s", &log)
	}
	write(t, root+"/data/bots/ann/f", "x")
	t.Setenv("PATH", path)
	log.Reset()
	s, err = Open(root, Spec{Loop, smallest}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil || s.Kind() != Plain || !strings.Contains(log.String(), "stays so") {
		t.Fatalf("filled meanwhile: %+v, %v: %s", s, err, &log)
	}
	if err := os.RemoveAll(root + "/data"); err != nil {
		t.Fatal(err)
	}
	s = open(t, root, Spec{Loop, smallest})
	if s.Kind() != Loop || exists(fellBackPath(root)) {
		t.Errorf("empty again: %s", s.Kind())
	}
	closeStore(t, s)
	t.Setenv("PATH", t.TempDir())
	s = open(t, root, Spec{}) // a store that is there needs no tools
	write(t, root+"/store/f", "x")
	closeStore(t, s)
}

func TestDamagedStoreIsRefused(t *testing.T) {
	root := newRoot(t)
	write(t, Image(root), strings.Repeat("damaged", smallest/7))
	refused(t, root, Spec{}, Image(root), "mount")
	refused(t, root, Spec{Kind: Loop}, Image(root), "mount")
}

func TestPlaceThatIsNotEmptyIsRefused(t *testing.T) {
	root := newRoot(t)
	write(t, root+"/store/f", "x")
	refused(t, root, Spec{Loop, smallest}, "is not empty")
	if err := os.Remove(root + "/store/f"); err != nil {
		t.Fatal(err)
	}
	closeStore(t, open(t, root, Spec{}))
}
