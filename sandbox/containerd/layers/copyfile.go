package layers

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	copyChunk = 16 << 20 // bytes that the kernel copies at a time
	copySmall = 64 << 10 // up to how many bytes a file is read and written at once
)

// copier copies files, one at a time.
type copier struct {
	ctx     context.Context
	noClone bool // the file system cannot share blocks, as it has said before
	buf     []byte
}

// place is a name in an open directory.
type place struct {
	dir   int
	name  string
	plain bool
}

// file copies a regular file that does not change, with its holes and all
// attributes. Blocks are shared where the file system can.
func (c *copier) file(to, from place, st *unix.Stat_t) error {
	src, err := openAt(from.dir, from.name, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	dst, err := openAt(to.dir, to.name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(dst)
	if err := c.content(dst, src, st); err != nil {
		return err
	}
	return dress(to, from, st)
}

func (c *copier) content(dst, src int, st *unix.Stat_t) error {
	if st.Size == 0 {
		return nil
	}
	if !c.noClone {
		err := retry(func() error { return unix.IoctlFileClone(dst, src) })
		if err == nil {
			return nil
		}
		c.noClone = errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EXDEV)
	}
	if st.Size > copySmall || st.Blocks*512 < st.Size { // the latter has holes
		return copyContent(c.ctx, dst, src, st.Size)
	}
	if c.buf == nil {
		c.buf = make([]byte, copySmall)
	}
	b, err := readAt(src, c.buf[:st.Size], 0)
	if err == nil && int64(len(b)) < st.Size {
		err = fmt.Errorf("it has become shorter meanwhile: %w", unix.ESTALE)
	}
	if err != nil {
		return err
	}
	return writeAll(dst, b, 0)
}

func copyContent(ctx context.Context, dst, src int, size int64) error {
	if err := unix.Ftruncate(dst, size); err != nil {
		return err
	}
	for at := nextData(src, 0, size); at < size; {
		end, err := unix.Seek(src, at, unix.SEEK_HOLE)
		if err != nil {
			end = size
		}
		if err := copyRange(ctx, dst, src, at, min(end, size)); err != nil {
			return err
		}
		at = nextData(src, end, size)
	}
	return nil
}

func copyRange(ctx context.Context, dst, src int, at, end int64) error {
	var buf []byte
	for in, out := at, at; in < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := 0, error(unix.ENOTSUP)
		if buf == nil {
			n, err = unix.CopyFileRange(src, &in, dst, &out, int(min(end-in, copyChunk)), 0)
		}
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EIO):
			return err
		case err != nil || n == 0: // by hand from here on
			if buf == nil {
				buf = make([]byte, compareBlock)
			}
			b, err := readAt(src, buf[:min(end-in, compareBlock)], in)
			if err != nil {
				return err
			}
			if len(b) == 0 {
				return fmt.Errorf("it has become shorter meanwhile: %w", unix.ESTALE)
			}
			if err := writeAll(dst, b, in); err != nil {
				return err
			}
			in, out = in+int64(len(b)), out+int64(len(b))
		}
	}
	return nil
}

func writeAll(fd int, b []byte, at int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, at)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		b, at = b[max(n, 0):], at+int64(max(n, 0))
	}
	return nil
}

// copySpecial copies what is neither a regular file nor a directory.
func copySpecial(to, from place, st *unix.Stat_t) error {
	var err error
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		var target string
		if target, err = readLink(from.dir, from.name); err == nil {
			err = unix.Symlinkat(target, to.dir, to.name)
		}
	} else {
		err = unix.Mknodat(to.dir, to.name, st.Mode&unix.S_IFMT|0o600, int(st.Rdev))
	}
	if err != nil {
		return err
	}
	return dress(to, from, st)
}

// dress gives a node the owner, attributes, mode and times of another. In this
// order: a new owner takes setuid and capabilities away.
func dress(to, from place, st *unix.Stat_t) error {
	attrs, err := xattrs(from.dir, from.name, from.plain)
	if err != nil {
		return err
	}
	return attributes{st.Uid, st.Gid, st.Mode, [2]unix.Timespec{st.Atim, st.Mtim}, attrs}.give(to)
}

// attributes are what a node has besides its content.
type attributes struct {
	uid, gid uint32
	mode     uint32 // with the type
	times    [2]unix.Timespec
	xattrs   []xattr
}

func (a attributes) give(to place) error {
	if err := unix.Fchownat(to.dir, to.name, int(a.uid), int(a.gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	for _, x := range a.xattrs {
		if err := unix.Lsetxattr(procPath(to.dir, to.name), x.name, x.value, 0); err != nil {
			return fmt.Errorf("set attribute %s: %w", x.name, err)
		}
	}
	if a.mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Fchmodat(to.dir, to.name, a.mode&0o7777, 0); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(to.dir, to.name, a.times[:], unix.AT_SYMLINK_NOFOLLOW)
}
