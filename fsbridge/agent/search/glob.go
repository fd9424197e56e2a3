package search

import (
	"context"
	"sync"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
	"moorage/fsbridge/agent/files"
	"moorage/fsbridge/agent/search/pattern"
)

// Glob returns the nodes below a directory that match a pattern, those that
// changed last first, then by name.
func (s *Searcher) Glob(ctx context.Context, req *fsbridge.GlobRequest) (fsbridge.GlobResult, error) {
	g, err := newGlob(req)
	if err != nil {
		return fsbridge.GlobResult{}, err
	}
	w, err := newWalk(ctx, string(req.Path), req.All)
	if err != nil {
		return fsbridge.GlobResult{}, files.Missing(fsbridge.OpGlob, req.Path, err)
	}
	if err := s.visitAll(w, func() visitor { return globber{g} }); err != nil {
		return fsbridge.GlobResult{}, fsbridge.NewError(fsbridge.OpGlob, req.Path, err)
	}
	res := fsbridge.GlobResult{Path: req.Path, Total: g.total, TotalIsMin: w.cut.Load(), Denied: int(w.denied.Load())}
	res.Entries = g.entries()
	res.Count = len(res.Entries)
	return res, nil
}

// glob is one Glob under way.
type glob struct {
	root    string
	pattern *pattern.Glob

	mu     sync.Mutex
	total  int
	newest newest
}

func newGlob(req *fsbridge.GlobRequest) (*glob, error) {
	if req.Limit < 0 {
		return nil, invalid(fsbridge.OpGlob, req.Path, "limit is %d, the least is 0", req.Limit)
	}
	p, err := parseGlob(fsbridge.OpGlob, req.Path, "pattern", req.Pattern)
	if err != nil {
		return nil, err
	}
	return &glob{root: string(req.Path), pattern: p, newest: newNewest(fsbridge.PageLimit(req.Limit, fsbridge.GlobMax))}, nil
}

func parseGlob(op fsbridge.Op, root fsbridge.Path, what, s string) (*pattern.Glob, error) {
	if len(s) > fsbridge.PatternMax {
		return nil, invalid(op, root, "%s has %d bytes, the most is %d", what, len(s), fsbridge.PatternMax)
	}
	p, err := pattern.ParseGlob(string(root), s)
	if err != nil {
		return nil, invalid(op, root, "%s %.200q: %v", what, s, err)
	}
	return p, nil
}

// entries are those that were found, as many as fit one frame.
func (g *glob) entries() []fsbridge.Entry {
	found := g.newest.sorted()
	bytes := 0
	for i := range found {
		e := &found[i]
		if e.Type == fsbridge.TypeSymlink {
			e.Target = linkTarget(g.root + "/" + string(e.Name))
		}
		if bytes += fsbridge.EntryMax + len(e.Name) + len(e.Target); bytes > fsbridge.MaxData {
			return found[:i]
		}
	}
	return found
}

func linkTarget(path string) fsbridge.Path {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink(path, buf)
	if err != nil {
		return "" // it has vanished
	}
	return fsbridge.Path(buf[:n])
}

// globber is the visitor of one worker.
type globber struct{ *glob }

func (g globber) wants(last string, kind byte, path func() string) bool {
	if g.pattern.NameOnly() {
		return g.pattern.Match(last, kind == unix.DT_DIR)
	}
	return g.pattern.Match(path(), kind == unix.DT_DIR)
}

func (g globber) enters(path string) bool { return g.pattern.Below(path) }

func (globber) close() {}

func (g globber) visit(d *dir, n name, _ byte) {
	var st unix.Stat_t
	if lstatAt(d.fd, n, &st) != nil {
		return // it has vanished
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total++
	if !g.newest.takes(st.Mtim) {
		return
	}
	e := fsbridge.Entry{Name: fsbridge.Path(d.join(n))}
	files.Describe(&e, &st)
	g.newest.add(e)
}
