package files

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// Mkdir makes a directory and those above it, and makes their names durable. A
// directory that exists is left as it is.
func (t *Tree) Mkdir(ctx context.Context, req *fsbridge.MkdirRequest) (fsbridge.MkdirResult, error) {
	res := fsbridge.MkdirResult{Path: req.Path}
	if req.Mode != nil && *req.Mode > 0o7777 {
		return res, fsbridge.Errorf(fsbridge.OpMkdir, req.Path, fsbridge.CodeInvalid, "mode is %#o, the most is 07777", *req.Mode)
	}
	there, err := directoryAt(req.Path)
	if err == nil && !there {
		err = ctx.Err()
	}
	if err == nil && !there {
		res.Created, err = makeDir(req)
	}
	return res, wrap(fsbridge.OpMkdir, req.Path, err)
}

// wrap is NewError, but for nil. A path through a file names that.
func wrap(op fsbridge.Op, path fsbridge.Path, err error) error {
	if err == nil {
		return nil
	}
	e := fsbridge.NewError(op, path, err)
	if e.Errno == unix.ENOTDIR && e.Message == e.Errno.Error() {
		parent, name := nearest(string(path))
		e.Message = fmt.Sprintf("%q in %q is not a directory", printable(name), printable(parent))
	}
	return e
}

// directoryAt reports whether there is a directory. Anything else that is there
// is an error.
func directoryAt(path fsbridge.Path) (bool, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Stat(string(path), &st) })
	switch {
	case err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return true, nil
	case err == nil:
		return false, exists(fsbridge.OpMkdir, path, "a "+typeOf(st.Mode)+" is there")
	case !errors.Is(err, unix.ENOENT):
		return false, err
	}
	if link, err := readlink(string(path)); err == nil {
		return false, exists(fsbridge.OpMkdir, path, "a symbolic link is there, whose target does not exist: "+printable(link))
	}
	return false, nil
}

// exists is EEXIST that says what is there.
func exists(op fsbridge.Op, path fsbridge.Path, what string) error {
	e := fsbridge.NewError(op, path, unix.EEXIST)
	e.Message = what
	return e
}

func makeDir(req *fsbridge.MkdirRequest) (made bool, err error) {
	var g target
	defer func() { g.close(err) }()
	if err = g.locateNode(fsbridge.OpMkdir, req.Path); err != nil {
		return false, err
	}
	if kernel := kernelOf(g.dir); kernel != "" {
		return false, notMade(fsbridge.OpMkdir, req.Path, kernel)
	}
	if err = retry(func() error { return unix.Mkdirat(g.dir, g.name, newDirMode) }); errors.Is(err, unix.EEXIST) { // by another
		_, err = directoryAt(req.Path)
		return false, err
	}
	if err == nil && req.Mode != nil {
		err = setDirMode(g.dir, g.name, *req.Mode)
	}
	if err == nil {
		err = g.sync()
	}
	return true, err
}

func setDirMode(dir int, name string, mode uint32) error {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fchmod(fd, mode)
}
