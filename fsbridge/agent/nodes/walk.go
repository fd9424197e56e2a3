package nodes

import (
	"errors"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// batch is how many names are read from a directory at a time, and how many of
// its directories are kept at each level.
const batch = 128

// noOpenat2 says that the kernel, or its filter, has no openat2.
var noOpenat2 atomic.Bool

// openDir opens the directory name of dir, not following a link or entering a
// mount (EXDEV).
func openDir(dir int, name string) (fd int, err error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if !noOpenat2.Load() {
		how := unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS}
		err := retry(func() (err error) {
			fd, err = unix.Openat2(dir, name, &how)
			return err
		})
		if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
			return fd, err
		}
		noOpenat2.Store(errors.Is(err, unix.ENOSYS))
	}
	err = retry(func() (err error) {
		fd, err = unix.Openat(dir, name, flags, 0)
		return err
	})
	return fd, err
}

// retry calls f again while a signal interrupts it, as FUSE and NFS let it.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// id is which node it is.
type id struct{ dev, ino uint64 }

func idOf(fd int) (id, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return id{uint64(st.Dev), st.Ino}, err
}

// cursor is a place in a tree: one open directory, and how it was come to.
type cursor struct {
	fd    int // of the directory, -1 where there is none
	above []id
	names []string
}

// down opens the directory name of where the cursor is, and goes there.
func (c *cursor) down(name string) error {
	here, err := idOf(c.fd)
	if err != nil {
		return err
	}
	fd, err := openDir(c.fd, name)
	if err != nil {
		return err
	}
	c.leave()
	c.fd, c.above, c.names = fd, append(c.above, here), append(c.names, name)
	return nil
}

// leave closes the directory, unless it is the caller's.
func (c *cursor) leave() {
	if len(c.above) > 0 {
		unix.Close(c.fd)
	}
	c.fd = -1
}

// up goes back to the directory above, and returns the name of the one that it
// left. root is the directory where the way down began.
func (c *cursor) up(root int) (name string, err error) {
	n := len(c.above) - 1
	fd := root
	if n > 0 {
		err = retry(func() (err error) {
			fd, err = unix.Openat(c.fd, "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			return err
		})
		if err != nil {
			return "", err
		}
		if is, err := idOf(fd); err != nil || is != c.above[n] {
			unix.Close(fd)
			return "", errors.Join(err, errMoved)
		}
	}
	c.leave()
	name = c.names[n]
	c.fd, c.above, c.names = fd, c.above[:n], c.names[:n]
	return name, nil
}

// errMoved: somebody has moved a directory while it was worked on.
var errMoved = errors.New("a directory was moved away meanwhile")

// close closes what is open, but not the root.
func (c *cursor) close() {
	if c.fd >= 0 {
		c.leave()
	}
}

// list opens the cursor's directory for reading from its beginning. The caller
// closes it.
func (c *cursor) list() (*os.File, error) {
	fd, err := openDir(c.fd, ".")
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), ""), nil
}

// read returns the next names with their types, none at the end.
func read(d *os.File) ([]os.DirEntry, error) {
	entries, err := d.ReadDir(batch)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	return entries, err
}
