package sandboxtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Mount makes a new file system of a kind that mkfs knows in a file and mounts it
// at <dir>/m, until the test's end. dir must exist and go with the test. A test
// on a host without that mkfs, or without loop devices, is skipped.
func Mount(t testing.TB, dir, kind string, mib int64) (root string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	mkfs, err := exec.LookPath("mkfs." + kind)
	if err != nil {
		t.Skipf("mkfs.%s is not installed", kind)
	}
	image, root := filepath.Join(dir, "image"), filepath.Join(dir, "m")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(mib << 20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs, "-q", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.%s: %v: %s", kind, err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, root).CombinedOutput(); err != nil {
		t.Skipf("no %s by a loop device here: %v: %s", kind, err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", root).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
			_ = exec.Command("umount", "-l", root).Run()
		}
	})
	return root
}
