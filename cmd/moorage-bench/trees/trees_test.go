package trees

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestTreeIsWhatItSays(t *testing.T) {
	plain := Tree{Dirs: 40, Files: 5, Hits: 4, Name: "file-%02d.txt", HitName: "hit.txt", Content: "text\n", HitText: "needle\n"}
	linked := plain
	linked.Links = 7
	for _, c := range []struct {
		tree   Tree
		inodes int
	}{
		{plain, 200},
		{linked, 40 + 6*4}, // the middles, and the others of every seventh directory
	} {
		root := filepath.Join(t.TempDir(), "tree")
		if err := c.tree.Make(t.Context(), root); err != nil {
			t.Fatal(err)
		}
		check(t, c.tree, root, c.inodes)
	}
}

func check(t *testing.T, tree Tree, root string, wantInodes int) {
	t.Helper()
	files, hits, dirs, inodes := 0, 0, map[string]bool{}, map[uint64]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		dirs[filepath.Dir(path)] = true
		fi, err := d.Info()
		if err != nil {
			return err
		}
		inodes[fi.Sys().(*syscall.Stat_t).Ino] = true
		b, err := os.ReadFile(path)
		named, has := d.Name() == tree.HitName, strings.Contains(string(b), tree.HitText)
		if named != has || !strings.HasPrefix(string(b), tree.Content) {
			t.Errorf("%s has %q", path, b)
		}
		if has {
			hits++
		}
		return err
	})
	if err != nil || files != tree.Total() || len(dirs) != tree.Dirs || hits != tree.Hits || len(inodes) != wantInodes {
		t.Errorf("%d names of %d files in %d directories, %d hits, %v", files, len(inodes), len(dirs), hits, err)
	}
}

func TestMakingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tree := Tree{Dirs: 1000, Files: 100, Hits: 1, Name: "%d", HitName: "hit"}
	if err := tree.Make(ctx, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
