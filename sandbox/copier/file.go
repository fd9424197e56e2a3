package copier

import (
	"context"
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// copyEntry makes the copy of anything but a directory, in the place of what the
// last pass made of the name. If it has vanished it is absent in the new node.
func (d *dir) copyEntry(w *worker, i int, name string, old *entry) error {
	if err := d.clear(w, name, old); err != nil {
		return err
	}
	to, err := d.touch()
	if err != nil {
		return err
	}
	defer d.dst.done()
	e := &d.new.entries[i]
	if e.isRegular() {
		if done, err := d.link(e, to, name); done || err != nil {
			return err
		}
	}
	from, err := d.src.use()
	if err == nil {
		defer d.src.done()
		if e.isRegular() {
			err = d.copyFile(w, e, from, to, name)
		} else {
			err = d.copySpecial(w, e, from, to, name)
		}
	} else if vanished(err) {
		err = errOther
	}
	switch {
	case errors.Is(err, errOther):
		e.flags = doubtful | absent
		return d.changed(d.src, name)
	case err == nil, canceled(err):
		return err
	}
	return pathError("copy", d.src.where(name), err)
}

// copyFile copies a regular file.
func (d *dir) copyFile(w *worker, e *entry, from, to int, name string) error {
	in, err := openFile(w.ctx, from, name)
	if err != nil {
		return err
	}
	defer unix.Close(in)
	st, err := d.look(e, in)
	if err != nil {
		return err
	}
	if d.isMapped(e) || !(d.final && d.mapped != nil) && isBeingWritten(in) {
		e.flags |= doubtful
	}
	out, err := unix.Openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, st.Mode&0o777)
	if err != nil {
		return err
	}
	err = d.copyData(w, in, out, st)
	if err == nil {
		e.blocks, err = d.attributes(w, handle{fd: in}, handle{fd: out}, st, false)
	}
	if e := unix.Close(out); err == nil {
		err = e
	}
	if err == nil && d.final {
		_, err = d.look(e, in)
	}
	return err
}

// look makes e what the opened file is. It is another file now if its inode or
// type is another; in the last pass, if anything is other than it was.
func (d *dir) look(e *entry, fd int) (*unix.Stat_t, error) {
	var st unix.Stat_t
	now := time.Now()
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	var seen entry
	seen.fill(&st, now, d.pass.src.id)
	if seen.ino != e.ino || seen.kind() != e.kind() || d.final && !seen.equal(e) {
		return nil, errOther
	}
	if !d.final {
		// Not all of it: others read where the name ends.
		e.ctime, e.mtime, e.size, e.mode, e.flags = seen.ctime, seen.mtime, seen.size, seen.mode, seen.flags
	}
	return &st, nil
}

const openSource = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NOCTTY

// openFile opens a regular file of the source, without a change of its access time
// where that is allowed. It waits for a lease that somebody holds on the file: the
// kernel ends it after 45 s (/proc/sys/fs/lease-break-time).
func openFile(ctx context.Context, dir int, name string) (int, error) {
	flags := openSource | unix.O_NOATIME
	for {
		fd, err := retry(func() (int, error) { return unix.Openat(dir, name, flags, 0) })
		switch {
		case err == unix.EPERM && flags&unix.O_NOATIME != 0:
			flags &^= unix.O_NOATIME
		case err == unix.EAGAIN:
			select {
			case <-ctx.Done():
				return -1, ctx.Err()
			case <-time.After(5 * time.Millisecond):
			}
		case vanished(err) || err != nil && !isRegularAt(dir, name):
			return -1, errOther
		default:
			return fd, err
		}
	}
}

// isRegularAt tells whether a name is that of a regular file still. What else
// cannot be opened is no error: a device without a driver, or where the mount
// has none.
func isRegularAt(dir int, name string) bool {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

// openPath opens a name as such, whatever it is, and nothing behind it.
func (d *dir) openPath(dir int, name string) (int, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if vanished(err) {
		err = errOther
	}
	return fd, err
}

// procPath names an open file.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// isBeingWritten tells whether anybody has the file open for writing, or mapped
// writably: then what is written may show in no time stamp any more, as a write
// sets them when it begins. The kernel knows: it refuses a read lease (fcntl(2)).
// Where it gives no leases the answer is yes.
func isBeingWritten(fd int) bool {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		return true
	}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
	return err != nil
}

// copySpecial copies a symbolic link, FIFO, device or whiteout.
func (d *dir) copySpecial(w *worker, e *entry, from, to int, name string) error {
	in, err := d.openPath(from, name)
	if err != nil {
		return err
	}
	defer unix.Close(in)
	st, err := d.look(e, in)
	if err != nil {
		return err
	}
	if e.kind() == unix.S_IFLNK {
		var target string
		if target, err = readLink(in); err == nil {
			err = unix.Symlinkat(target, to, name)
		}
	} else {
		err = unix.Mknodat(to, name, st.Mode, int(st.Rdev))
	}
	if err != nil {
		return err
	}
	out, err := unix.Openat(to, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(out)
	e.blocks, err = d.attributes(w, handle{in, procPath(in)}, handle{out, procPath(out)}, st, false)
	return err
}

// readLink reads the target of an opened symbolic link.
func readLink(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// link makes the name one of the reference's file, if that is what the source's
// file is to this day. It tells whether it did.
func (d *dir) link(e *entry, to int, name string) (bool, error) {
	if d.ref == nil || e.is(doubtful) || d.isMapped(e) || !e.same(d.was.at(name)) {
		return false, nil
	}
	from, err := d.ref.use()
	if err != nil {
		return false, nil
	}
	defer d.ref.done()
	if unix.Linkat(from, name, to, name, 0) != nil {
		return false, nil // no room for one more name, another file system, a quota
	}
	var st unix.Stat_t
	err = unix.Fstatat(to, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Mode == uint32(e.mode) && st.Size == e.size && nanos(st.Mtim) == e.mtime && st.Nlink < maxNames {
		e.blocks, e.flags = uint64(st.Blocks), e.flags|borrowed
		d.linked.Add(1)
		return true, nil
	}
	return false, unix.Unlinkat(to, name, 0)
}
