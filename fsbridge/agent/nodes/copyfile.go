package nodes

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

const (
	copyChunk = 4 << 20   // bytes that the kernel copies at a time
	copyBlock = 128 << 10 // bytes that are copied by hand at a time
)

// errChanged: a file was written to while it was copied.
var errChanged = errors.New("it was written to meanwhile")

// file copies a regular file.
func (c *copier) file(name, as string) error {
	const flags = unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NOCTTY
	from, err := openAt(c.src.fd, name, unix.O_RDONLY|unix.O_NONBLOCK|flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errChanged
	}
	to, err := openAt(c.dst.fd, as, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|flags, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	if err := copyContent(c.ctx, to, from, st.Size); err != nil {
		return err
	}
	if _, err := CopyAttributes(to, from); err != nil {
		return err
	}
	if err := dress(to, &st); err != nil {
		return err
	}
	var after unix.Stat_t
	if err := unix.Fstat(from, &after); err != nil {
		return err
	}
	if after.Size != st.Size || after.Mtim != st.Mtim {
		return errChanged
	}
	if c.count <= syncEach {
		return syncFile(to)
	}
	return nil
}

func openAt(dir int, name string, flags int, mode uint32) (fd int, err error) {
	err = retry(func() (err error) {
		fd, err = unix.Openat(dir, name, flags, mode)
		return err
	})
	return fd, err
}

// copyContent copies size bytes of an open file, leaving holes where it has some.
func copyContent(ctx context.Context, to, from int, size int64) error {
	if err := unix.Ftruncate(to, size); err != nil {
		return err
	}
	for at := int64(0); at < size; {
		start, end, err := nextData(from, at, size)
		if err != nil {
			return err
		}
		if err := copyRange(ctx, to, from, start, end); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// nextData returns where from byte at on there is data; both are size if there
// is none.
func nextData(fd int, at, size int64) (start, end int64, err error) {
	start, err = unix.Seek(fd, at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case err != nil: // a file system that does not know of holes
		return at, size, nil
	}
	if end, err = unix.Seek(fd, start, unix.SEEK_HOLE); err != nil {
		return start, size, nil
	}
	return min(start, size), min(end, size), nil
}

// copyRange copies the bytes from start to end, by the kernel if it can.
func copyRange(ctx context.Context, to, from int, start, end int64) error {
	in, out := start, start
	for in < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := unix.CopyFileRange(from, &in, to, &out, int(min(end-in, copyChunk)), 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return copyByHand(ctx, to, from, in, end)
		}
	}
	return nil
}

func copyByHand(ctx context.Context, to, from int, at, end int64) error {
	buf := make([]byte, copyBlock)
	for at < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := 0
		err := retry(func() (err error) {
			n, err = unix.Pread(from, buf[:min(end-at, copyBlock)], at)
			return err
		})
		if err != nil {
			return err
		}
		if n == 0 {
			return errChanged // it has become shorter
		}
		for b := buf[:n]; len(b) > 0; {
			k, err := unix.Pwrite(to, b, at)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
			b, at = b[max(k, 0):], at+int64(max(k, 0))
		}
	}
	return nil
}
