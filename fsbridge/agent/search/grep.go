package search

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
	"moorage/fsbridge/agent/files"
	"moorage/fsbridge/agent/search/pattern"
	"moorage/fsbridge/agent/search/text"
)

// Grep returns a page of what matches, by path and line. First all files are
// searched by several workers, and it is counted what is in each; then those on
// the page are read again, in order.
func (s *Searcher) Grep(ctx context.Context, req *fsbridge.GrepRequest) (fsbridge.GrepResult, error) {
	g, err := s.newGrep(ctx, req)
	if err != nil {
		return fsbridge.GrepResult{}, err
	}
	if err = g.search(); err == nil {
		err = g.page()
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fsbridge.GrepResult{}, fsbridge.NewError(fsbridge.OpGrep, req.Path, err)
	}
	g.finish()
	return g.res, nil
}

// grep is one Grep under way.
type grep struct {
	s       *Searcher
	ctx     context.Context
	req     *fsbridge.GrepRequest
	pattern *text.Pattern
	glob    *pattern.Glob // or nil
	not     bool          // the glob is turned round
	single  bool          // Path is a file
	limit   int
	res     fsbridge.GrepResult

	searched, binary, denied atomic.Int64

	mu   sync.Mutex
	kept hits
}

func (s *Searcher) newGrep(ctx context.Context, req *fsbridge.GrepRequest) (*grep, error) {
	if err := validate(req); err != nil {
		return nil, err
	}
	p, err := text.Compile(req.Pattern, text.Options{Fixed: req.Fixed, IgnoreCase: req.IgnoreCase, Multiline: req.Multiline})
	if err != nil {
		return nil, invalid(fsbridge.OpGrep, req.Path, "pattern %.200q: %v", req.Pattern, err)
	}
	g := &grep{s: s, ctx: ctx, req: req, pattern: p, limit: fsbridge.PageLimit(req.Limit, fsbridge.MatchesMax)}
	g.kept = newHits(req.Offset+g.limit, g.content())
	g.res.Path = req.Path
	if req.Glob != "" {
		glob, not := strings.CutPrefix(req.Glob, "!")
		if g.glob, err = parseGlob(fsbridge.OpGrep, req.Path, "glob", glob); err != nil {
			return nil, err
		}
		g.not = not
	}
	return g, nil
}

func validate(req *fsbridge.GrepRequest) error {
	switch req.Mode {
	case "", fsbridge.GrepContent, fsbridge.GrepFiles, fsbridge.GrepCount:
	default:
		return invalid(fsbridge.OpGrep, req.Path, "mode is %.80q, it may be content, files or count", req.Mode)
	}
	switch {
	case len(req.Pattern) > fsbridge.PatternMax:
		return invalid(fsbridge.OpGrep, req.Path, "pattern has %d bytes, the most is %d", len(req.Pattern), fsbridge.PatternMax)
	case min(req.Before, req.After) < 0 || max(req.Before, req.After) > fsbridge.ContextMax:
		return invalid(fsbridge.OpGrep, req.Path, "before is %d, after %d, each may be 0 to %d", req.Before, req.After, fsbridge.ContextMax)
	case req.Limit < 0 || req.Offset < 0 || req.Offset > 1<<30:
		return invalid(fsbridge.OpGrep, req.Path, "limit is %d, offset %d, the least is 0", req.Limit, req.Offset)
	}
	return nil
}

// content reports whether lines are asked for.
func (g *grep) content() bool { return g.req.Mode == "" || g.req.Mode == fsbridge.GrepContent }

// search counts what is in each file.
func (g *grep) search() error {
	root := string(g.req.Path)
	var st unix.Stat_t
	err := retry(func() error { return unix.Stat(root, &st) })
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return g.searchOne()
	}
	w, err := newWalk(g.ctx, root, g.req.All)
	if err != nil {
		return files.Missing(fsbridge.OpGrep, g.req.Path, err)
	}
	err = g.s.visitAll(w, func() visitor { return g.newGrepper(g.req.All) })
	g.res.TotalIsMin = w.cut.Load()
	g.denied.Add(w.denied.Load())
	return err
}

// searchOne searches the file that Path is, whatever it holds.
func (g *grep) searchOne() error {
	g.single = true
	fd, err := files.OpenRegular(fsbridge.OpGrep, g.req.Path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	v := g.newGrepper(true)
	defer v.close()
	v.tell = !g.req.All
	count, err := v.count(fd, files.Kernel(fd))
	if err != nil {
		return err
	}
	g.searched.Add(1)
	g.add(hit{path: filepath.Base(string(g.req.Path)), count: count})
	return nil
}

// add notes what a file has.
func (g *grep) add(h hit) {
	if h.count == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.res.Files++
	g.res.Total += h.count
	g.kept.add(h)
}

// finish fills in what is counted.
func (g *grep) finish() {
	g.res.Count, g.res.IsFile = len(g.res.Matches), g.single
	g.res.Searched, g.res.Binary, g.res.Denied = int(g.searched.Load()), int(g.binary.Load()), int(g.denied.Load())
	total := g.res.Total
	if !g.content() {
		total = int64(g.res.Files)
	}
	if next := g.req.Offset + g.res.Returned; g.res.Returned > 0 && int64(next) < total {
		g.res.NextOffset = next
	}
}

// grepper is the visitor of one worker.
type grepper struct {
	*grep
	source *source
	finder *text.Finder
	first  bool // a file's first match is enough
	tell   bool // a binary file is counted, though it is searched
}

func (g *grep) newGrepper(raw bool) *grepper {
	return &grepper{
		grep: g, source: g.s.newSource(g.ctx, raw, g.req.Multiline),
		finder: g.pattern.NewFinder(g.ctx), first: g.req.Mode == fsbridge.GrepFiles,
	}
}

func (g *grepper) close() { g.source.close() }

func (g *grepper) wants(last string, kind byte, path func() string) bool {
	if kind != unix.DT_REG || g.glob == nil {
		return kind == unix.DT_REG
	}
	if !g.glob.NameOnly() {
		last = path()
	}
	return g.glob.Match(last, false) != g.not
}

// enters leaves out directories that a glob with ! names, and those in which no
// path can match.
func (g *grepper) enters(path string) bool {
	if g.glob == nil {
		return true
	}
	if g.not {
		return !g.glob.Match(path, true)
	}
	return g.glob.Below(path)
}

func (g *grepper) visit(d *dir, n name, _ byte) {
	fd, err := openAt(d.fd, n, 0)
	if err != nil {
		g.failed(err)
		return
	}
	defer unix.Close(fd)
	count, err := g.count(fd, d.kernel)
	if err != nil {
		g.failed(err)
	}
	if err == nil || count > 0 {
		g.searched.Add(1)
	}
	if count > 0 {
		g.add(hit{path: d.join(n), count: count})
	}
}

func (g *grepper) failed(err error) {
	switch {
	case errors.Is(err, errBinary):
		g.binary.Add(1)
	case g.ctx.Err() == nil && unreadable(err):
		g.denied.Add(1)
	}
}

// count counts the matches in a file.
func (g *grepper) count(fd int, kernel bool) (count int64, err error) {
	err = g.source.blocks(fd, kernel, func(b []byte) bool {
		if g.tell && isBinary(b) {
			g.binary.Store(1)
		}
		g.finder.Reset(b)
		for from := 0; from < len(b); {
			_, end, ok := g.finder.Next(from)
			if !ok {
				break
			}
			if count++; g.first {
				return false
			}
			from = lineAfter(b, end)
		}
		return true
	})
	return count, err
}
