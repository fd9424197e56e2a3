package store

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of its own kind and size at a new Root.
func smallDisk(t testing.TB, kind string, size int64) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	root, file := filepath.Join(dir, "root"), filepath.Join(dir, "disk")
	if err := os.Mkdir(root, 0o711); err != nil {
		t.Fatal(err)
	}
	write(t, file, "")
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs."+kind, "-q", "-b", "4096", file).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.%s: %v: %s", kind, err, out)
	}
	dev, err := attach(file)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	if err := unix.Mount(dev.Name(), root, kind, 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, at := range []string{mountPath(root), root} {
			if err := unix.Unmount(at, 0); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
				t.Errorf("unmount %s: %v", at, err)
			}
		}
	})
	return root
}

// fillDisk writes to a file until the disk is full, and reports how much went in.
func fillDisk(t testing.TB, path string) int64 {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = byte(i * 7)
	}
	for total := int64(0); ; {
		n, err := f.Write(block)
		total += int64(n)
		if errors.Is(err, unix.ENOSPC) {
			if err := f.Sync(); err != nil {
				t.Fatalf("what was accepted is not on the disk: %v", err)
			}
			return total
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullHostDiskDoesNoHarm fills the host's file system around a store, and
// then the store: all of its room was its own.
func TestFullHostDiskDoesNoHarm(t *testing.T) {
	root := smallDisk(t, "ext4", 900<<20)
	s := open(t, root, Spec{Loop, smallest})
	write(t, s.Dir()+"/kept", "kept")
	fillDisk(t, root+"/host")
	if n := fillDisk(t, s.Dir()+"/f"); n < 150<<20 {
		t.Errorf("only %d MiB fitted into the store", n>>20)
	}
	if err := os.Remove(s.Dir() + "/f"); err != nil {
		t.Fatal(err)
	}
	write(t, s.Dir()+"/g", strings.Repeat("g", 50<<20))
	closeStore(t, s)
	s = open(t, root, Spec{})
	if read(t, s.Dir()+"/kept") != "kept" || len(read(t, s.Dir()+"/g")) != 50<<20 {
		t.Error("the files are not what they were")
	}
	closeStore(t, s)
}

func TestTooLittleRoom(t *testing.T) {
	for size, want := range map[int64][]string{
		400 << 20: {"at least 300MiB"},
		900 << 20: {"can be at most", "2GiB is asked for"},
	} {
		root := smallDisk(t, "ext4", size)
		var log strings.Builder
		s, err := Open(root, Spec{Loop, 2 << 30}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil || s.Kind() != Plain || exists(Image(root)) {
			t.Fatalf("%+v, %v", s, err)
		}
		for _, w := range want {
			if !strings.Contains(log.String(), w) {
				t.Errorf("the log does not say %q: %s", w, &log)
			}
		}
	}
}

func TestDefaultSizeIsHalfOfWhatIsFree(t *testing.T) {
	root := smallDisk(t, "ext4", 2<<30)
	free, err := Free(root)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, root, Spec{Kind: Loop})
	fi, err := os.Stat(Image(root))
	if err != nil || fi.Size() > free/2 || fi.Size() < free/2-mib {
		t.Errorf("of %d free the store takes %d, %v", free, fi.Size(), err)
	}
	closeStore(t, s)
}

const mib = 1 << 20

// TestDiskThatCannotReserve: ext3 has no extents, so a file there could only be
// sparse.
func TestDiskThatCannotReserve(t *testing.T) {
	root := smallDisk(t, "ext3", 900<<20)
	var log strings.Builder
	s, err := Open(root, Spec{Loop, smallest}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil || s.Kind() != Plain || !strings.Contains(log.String(), "cannot reserve room") {
		t.Fatalf("%+v, %v: %s", s, err, &log)
	}
	if exists(Image(root)) || exists(Image(root)+".new") {
		t.Error("a file is left")
	}
}

// TestMountNotAllowed is what happens in a container that may format, but not
// mount.
func TestMountNotAllowed(t *testing.T) {
	root := newRoot(t)
	defer withoutSysAdmin(t)()
	var log strings.Builder
	s, err := Open(root, Spec{Loop, smallest}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil || s.Kind() != Plain || !strings.Contains(log.String(), "operation not permitted") {
		t.Fatalf("%+v, %v: %s", s, err, &log)
	}
	if exists(Image(root)) {
		t.Error("the file is left")
	}
}

// withoutSysAdmin takes CAP_SYS_ADMIN from this thread until the function that it
// returns is called.
func withoutSysAdmin(t *testing.T) (restore func()) {
	t.Helper()
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	set := func() {
		if err := unix.Capset(&header, &caps[0]); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Capget(&header, &caps[0]); err != nil {
		t.Fatal(err)
	}
	before := caps[0].Effective
	caps[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
	set()
	return func() {
		caps[0].Effective = before
		set()
		runtime.UnlockOSThread()
	}
}

func TestSpec(t *testing.T) {
	for text, want := range map[string]Spec{
		"": {}, "plain": {Kind: Plain}, "loop": {Kind: Loop}, "loop:300MiB": {Loop, 300 << 20},
		"loop:2g": {Loop, 2 << 30}, "loop:2GiB": {Loop, 2 << 30}, "loop:1099511627776": {Loop, 1 << 40},
	} {
		var got, again Spec
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q is %+v, %v; expected %+v", text, got, err, want)
		}
		if err := again.UnmarshalText([]byte(got.String())); err != nil || again != got {
			t.Errorf("%+v as text and back is %+v, %v", got, again, err)
		}
	}
	for text, want := range map[string]string{
		"loop:299MiB": "at least 300MiB", "loop:": "a number with a unit", "loop:-1": "a number", "plain:1g": "plain, loop",
		"LOOP": "plain, loop", "loop:12x": "a number with a unit", "zfs": "plain, loop",
	} {
		var s Spec
		if err := s.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || s != (Spec{}) {
			t.Errorf("%q: %+v, %v; expected %q", text, s, err, want)
		}
	}
}
