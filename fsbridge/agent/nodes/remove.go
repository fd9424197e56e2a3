package nodes

import (
	"context"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrLimit: so many nodes were removed that it is enough for one call.
var ErrLimit = errors.New("the limit of nodes is reached")

// Error says where in a tree something failed.
type Error struct {
	Name string // below the directory that was given; its end, if it is long
	Err  error
}

func (e *Error) Error() string { return e.Name + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// nameMax is the most bytes of an Error's Name.
const nameMax = 1024

// Remove removes the node name of dir, with all that is in it if it is a
// directory, but not more than limit nodes. It returns how many it has removed,
// also with an error, which is an *Error with what failed, or ctx's, or
// ErrLimit.
func Remove(ctx context.Context, dir int, name string, limit int64) (int64, error) {
	r := &remover{ctx: ctx, root: dir, limit: limit}
	r.fd = dir
	defer r.close()
	err := r.unlink(name, 0)
	if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EBUSY) {
		err = r.tree(name)
	}
	return r.count, err
}

// remover is one Remove under way.
type remover struct {
	cursor
	ctx    context.Context
	root   int
	count  int64
	limit  int64
	levels []level
}

// level is what is known of a directory on the way.
type level struct {
	dirs  []string // directories in it that come next
	tries int      // how often it was empty but could not be removed
}

// triesMax is how often a directory is looked through again because somebody
// keeps putting something into it.
const triesMax = 100

// tree removes a directory, bottom up.
func (r *remover) tree(name string) error {
	if err := r.enter(name); err != nil {
		return err
	}
	for len(r.levels) > 0 {
		top := &r.levels[len(r.levels)-1]
		if len(top.dirs) == 0 {
			if err := r.sweep(top); err != nil {
				return err
			}
		}
		if n := len(top.dirs); n > 0 {
			next := top.dirs[n-1]
			top.dirs = top.dirs[:n-1]
			if err := r.enter(next); err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
			continue
		}
		if err := r.drop(top); err != nil {
			return err
		}
	}
	return nil
}

// enter goes into a directory. What has become something else since it was seen
// is removed as that.
func (r *remover) enter(name string) error {
	err := r.down(name)
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return r.unlink(name, 0)
	case err != nil:
		return r.failed(name, err)
	}
	r.levels = append(r.levels, level{})
	return nil
}

// sweep removes what is in the directory but is none, and notes the directories,
// until it has a batch of them.
func (r *remover) sweep(top *level) error {
	d, err := r.list()
	if err != nil {
		return r.failed("", err)
	}
	defer d.Close()
	for len(top.dirs) == 0 {
		entries, err := read(d)
		if err != nil {
			return r.failed("", err)
		}
		if len(entries) == 0 {
			return nil
		}
		for _, e := range entries {
			if err := r.entry(top, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *remover) entry(top *level, e os.DirEntry) error {
	if !e.IsDir() {
		err := r.unlink(e.Name(), 0)
		if !errors.Is(err, unix.EISDIR) { // as it is told where types are not known
			return err
		}
	}
	top.dirs = append(top.dirs, e.Name())
	return nil
}

// drop leaves the directory, which is empty, and removes it.
func (r *remover) drop(top *level) error {
	name, err := r.up(r.root)
	if err != nil {
		return r.failed("", err)
	}
	tries := top.tries
	r.levels = r.levels[:len(r.levels)-1]
	err = r.unlink(name, unix.AT_REMOVEDIR)
	if errors.Is(err, unix.ENOTEMPTY) && tries < triesMax {
		if err = r.enter(name); err == nil && len(r.levels) > 0 {
			r.levels[len(r.levels)-1].tries = tries + 1
		}
	}
	return err
}

// unlink removes one node, if it is still there.
func (r *remover) unlink(name string, flags int) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.count >= r.limit {
		return ErrLimit
	}
	err := retry(func() error { return unix.Unlinkat(r.fd, name, flags) })
	switch {
	case err == nil:
		r.count++
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return r.failed(name, err)
	}
	return nil
}

func (r *remover) failed(name string, err error) error { return fault(r.names, name, err) }

// fault says where something failed.
func fault(names []string, name string, err error) error {
	path := strings.TrimSuffix(strings.Join(append(names[:len(names):len(names)], name), "/"), "/")
	if n := len(path); n > nameMax {
		path = "…" + strings.ToValidUTF8(path[n-nameMax:], "")
	}
	return &Error{path, err}
}
