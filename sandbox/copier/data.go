package copier

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

const (
	// smallFile is up to which size a file is read and written at once: a copy
	// inside the kernel costs more than it gains.
	smallFile = 128 << 10
	// cloneFrom is from which size a file is cloned: XFS takes about 11 µs for a
	// clone, and 5 µs to read and write 1 KiB.
	cloneFrom = 16 << 10
	// step is how much is copied between two looks at the context.
	step = 4 << 20
)

// copyData brings the content over: as a clone, or range by range, so that holes
// stay holes. At most as much as the file was long a moment ago.
func (p *pass) copyData(w *worker, in, out int, st *unix.Stat_t) error {
	if st.Size == 0 {
		p.copied.Add(1)
		return nil
	}
	if st.Size >= cloneFrom && p.clone.Load() {
		switch err := unix.IoctlFileClone(out, in); {
		case err == nil:
			p.cloned.Add(1)
			return nil
		case neverClones(err):
			p.clone.Store(false)
		}
	}
	p.copied.Add(1)
	if st.Size <= smallFile && st.Blocks*512 >= st.Size {
		_, err := copyPlain(w, in, out, 0, st.Size)
		return err
	}
	// With its size set first, XFS takes no blocks ahead for what may follow.
	if err := unix.Ftruncate(out, st.Size); err != nil {
		return err
	}
	return copySparse(w, in, out, st.Size)
}

// neverClones tells that FICLONE failed because it will for every file.
func neverClones(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EXDEV) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.ENOSYS)
}

// copySparse copies what is no hole.
func copySparse(w *worker, in, out int, size int64) error {
	kernel := true
	for pos := int64(0); pos < size; {
		begin, err := unix.Seek(in, pos, unix.SEEK_DATA)
		end := size
		switch {
		case err == unix.ENXIO: // no more data
			return nil
		case err == unix.EINVAL: // the file system does not say
			begin = pos
		case err != nil:
			return err
		default:
			if end, err = unix.Seek(in, begin, unix.SEEK_HOLE); err == unix.ENXIO { // it shrank
				return nil
			} else if err != nil {
				return err
			}
		}
		if end = min(end, size); begin >= end {
			return nil
		}
		short, err := copyRange(w, in, out, begin, end, &kernel)
		if err != nil || short {
			return err
		}
		pos = end
	}
	return nil
}

// copyRange copies inside the kernel, or once that does not work by reading and
// writing. It tells whether the file ended before.
func copyRange(w *worker, in, out int, begin, end int64, kernel *bool) (short bool, err error) {
	for begin < end {
		if err := w.ctx.Err(); err != nil {
			return false, err
		}
		n := min(step, end-begin)
		var did int64
		if *kernel {
			did, err = copyInKernel(in, out, begin, n)
			if *kernel = err == nil && did > 0; !*kernel && isFull(err) {
				return false, err
			}
		}
		if !*kernel {
			if did, err = copyPlain(w, in, out, begin, n); err != nil {
				return false, err
			}
		}
		if did == 0 {
			return true, nil
		}
		begin += did
	}
	return false, nil
}

// isFull tells errors of copy_file_range that another way to copy does not mend.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
}

func copyInKernel(in, out int, at, n int64) (int64, error) {
	from, to := at, at
	did, err := retry(func() (int, error) { return unix.CopyFileRange(in, &from, out, &to, int(n), 0) })
	return int64(did), err
}

// copyPlain reads and writes up to n bytes. Less than n: the file ended.
func copyPlain(w *worker, in, out int, at, n int64) (int64, error) {
	did := int64(0)
	for did < n {
		buf := buffer(&w.data, smallFile)
		buf = buf[:min(int64(len(buf)), n-did)]
		got, err := retry(func() (int, error) { return unix.Pread(in, buf, at+did) })
		if err != nil {
			return did, err
		}
		if got == 0 {
			break
		}
		if err := writeAll(out, buf[:got], at+did); err != nil {
			return did, err
		}
		did += int64(got)
	}
	return did, nil
}

func writeAll(fd int, b []byte, at int64) error {
	for len(b) > 0 {
		n, err := retry(func() (int, error) { return unix.Pwrite(fd, b, at) })
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrShortWrite
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

// canceled tells that the caller does not want the copy any more.
func canceled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
