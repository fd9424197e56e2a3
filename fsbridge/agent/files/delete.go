package files

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
	"moorage/fsbridge/agent/nodes"
)

// Delete removes a node, a link itself and not its target, a directory with what
// is in it if the request says so. When that fails half way, or is cancelled, the
// error says how much is gone.
func (t *Tree) Delete(ctx context.Context, req *fsbridge.DeleteRequest) (fsbridge.DeleteResult, error) {
	res := fsbridge.DeleteResult{Path: req.Path}
	if req.Path == "/" {
		return res, mounted(fsbridge.OpDelete, req.Path, "the root directory cannot be deleted")
	}
	g := &target{must: true}
	err := g.locateNode(fsbridge.OpDelete, req.Path)
	defer g.close(nil)
	if err == nil {
		var unlock func()
		if unlock, err = t.locks.lock(ctx, g.place()); err == nil {
			res.Count, err = remove(ctx, req, g)
			unlock()
		}
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return res, nil // as it is not there
	}
	res.Deleted = err == nil
	return res, wrap(fsbridge.OpDelete, req.Path, err)
}

// remove removes what is at g, and makes that durable.
func remove(ctx context.Context, req *fsbridge.DeleteRequest, g *target) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(g.dir, g.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, err
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if err := free(fsbridge.OpDelete, req.Path, g, isDir); err != nil {
		return 0, err
	}
	if isDir && !req.Recursive {
		if err := unix.Unlinkat(g.dir, g.name, unix.AT_REMOVEDIR); err != nil {
			return 0, full(fsbridge.OpDelete, req.Path, g, err, "; set recursive to delete it with all that is in it")
		}
		return 1, g.sync()
	}
	count, err := nodes.Remove(ctx, g.dir, g.name, fsbridge.DeleteMax)
	if err != nil {
		return count, unfinished(req.Path, count, err)
	}
	return count, g.sync()
}

// unfinished is the error of a removal that stopped half way.
func unfinished(path fsbridge.Path, count int64, err error) error {
	e := fsbridge.NewError(fsbridge.OpDelete, path, err)
	var at *nodes.Error
	switch {
	case errors.Is(err, nodes.ErrLimit):
		e = fsbridge.Errorf(fsbridge.OpDelete, path, fsbridge.CodeTooLarge, "%d nodes were deleted, the most of one call; call again for the rest", count)
	case errors.Is(err, unix.EBUSY) && count == 0:
		e = mounted(fsbridge.OpDelete, path, "it is in use as a mount point").(*fsbridge.Error)
	case count == 0:
	case errors.As(err, &at):
		e.Message = fmt.Sprintf("%s: %s; %d nodes were deleted before that", printable(at.Name), e.Message, count)
	default:
		e.Message += fmt.Sprintf("; %d nodes were deleted before", count)
	}
	if e.Errno == unix.ENOENT || e.Errno == unix.ENOTDIR { // what was there first
		e.Errno = 0
	}
	return e
}

// free holds that a node may be taken away: it is not the kernel's, and nothing
// is mounted on it or below.
func free(op fsbridge.Op, path fsbridge.Path, g *target, isDir bool) error {
	if kernel := kernelOf(g.dir); kernel != "" {
		return fsbridge.Errorf(op, path, fsbridge.CodeIrregular, "cannot be taken away: it is on %s", kernel)
	}
	if !isDir {
		return nil // the kernel refuses it, if it is one
	}
	at, err := nodes.Mounted(g.dir, g.name)
	if err != nil {
		return err
	}
	if at == "" {
		return nil
	}
	if place, err := nodes.Place(g.dir, g.name); err == nil && at != place && at != g.name {
		return mounted(op, path, fmt.Sprintf("%q is a mount point in it", printable(at)))
	}
	return mounted(op, path, "it is a mount point")
}

func mounted(op fsbridge.Op, path fsbridge.Path, why string) error {
	return fsbridge.Errorf(op, path, fsbridge.CodeMount, "%s", why)
}

// countMax is how many entries of a directory an error counts.
const countMax = 100_000

// full is err, but where a directory is not empty says how many entries it has.
func full(op fsbridge.Op, path fsbridge.Path, g *target, err error, hint string) error {
	if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
		return err
	}
	n, more := 0, ""
	if fd, err := unix.Openat(g.dir, g.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err == nil {
		if n = countNames(fd, countMax); n > countMax {
			n, more = countMax, "more than "
		}
	}
	e := fsbridge.NewError(op, path, unix.ENOTEMPTY)
	e.Message = fmt.Sprintf("the directory is not empty: it has %s%d entries%s", more, n, hint)
	return e
}
