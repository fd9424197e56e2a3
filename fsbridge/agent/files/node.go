package files

import (
	"errors"
	"io"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// Resolve makes a path absolute, from base if it is relative, and clean.
func Resolve(base, path fsbridge.Path) fsbridge.Path {
	if !filepath.IsAbs(string(path)) {
		path = base + "/" + path
	}
	return fsbridge.Path(filepath.Clean("/" + string(path)))
}

// file is an open regular file. It is a bare descriptor: a regular file needs
// neither the poller nor a finalizer.
type file struct {
	fd int
	st unix.Stat_t
}

// openRegular opens a regular file for reading. Anything else is refused without
// being opened, since opening a FIFO or a device does something to it.
func openRegular(op fsbridge.Op, path fsbridge.Path) (*file, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Stat(string(path), &st) }); err != nil {
		return nil, missing(op, path, err)
	}
	if err := regular(op, path, &st); err != nil {
		return nil, err
	}
	return openAt(op, path, unix.AT_FDCWD, string(path), 0)
}

// openAt opens name below dir; path is what errors name. The node is looked at
// again: it may have become another.
func openAt(op fsbridge.Op, path fsbridge.Path, dir int, name string, flags int) (*file, error) {
	f := &file{}
	err := retry(func() (err error) {
		f.fd, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY|flags, 0)
		return err
	})
	if err != nil {
		return nil, missing(op, path, err)
	}
	if err = unix.Fstat(f.fd, &f.st); err != nil {
		err = fsbridge.NewError(op, path, err)
	} else {
		err = regular(op, path, &f.st)
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// regular returns an error unless st is of a regular file.
func regular(op fsbridge.Op, path fsbridge.Path, st *unix.Stat_t) error {
	switch kind := typeOf(st.Mode); kind {
	case fsbridge.TypeFile:
		return nil
	case fsbridge.TypeDirectory:
		return fsbridge.NewError(op, path, unix.EISDIR)
	default:
		return fsbridge.Errorf(op, path, fsbridge.CodeIrregular, "not a regular file but a %s", kind)
	}
}

func (f *file) close() { unix.Close(f.fd) }

// readAt reads at off until b is full or the file ends, which is io.EOF.
func (f *file) readAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		var k int
		err := retry(func() (err error) {
			k, err = unix.Pread(f.fd, b[n:], off+int64(n))
			return err
		})
		if err != nil {
			return n, err
		}
		if k == 0 {
			return n, io.EOF
		}
		n += k
		if f.ends(off + int64(n)) {
			return n, nil // saves the call that would only say so
		}
	}
	return n, nil
}

// ends reports whether pos is where the file's size says that it ends.
func (f *file) ends(pos int64) bool { return f.st.Size > 0 && pos == f.st.Size }

// retry calls f again while a signal interrupts it, as FUSE and NFS let it.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func typeOf(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return fsbridge.TypeDirectory
	case unix.S_IFLNK:
		return fsbridge.TypeSymlink
	case unix.S_IFIFO:
		return fsbridge.TypeFIFO
	case unix.S_IFSOCK:
		return fsbridge.TypeSocket
	case unix.S_IFCHR:
		return fsbridge.TypeCharDevice
	case unix.S_IFBLK:
		return fsbridge.TypeBlockDevice
	}
	return fsbridge.TypeFile
}

// permissions are a mode's bits as chmod takes them.
func permissions(mode uint32) uint32 { return mode & 0o7777 }

// What time.Time can be in JSON. A file's times may be anything.
var (
	minTime = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	maxTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
)

func modTime(ts unix.Timespec) time.Time {
	t := time.Unix(ts.Sec, ts.Nsec).UTC()
	switch {
	case ts.Sec > maxTime.Unix():
		return maxTime
	case ts.Sec < minTime.Unix():
		return minTime
	}
	return t
}
