package files

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
	"moorage/fsbridge/agent/nodes"
)

// copy moves to another file system: a copy beside the destination, whole and
// synced, takes its name; then the source is taken away by its name, and deleted.
// A directory of an image, or of a snapshot, moves so too within one: overlayfs
// cannot rename what is in a lower layer.
func (m *moving) copy() error {
	m.res.Copied = true
	if err := unix.Faccessat(m.from.dir, ".", unix.W_OK, unix.AT_EACCESS); err != nil {
		return err // before the work, as on a read-only file system
	}
	t := m.temp(&m.to)
	if _, err := nodes.Copy(m.ctx, m.from.dir, m.from.name, m.to.dir, t.name, fsbridge.DeleteMax); err != nil {
		return m.copyError(err)
	}
	if err := m.place(t); err != nil {
		return err
	}
	aside := m.temp(&m.from)
	err := m.to.sync()
	if err == nil {
		err = rename(m.from.dir, m.from.name, m.from.dir, aside.name)
	}
	if errors.Is(err, unix.EXDEV) && m.isDir() {
		aside.gone = true
		return m.dropInPlace()
	}
	if err != nil {
		aside.gone = true
		return errors.Join(err, m.takeBack(t))
	}
	return m.drop(aside)
}

func (m *moving) temp(g *target) *temp {
	t := m.t.tempName(g)
	m.temps = append(m.temps, t)
	return t
}

func (m *moving) copyError(err error) error {
	e := fsbridge.NewError(fsbridge.OpMove, m.req.Source, err)
	var at *nodes.Error
	switch {
	case errors.Is(err, nodes.ErrLimit):
		return fsbridge.Errorf(fsbridge.OpMove, m.req.Source, fsbridge.CodeTooLarge, "it has more than %d nodes, the most that is copied to another file system; move it in parts", fsbridge.DeleteMax)
	case errors.As(err, &at) && e.Errno == unix.EXDEV:
		return mounted(fsbridge.OpMove, m.req.Source, printable(at.Name)+" is a mount point")
	case errors.As(err, &at):
		e.Message = fmt.Sprintf("copy %s to another file system: %v", printable(at.Name), at.Err)
	}
	return e
}

// place gives the copy the destination's name. What is there gets that of the
// copy, until all is done.
func (m *moving) place(t *temp) error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	if !m.exists {
		err := renameNew(m.to.dir, t.name, m.to.dir, m.to.name)
		if t.gone = err == nil; errors.Is(err, unix.EEXIST) {
			return exists(fsbridge.OpMove, m.req.Destination, "something is there now")
		}
		return err
	}
	err := exchange(m.to.dir, t.name, m.to.dir, m.to.name)
	if errors.Is(err, unix.EXDEV) && m.destIsDir() { // an empty directory of a lower layer
		return m.placeOver(t)
	}
	return m.swapError(err)
}

// placeOver is place where an empty directory is, which is removed and, should the
// name then be taken, made again.
func (m *moving) placeOver(t *temp) error {
	if err := unix.Unlinkat(m.to.dir, m.to.name, unix.AT_REMOVEDIR); err != nil {
		return err
	}
	err := renameNew(m.to.dir, t.name, m.to.dir, m.to.name)
	if t.gone, m.exists = err == nil, err != nil; err != nil {
		return errors.Join(err, unix.Mkdirat(m.to.dir, m.to.name, permissions(m.dest.Mode)))
	}
	return nil
}

// swapError says what to do where names cannot be swapped.
func (m *moving) swapError(err error) error {
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	e := fsbridge.NewError(fsbridge.OpMove, m.req.Destination, err)
	e.Message = "its file system cannot swap names, so what is there cannot be replaced; delete that first"
	return e
}

// takeBack undoes place.
func (m *moving) takeBack(t *temp) error {
	if m.exists {
		return exchange(m.to.dir, t.name, m.to.dir, m.to.name)
	}
	err := rename(m.to.dir, m.to.name, m.to.dir, t.name)
	t.gone = err != nil
	return err
}

// dropInPlace deletes a source that cannot have another name.
func (m *moving) dropInPlace() error {
	if _, err := nodes.Remove(m.ctx, m.from.dir, m.from.name, fsbridge.DeleteMax); err != nil {
		return m.notDropped(err)
	}
	return m.from.sync()
}

// drop deletes the source, which has a temporary name. What cannot be deleted
// gets its name back.
func (m *moving) drop(aside *temp) error {
	_, err := nodes.Remove(m.ctx, m.from.dir, aside.name, fsbridge.DeleteMax)
	if aside.gone = true; err == nil {
		return m.from.sync()
	}
	if err := renameNew(m.from.dir, aside.name, m.from.dir, m.from.name); err != nil {
		aside.gone = false
	}
	return m.notDropped(err)
}

func (m *moving) notDropped(err error) error {
	e := fsbridge.NewError(fsbridge.OpMove, m.req.Source, err)
	e.Message = fmt.Sprintf("it was copied whole to %q, but not all of the source could be deleted: %s", printable(string(m.req.Destination)), e.Message)
	return e
}
