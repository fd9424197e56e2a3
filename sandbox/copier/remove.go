package copier

import (
	"context"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Remove removes a directory and all that is in it, or a file, with several
// workers. It follows no symbolic link, and fails where something is mounted
// below (EXDEV). What is not there is no error.
func Remove(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	parent, err := plant(filepath.Dir(dir))
	if err != nil {
		if vanished(err) {
			return nil
		}
		return err
	}
	defer parent.uproot()
	return removeBelow(ctx, parent, filepath.Base(dir), workers(0))
}

// removeAll removes a name of an open directory, with one worker.
func removeAll(w *worker, dir int, name string) error {
	fd, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	parent := &place{in: &forest{}, fd: -1, users: 1}
	if err := parent.set(fd); err != nil {
		return err
	}
	defer parent.uproot()
	return removeBelow(w.ctx, parent, name, 1)
}

func removeBelow(ctx context.Context, parent *place, name string, n int) error {
	if unlinked(unix.Unlinkat(parent.fd, name, 0)) {
		return nil
	}
	r := &removal{place: parent.below(name, inode{})}
	r.pending.Store(1)
	tasks := newPool()
	tasks.push(r.scan)
	return tasks.run(ctx, n)
}

// unlinked tells that a name is gone.
func unlinked(err error) bool { return err == nil || err == unix.ENOENT }

// A removal is a directory while it is removed.
type removal struct {
	parent  *removal
	place   *place
	pending atomic.Int32
}

// scan removes the files in a directory and has its directories scanned.
func (r *removal) scan(w *worker) error {
	fd, err := r.place.use()
	if err == unix.ENOENT {
		return r.complete()
	}
	if err != nil {
		return pathError("remove directory", r.place.where(""), err)
	}
	defer r.place.done()
	var names []string
	kinds := map[string]byte{}
	err = w.readNames(fd, func(name []byte, kind byte) {
		names = append(names, string(name))
		if kind != unix.DT_REG {
			kinds[string(name)] = kind
		}
	})
	if err != nil {
		return pathError("read directory", r.place.where(""), err)
	}
	for _, name := range names {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		err := error(unix.EISDIR)
		if kinds[name] != unix.DT_DIR {
			err = unix.Unlinkat(fd, name, 0)
		}
		switch {
		case unlinked(err):
		case err == unix.EISDIR:
			r.pending.Add(1)
			child := &removal{parent: r, place: r.place.below(name, inode{})}
			child.pending.Store(1)
			w.pool.push(child.scan)
		default:
			return pathError("remove", r.place.where(name), err)
		}
	}
	return r.complete()
}

// complete removes the directory when it is empty.
func (r *removal) complete() error {
	for r != nil && r.pending.Add(-1) == 0 {
		up := r.place.parent
		up.adopt(r.place)
		fd, err := up.use()
		if err != nil {
			return pathError("open directory", up.where(""), err)
		}
		err = unix.Unlinkat(fd, r.place.name, unix.AT_REMOVEDIR)
		up.done()
		r.place.close()
		if !unlinked(err) {
			return pathError("remove directory", r.place.where(""), err)
		}
		r = r.parent
	}
	return nil
}
