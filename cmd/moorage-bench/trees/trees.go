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
	// Links is how many directories share their files: one makes them, the others
	// have links to them. 0 is 1. A filesystem without a journal may take a minute
	// to make 100,000 files just after as many were removed.
	Links int

	Name, HitName    string // Name has a verb for the file's number
	Content, HitText string // HitText comes after the Content of a hit
}

// Total is the number of the files.
func (t Tree) Total() int { return t.Dirs * t.Files }

// Make makes the tree in a directory that is made too. Everybody may read it.
func (t Tree) Make(ctx context.Context, root string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * runtime.NumCPU())
	shared := max(1, t.Links)
	for first := 0; first < t.Dirs; first += shared {
		g.Go(func() error {
			for i := first; i < min(first+shared, t.Dirs); i++ {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := t.makeDir(root, i, first); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("make a tree of %d files: %w", t.Total(), err)
	}
	return nil
}

// dir is the directory of number i.
func (t Tree) dir(root string, i int) string {
	return filepath.Join(root, fmt.Sprintf("part-%d", i*fanOut/t.Dirs), fmt.Sprintf("dir-%04d", i))
}

// makeDir makes the directory of number i. The file in its middle, which may be a
// hit, is its own; the others are shared with the directory of number first.
func (t Tree) makeDir(root string, i, first int) error {
	dir, source := t.dir(root, i), t.dir(root, first)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for j := range t.Files {
		name, content := fmt.Sprintf(t.Name, j), t.Content
		middle := j == t.Files/2
		if middle && i%(t.Dirs/t.Hits) == 0 {
			name, content = t.HitName, t.Content+t.HitText
		}
		var err error
		if i == first || middle {
			err = os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644)
		} else {
			err = os.Link(filepath.Join(source, name), filepath.Join(dir, name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
