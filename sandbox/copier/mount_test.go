package copier

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"moorage/sandbox/sandboxtest"
)

// mounted is the root of a new file system of that kind.
func mounted(t testing.TB, kind string, mib int64) string {
	t.Helper()
	return sandboxtest.Mount(t, t.TempDir(), kind, mib)
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
