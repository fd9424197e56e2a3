package files

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// TestListDenied walks a tree as a user who may not read all of it. Root may, so
// as root the test's thread takes another user's rights on files.
func TestListDenied(t *testing.T) {
	dir := t.TempDir()
	closed := filepath.Join(dir, "closed")
	for _, d := range []string{closed, filepath.Join(dir, "open")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "f"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for d, mode := range map[string]os.FileMode{closed: 0, dir: 0o755, filepath.Dir(dir): 0o755} {
		if err := os.Chmod(d, mode); err != nil {
			t.Fatal(err)
		}
	}
	defer os.Chmod(closed, 0o755)
	tree := New(Options{})
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if os.Geteuid() == 0 {
		// The kernel takes the capabilities on files from the thread with it.
		if err := unix.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer unix.Setfsuid(0)
	}
	res, err := tree.List(t.Context(), &fsbridge.ListRequest{Path: fsbridge.Path(dir), Depth: 3})
	if err != nil {
		t.Fatal(err)
	}
	if res.Denied != 1 || len(res.Entries) != 3 || !res.Entries[0].Omitted {
		t.Errorf("%d denied: %+v", res.Denied, res.Entries)
	}
}
