package copier

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// mounted is the root of a new file system of that type in a file, unmounted and
// removed at the end. The mount is private to nobody: its name is in t's own
// directory.
func mounted(t testing.TB, kind string, mib int64) string {
	t.Helper()
	needRoot(t)
	mkfs, err := exec.LookPath("mkfs." + kind)
	if err != nil {
		t.Skipf("mkfs.%s is not installed", kind)
	}
	dir := t.TempDir()
	image, root := filepath.Join(dir, "image"), filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(mib << 20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if out, err := exec.Command(mkfs, "-q", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.%s: %v: %s", kind, err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, root).CombinedOutput(); err != nil {
		t.Skipf("no %s by a loop device here: %v: %s", kind, err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", root).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
			exec.Command("umount", "-l", root).Run()
		}
	})
	return root
}

func TestFileSystems(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			root := mounted(t, kind, 512)
			property(t, root)
			if kind != "ext4" {
				clones(t, root)
			}
		})
	}
	t.Run("across", func(t *testing.T) {
		src, _, remove := scratch(t, mounted(t, "xfs", 512))
		defer remove()
		_, dst, remove := scratch(t, t.TempDir())
		defer remove()
		fill(t, src, 50, 1<<10)
		c, err := Tree(t.Context(), dst, src, Options{})
		if err != nil {
			t.Fatal(err)
		}
		same(t, c, src, dst)
	})
}

// clones checks that a big file takes no space again.
func clones(t *testing.T, root string) {
	src, dst, remove := scratch(t, root)
	defer remove()
	fill(t, src, 1, 100<<20)
	before := free(t, root)
	c, err := Tree(t.Context(), dst, src, Options{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, c, src, dst)
	if took := before - free(t, root); c.Stats().Cloned != 1 || took > 20<<20 {
		t.Fatalf("%+v took %d bytes", c.Stats(), took)
	}
}

// fill makes n files of that size in a directory.
func fill(t testing.TB, dir string, n, size int) {
	t.Helper()
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i % 253)
	}
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file%05d", i)), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
