package files

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

const (
	// bigFolder is how many entries a directory below the listed one may have
	// before its content is left out.
	bigFolder = 1000
	// pageBytes is the most data of one page.
	pageBytes = fsbridge.MaxData
)

// List returns a page of a directory's entries, sorted by name, each directory
// followed by its own entries. The pages of an unchanged tree join to its whole
// list.
func (t *Tree) List(ctx context.Context, req *fsbridge.ListRequest) (fsbridge.ListResult, error) {
	if req.Offset < 0 || req.Limit < 0 || req.Depth < 0 {
		return fsbridge.ListResult{}, fsbridge.Errorf(fsbridge.OpList, req.Path, fsbridge.CodeInvalid,
			"depth is %d, limit %d, offset %d, the least is 0", req.Depth, req.Limit, req.Offset)
	}
	root, err := openDir(string(req.Path))
	if err != nil {
		return fsbridge.ListResult{}, missing(fsbridge.OpList, req.Path, err)
	}
	defer root.Close()
	l := newListing(ctx, req)
	fd := int(root.Fd())
	entries, err := l.entries(fd)
	if err == nil {
		l.res.Entries = make([]fsbridge.Entry, 0, min(len(entries), l.limit))
		err = l.walk(fd, entries, "", l.depth)
	}
	if err != nil {
		return fsbridge.ListResult{}, fsbridge.NewError(fsbridge.OpList, req.Path, err)
	}
	l.res.Count = len(l.res.Entries)
	return l.res, nil
}

// listing is one List under way.
type listing struct {
	ctx   context.Context
	req   *fsbridge.ListRequest
	limit int
	depth int
	left  int // entries that may still be visited
	bytes int // of data, at most, of the page so far
	full  bool
	res   fsbridge.ListResult
}

func newListing(ctx context.Context, req *fsbridge.ListRequest) *listing {
	l := &listing{ctx: ctx, req: req, limit: req.Limit, depth: max(req.Depth, 1), left: fsbridge.WalkMax}
	if l.limit == 0 || l.limit > fsbridge.ListMax {
		l.limit = fsbridge.ListMax
	}
	l.depth = min(l.depth, fsbridge.DepthMax)
	l.res = fsbridge.ListResult{Path: req.Path}
	return l
}

// walk adds the entries of d, and those below them as deep as depth. prefix is
// d's name below the root with a slash after it, or "".
func (l *listing) walk(d int, entries []dirent, prefix string, depth int) error {
	for i := range entries {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		e := &entries[i]
		slot := l.add(d, prefix, e)
		if e.kind != unix.DT_DIR || depth <= 1 {
			continue
		}
		if err := l.below(d, e.name, prefix, depth-1, slot); err != nil {
			return err
		}
	}
	return nil
}

// entries reads a directory, sorted, as far as the walk may go.
func (l *listing) entries(d int) (all []dirent, err error) {
	for more := true; more && l.left > 0; {
		had := len(all)
		if all, more, err = readDir(d, all); err != nil {
			return nil, err
		}
		if over := len(all) - had - l.left; over > 0 {
			all = all[:len(all)-over]
		}
		l.left -= len(all) - had
		if err := l.ctx.Err(); err != nil {
			return nil, err
		}
	}
	l.res.TotalIsMin = l.res.TotalIsMin || l.left == 0
	if !l.req.Hidden {
		all = slices.DeleteFunc(all, func(e dirent) bool { return strings.HasPrefix(e.name, ".") })
	}
	slices.SortFunc(all, func(a, b dirent) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// below lists what is in the directory name of d, unless it is too big or may
// not be read; slot is its own entry if that is on the page.
func (l *listing) below(d int, name, prefix string, depth int, slot *fsbridge.Entry) error {
	sub, err := openBelow(d, name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil // it has become another since it was seen
	}
	var entries []dirent
	if err == nil {
		defer unix.Close(sub)
		entries, err = l.entries(sub)
	}
	switch {
	case l.ctx.Err() != nil:
		return l.ctx.Err()
	case err != nil:
		l.res.Denied++
		omit(slot, 0)
		return nil
	case len(entries) > bigFolder:
		omit(slot, len(entries))
		return nil
	}
	return l.walk(sub, entries, prefix+name+"/", depth)
}

func omit(slot *fsbridge.Entry, children int) {
	if slot != nil {
		slot.Omitted, slot.Children = true, children
	}
}

// openBelow opens the directory name of d, not following a link.
func openBelow(d int, name string) (fd int, err error) {
	err = retry(func() (err error) {
		fd, err = unix.Openat(d, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// add counts an entry, and returns it if it is on the page. Only entries on the
// page are looked at.
func (l *listing) add(d int, prefix string, e *dirent) *fsbridge.Entry {
	at := l.res.Total
	l.res.Total++
	if at < l.req.Offset || l.full {
		return nil
	}
	entry := fsbridge.Entry{Name: fsbridge.Path(prefix + e.name), Type: e.typeName()}
	describe(&entry, d, e.name)
	size := entryBytes(&entry)
	if len(l.res.Entries) >= l.limit || len(l.res.Entries) > 0 && l.bytes+size > pageBytes {
		l.full = true
		l.res.NextOffset = at
		return nil
	}
	l.bytes += size
	l.res.Entries = append(l.res.Entries, entry)
	return &l.res.Entries[len(l.res.Entries)-1]
}

// entryBytes is the most data that an entry can be.
func entryBytes(e *fsbridge.Entry) int { return fsbridge.EntryMax + len(e.Name) + len(e.Target) }

// describe fills in what lstat says. A node that has vanished keeps its type.
func describe(e *fsbridge.Entry, dir int, name string) {
	var st unix.Stat_t
	if unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		e.ModTime = time.Unix(0, 0).UTC()
		return
	}
	Describe(e, &st)
	if e.Type == fsbridge.TypeSymlink {
		buf := make([]byte, unix.PathMax)
		if n, err := unix.Readlinkat(dir, name, buf); err == nil {
			e.Target = fsbridge.Path(buf[:n])
		}
	}
}
