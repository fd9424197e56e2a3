package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"moorage/cmd/moorage-bench/client"
	"moorage/cmd/moorage-bench/trees"
)

// The names of the peers of searches.
const (
	rgName     = "rg, native"
	grepName   = "grep -rn, native"
	findName   = "find, native"
	sortName   = "find with sort, native"
	byNameName = "search_files, by name only"
)

// The trees that are searched, in the bot's data: at the same time on the host,
// where the native tools and the reference server search, and in the container.
const (
	grepDir = "grep-tree"
	globDir = "glob-tree"
	needle  = "the needle of this haystack"
	newest  = 200 // paths that fs_glob answers at most, by default
)

var (
	grepTree = trees.Tree{
		Dirs: 100, Files: 50, Hits: 50, Name: "file-%03d.txt", HitName: "hit.txt", Content: content, HitText: needle + "\n",
	}
	globTree = trees.Tree{Dirs: 1000, Files: 100, Hits: 100, Links: 10, Name: "file-%03d.txt", HitName: "hit.txt"}
)

// dataDir is where the data of the bot that searches is on the host.
func (b *bench) dataDir() string { return filepath.Join(b.server.root, "data/bots", benchBot) }

// makeTrees makes what the contests of searches, that are not left out, search.
func (b *bench) makeTrees(ctx context.Context) error {
	if !b.lacks[grepTool] {
		if err := grepTree.Make(ctx, filepath.Join(b.dataDir(), grepDir)); err != nil {
			return err
		}
	}
	if b.lacks[globTool] {
		return nil
	}
	return globTree.Make(ctx, filepath.Join(b.dataDir(), globDir))
}

// search is a contest of searches of one tree.
type search struct {
	tree   string // on the host
	find   string // what is in the answer once for each thing found
	finds  int    // how often
	peers  []peer
	failed error // of the first side that does not find that
}

// tool is a side that searches by a tool of an MCP server.
func (s *search) tool(name string, c *client.Client, tool string, args map[string]any) {
	text, err := c.Call(tool, args)
	s.check(name, text, err)
	s.peers = append(s.peers, calling(name, c, same(client.Tool(tool, args), 1)))
}

// native is a side that searches by a program on the host. What it says is read
// from a pipe, as an agent would: to /dev/null, grep ends at its first match.
func (s *search) native(ctx context.Context, name string, argv ...string) {
	if _, err := exec.LookPath(argv[0]); err != nil {
		fmt.Fprintf(os.Stderr, "no row of %q: %s is not on PATH\n", name, argv[0])
		return
	}
	output := func(ctx context.Context) ([]byte, error) {
		out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
		if err != nil {
			return nil, fmt.Errorf("run %s: %w", argv[0], err)
		}
		return out, nil
	}
	out, err := output(ctx)
	s.check(name, string(out), err)
	s.peers = append(s.peers, timed(name, func(ctx context.Context) (time.Duration, error) {
		begun := time.Now()
		_, err := output(ctx)
		return time.Since(begun), err
	}))
}

// check makes sure that a side finds what it is timed for.
func (s *search) check(name, text string, err error) {
	if n := strings.Count(text, s.find); err == nil && n != s.finds {
		err = fmt.Errorf("%q is %d times in the answer instead of %d", s.find, n, s.finds)
	}
	if err != nil && s.failed == nil {
		s.failed = fmt.Errorf("check search by %s: %w", name, err)
	}
}

// searchContests compares searches of big trees with native tools.
func (b *bench) searchContests(ctx context.Context) ([]contest, error) {
	var list []contest
	var errs []error
	add := func(c contest, s search) {
		c.peers = s.peers
		list, errs = append(list, c), append(errs, s.failed)
	}
	if !b.lacks[grepTool] {
		add(contest{
			name: "fs_grep, 5,000 files", rounds: b.rounds(20), slice: slice,
			aims: []aim{{against: rgName, limit: 1.3}, {against: byNameName, limit: 0.1}},
		}, b.grep(ctx))
	}
	if !b.lacks[globTool] {
		add(contest{name: "fs_glob, 100 of 100,000", rounds: b.rounds(12), aims: []aim{{limit: globAim}}}, b.glob(ctx))
		add(contest{name: "fs_glob, newest of 100,000", rounds: b.rounds(6), aims: []aim{{limit: globAim}}}, b.globNewest(ctx))
	}
	return list, errors.Join(errs...)
}

// grep finds one line in each of some files among many.
func (b *bench) grep(ctx context.Context) search {
	s := search{tree: filepath.Join(b.dataDir(), grepDir), find: needle, finds: grepTree.Hits}
	s.tool(moorageName, b.ours.client, grepTool, map[string]any{"pattern": needle, "path": grepDir})
	s.grepNatively(ctx)
	if b.reference != nil {
		s.byName(b.reference.client)
	}
	return s
}

func (s *search) grepNatively(ctx context.Context) {
	s.native(ctx, rgName, "rg", "--no-config", "-n", needle, s.tree)
	s.native(ctx, grepName, "grep", "-rn", needle, s.tree)
}

// byName is the reference server's search. It has none of contents: this one
// looks at names only, and finds as many.
func (s *search) byName(c *client.Client) {
	s.find = grepTree.HitName
	s.tool(byNameName, c, "search_files", map[string]any{"pattern": "**/" + grepTree.HitName, "path": s.tree})
}

// glob finds a few files by their name.
func (b *bench) glob(ctx context.Context) search {
	s := search{tree: filepath.Join(b.dataDir(), globDir), find: globTree.HitName, finds: globTree.Hits}
	s.tool(moorageName, b.ours.client, globTool, map[string]any{"pattern": "**/" + globTree.HitName, "path": globDir})
	s.globNatively(ctx)
	return s
}

func (s *search) globNatively(ctx context.Context) {
	s.native(ctx, findName, "find", s.tree, "-name", globTree.HitName)
	s.native(ctx, rgName, "rg", "--no-config", "--files", "-g", globTree.HitName, s.tree)
}

// globNewest finds the newest of files that all match, so that each must be
// looked at for its time.
func (b *bench) globNewest(ctx context.Context) search {
	s := search{tree: filepath.Join(b.dataDir(), globDir), find: ".txt", finds: newest}
	s.tool(moorageName, b.ours.client, globTool, map[string]any{"pattern": "**/*.txt", "path": globDir, "limit": newest})
	s.newestNatively(ctx)
	return s
}

// newestNatively is by find and sort. rg would not do the same: it sorts only
// within each directory.
func (s *search) newestNatively(ctx context.Context) {
	s.native(ctx, sortName, "sh", "-c", fmt.Sprintf(`find "$0" -name '*.txt' -printf '%%T@ %%p\n' | sort -rn | head -n %d`, newest), s.tree)
}
