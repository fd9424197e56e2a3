package trees

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// fanOut is how many directories the root has.
const fanOut = 10

// Tree is what a tree is made of. Its files are in directories two levels deep,
// as many in each, and all but the hits are alike.
type Tree struct {
	Dirs  int // that hold files
	Files int // in each of them
	Hits  int // directories, evenly spread, one of whose files is what is searched for

	Name, HitName    string // Name has a verb for the file's number
	Content, HitText string // HitText comes after the Content of a hit
}

// Total is the number of the files.
func (t Tree) Total() int { return t.Dirs * t.Files }

// Make makes the tree in a directory that is made too. Everybody may read it.
func (t Tree) Make(ctx context.Context, root string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * runtime.NumCPU())
	for i := range t.Dirs {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			dir := filepath.Join(root, fmt.Sprintf("part-%d", i*fanOut/t.Dirs), fmt.Sprintf("dir-%04d", i))
			return t.makeDir(dir, i%(t.Dirs/t.Hits) == 0)
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("make a tree of %d files: %w", t.Total(), err)
	}
	return nil
}

// makeDir makes one directory of files. The hit is in the middle of it.
func (t Tree) makeDir(dir string, hit bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := range t.Files {
		name, content := fmt.Sprintf(t.Name, i), t.Content
		if hit && i == t.Files/2 {
			name, content = t.HitName, t.Content+t.HitText
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
