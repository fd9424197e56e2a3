package files

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// Move renames a node, the link itself if it is one, or copies it to another file
// system and deletes it. After an error the source is as it was, and so is the
// destination.
func (t *Tree) Move(ctx context.Context, req *fsbridge.MoveRequest) (fsbridge.MoveResult, error) {
	m := &moving{t: t, ctx: ctx, req: req, res: fsbridge.MoveResult{Source: req.Source, Destination: req.Destination}}
	err := m.run()
	m.end(err)
	if errors.Is(err, unix.EBUSY) {
		err = mounted(fsbridge.OpMove, req.Source, "it, or what is at the destination, is in use as a mount point")
	}
	if err != nil {
		return fsbridge.MoveResult{}, wrap(fsbridge.OpMove, req.Source, err)
	}
	return m.res, nil
}

// moving is one Move under way.
type moving struct {
	t   *Tree
	ctx context.Context
	req *fsbridge.MoveRequest
	res fsbridge.MoveResult

	from, to target
	source   unix.Stat_t
	dest     unix.Stat_t
	exists   bool // the destination
	unlock   []func()
	temps    []*temp
}

func (m *moving) run() error {
	if m.req.Source == "/" {
		return mounted(fsbridge.OpMove, m.req.Source, "the root directory cannot be moved")
	}
	if m.req.Destination == "/" {
		return exists(fsbridge.OpMove, m.req.Destination, "it is the root directory; give the new name in it")
	}
	m.from.must = true
	if err := m.from.locateNode(fsbridge.OpMove, m.req.Source); err != nil {
		return missing(fsbridge.OpMove, m.req.Source, err)
	}
	if err := m.look(); err != nil {
		return err
	}
	if err := m.to.locateNode(fsbridge.OpMove, m.req.Destination); err != nil {
		return wrap(fsbridge.OpMove, m.req.Destination, err)
	}
	if kernel := kernelOf(m.to.dir); kernel != "" {
		return notMade(fsbridge.OpMove, m.req.Destination, kernel)
	}
	if m.from.place() == m.to.place() {
		return nil
	}
	if err := m.lock(); err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return err
	}
	return m.carry()
}

// look finds out what the source is.
func (m *moving) look() error {
	if err := unix.Fstatat(m.from.dir, m.from.name, &m.source, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return missing(fsbridge.OpMove, m.req.Source, err)
	}
	return free(fsbridge.OpMove, m.req.Source, &m.from, m.isDir())
}

func (m *moving) isDir() bool { return m.source.Mode&unix.S_IFMT == unix.S_IFDIR }

func (m *moving) destIsDir() bool { return m.dest.Mode&unix.S_IFMT == unix.S_IFDIR }

func (m *moving) lock() error {
	places := []place{m.from.place(), m.to.place()}
	slices.SortFunc(places, place.compare)
	for _, p := range places {
		unlock, err := m.t.locks.lock(m.ctx, p)
		if err != nil {
			return err
		}
		m.unlock = append(m.unlock, unlock)
	}
	return nil
}

// check looks at both ends, under their locks.
func (m *moving) check() error {
	if err := m.look(); err != nil {
		return err
	}
	if m.isDir() {
		if in, err := inside(m.to.dir, &m.source); err != nil {
			return err
		} else if in {
			return fsbridge.Errorf(fsbridge.OpMove, m.req.Source, fsbridge.CodeInvalid, "a directory cannot be moved into itself: %q is in it", printable(string(m.req.Destination)))
		}
	}
	err := unix.Fstatat(m.to.dir, m.to.name, &m.dest, unix.AT_SYMLINK_NOFOLLOW)
	if m.exists = err == nil; !m.exists {
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		return fsbridge.NewError(fsbridge.OpMove, m.req.Destination, err)
	}
	if !m.req.Overwrite {
		return m.taken()
	}
	m.res.Replaced = true
	if !m.destIsDir() {
		return nil
	}
	if err := free(fsbridge.OpMove, m.req.Destination, &m.to, true); err != nil {
		return err
	}
	if fd, err := unix.Openat(m.to.dir, m.to.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err == nil {
		if countNames(fd, 1) > 0 {
			return full(fsbridge.OpMove, m.req.Destination, &m.to, unix.ENOTEMPTY, "; only an empty one is replaced")
		}
	}
	return nil
}

// taken says what is at the destination.
func (m *moving) taken() error {
	what := "a " + typeOf(m.dest.Mode) + " is there"
	if m.destIsDir() {
		return exists(fsbridge.OpMove, m.req.Destination, what+"; to move into it, give the new name in it as destination")
	}
	return exists(fsbridge.OpMove, m.req.Destination, what+"; set overwrite to replace it")
}

// inside reports whether an open directory is, or is in, the one of st.
func inside(dir int, st *unix.Stat_t) (bool, error) {
	fd, err := unix.Openat(dir, ".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer func() { unix.Close(fd) }()
	for {
		var here, above unix.Stat_t
		if err := unix.Fstat(fd, &here); err != nil {
			return false, err
		}
		if here.Dev == st.Dev && here.Ino == st.Ino {
			return true, nil
		}
		up, err := unix.Openat(fd, "..", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return false, err
		}
		unix.Close(fd)
		fd = up
		if err := unix.Fstat(fd, &above); err != nil {
			return false, err
		}
		if above.Dev == here.Dev && above.Ino == here.Ino { // the root
			return false, nil
		}
	}
}

// carry moves it.
func (m *moving) carry() error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	err := m.rename()
	switch {
	case errors.Is(err, unix.EXDEV):
		return m.copy()
	case errors.Is(err, unix.EEXIST):
		if unix.Fstatat(m.to.dir, m.to.name, &m.dest, unix.AT_SYMLINK_NOFOLLOW) == nil {
			return m.taken()
		}
	case errors.Is(err, unix.ENOTEMPTY):
		return full(fsbridge.OpMove, m.req.Destination, &m.to, err, "; only an empty one is replaced")
	}
	if err != nil {
		return err
	}
	return cmp.Or(m.to.sync(), m.from.sync())
}

func (m *moving) rename() error {
	from, to := &m.from, &m.to
	switch {
	case !m.exists:
		return renameNew(from.dir, from.name, to.dir, to.name)
	case m.source.Dev == m.dest.Dev && m.source.Ino == m.dest.Ino: // two names of one file, which rename(2) leaves alone
		return unix.Unlinkat(from.dir, from.name, 0)
	case m.isDir() == m.destIsDir():
		return rename(from.dir, from.name, to.dir, to.name)
	}
	if err := exchange(from.dir, from.name, to.dir, to.name); err != nil {
		return m.swapError(err)
	}
	flags := 0
	if m.destIsDir() {
		flags = unix.AT_REMOVEDIR
	}
	err := unix.Unlinkat(from.dir, from.name, flags)
	if err != nil {
		return errors.Join(err, exchange(from.dir, from.name, to.dir, to.name))
	}
	return nil
}

// end gives everything back.
func (m *moving) end(err error) {
	for i := len(m.temps) - 1; i >= 0; i-- {
		m.temps[i].close()
	}
	m.from.close(nil)
	m.to.close(err)
	for _, unlock := range m.unlock {
		unlock()
	}
}
