package layers

import (
	"bytes"
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// compareBlock is how many bytes of each file are compared at a time.
const compareBlock = 256 << 10

// sameContent compares what two nodes of one type hold. What went away meanwhile
// has changed.
func (c *comparer) sameContent(path string, a, b *node) (bool, error) {
	switch a.st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if a.st.Size != b.st.Size {
			return false, nil
		}
		if a.st.Size == 0 || c.o.Unchanged != nil && c.o.Unchanged(path, &a.st, &b.st) {
			return true, nil
		}
		same, err := c.sameBytes(a, b)
		if gone(err) || errors.Is(err, fs.ErrInvalid) {
			return false, nil
		}
		return same, err
	case unix.S_IFLNK:
		return sameTarget(a, b)
	case unix.S_IFCHR, unix.S_IFBLK:
		return a.st.Rdev == b.st.Rdev, nil
	}
	return true, nil
}

func sameTarget(a, b *node) (bool, error) {
	var to [2]string
	for i, n := range []*node{a, b} {
		fd, err := n.in.open()
		if err == nil {
			to[i], err = readLink(fd, n.name)
		}
		if gone(err) || errors.Is(err, unix.EINVAL) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return to[0] == to[1], nil
}

func (c *comparer) sameBytes(a, b *node) (bool, error) {
	x, err := a.openFile()
	if err != nil {
		return false, err
	}
	defer unix.Close(x)
	y, err := b.openFile()
	if err != nil {
		return false, err
	}
	defer unix.Close(y)
	if c.bufs == nil {
		c.bufs = &[2][]byte{make([]byte, compareBlock), make([]byte, compareBlock)}
	}
	size := a.st.Size
	for at := int64(0); at < size; {
		if err := c.ctx.Err(); err != nil {
			return false, err
		}
		if size > compareBlock { // where neither has data both have zeros
			if at = max(at, min(nextData(x, at, size), nextData(y, at, size))); at >= size {
				break
			}
		}
		n := min(size-at, compareBlock)
		p, err := readAt(x, c.bufs[0][:n], at)
		if err != nil {
			return false, err
		}
		q, err := readAt(y, c.bufs[1][:n], at)
		if err != nil {
			return false, err
		}
		if !bytes.Equal(p, q) {
			return false, nil
		}
		at += n
	}
	return true, nil
}

// nextData is where from at on there is data, size if nowhere.
func nextData(fd int, at, size int64) int64 {
	data, err := unix.Seek(fd, at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size
	case err != nil: // a file system that does not know of holes
		return at
	}
	return data
}

// readAt fills buf from at on, as far as there is something.
func readAt(fd int, buf []byte, at int64) ([]byte, error) {
	full := 0
	for full < len(buf) {
		n := 0
		err := retry(func() (err error) {
			n, err = unix.Pread(fd, buf[full:], at+int64(full))
			return err
		})
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		full += n
	}
	return buf[:full], nil
}
