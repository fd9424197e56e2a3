package files

import (
	"io"

	"golang.org/x/sys/unix"
)

// append adds the temporary file's content to the target, in the directory's turn:
// what another agent puts in the target's place meanwhile would not have it. When
// it fails half way the target is cut back.
func (w *writing) append() error {
	done, err := w.t.turn(w.ctx, &w.target)
	if err != nil {
		return err
	}
	defer done()
	fd, err := unix.Openat(w.dir, w.name, unix.O_RDWR|unix.O_APPEND|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := &file{fd: fd}
	defer f.close()
	if err := unix.Fstat(fd, &f.st); err != nil {
		return err
	}
	if err := regular(w.op, w.req.Path, &f.st); err != nil {
		return err
	}
	if err := w.extend(f); err != nil {
		unix.Ftruncate(fd, f.st.Size)
		return err
	}
	if err := unix.Fstat(fd, &f.st); err != nil {
		return err
	}
	w.res.Size = f.st.Size
	w.res.Revision, err = w.t.revisionOf(w.ctx, f)
	return err
}

func (w *writing) extend(f *file) error {
	buf := getBlock()
	defer putBlock(buf)
	from := &file{fd: w.temp.fd}
	for off := int64(0); off < w.temp.size; {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		n, err := from.readAt(*buf, off)
		if err != nil && err != io.EOF {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		if err := writeAll(f.fd, (*buf)[:n]); err != nil {
			return err
		}
		off += int64(n)
	}
	if w.req.Mode != nil {
		if err := unix.Fchmod(f.fd, *w.req.Mode); err != nil {
			return err
		}
	}
	return syncFile(f.fd)
}
