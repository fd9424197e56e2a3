package copier

import (
	"context"
	"sync"

	"golang.org/x/sys/unix"
)

// Usage tells what is below a directory: the bytes on disk (st_blocks) of it and
// all below, and how many files and directories are below. A file with several
// names counts once, and not at all if one of them lies below one of the other
// directories. Files that vanish meanwhile are no error.
func Usage(ctx context.Context, dir string, others ...string) (bytes, files int64, err error) {
	u := &usage{seen: map[inode]struct{}{}}
	for _, d := range append(others, dir) {
		u.bytes, u.files = 0, 0
		if err := u.tree(ctx, d); err != nil {
			return 0, 0, err
		}
	}
	return u.bytes, u.files, nil
}

func (u *usage) tree(ctx context.Context, dir string) error {
	root, err := plant(dir)
	if err != nil {
		return err
	}
	defer root.uproot()
	var st unix.Stat_t
	if err := unix.Fstat(root.fd, &st); err != nil {
		return pathError("stat", dir, err)
	}
	u.bytes = st.Blocks * 512
	tasks := newPool()
	tasks.push(u.scan(root))
	return tasks.run(ctx, workers(0))
}

type usage struct {
	mu           sync.Mutex
	bytes, files int64
	seen         map[inode]struct{} // files with several names
}

func (u *usage) scan(p *place) task {
	return func(w *worker) error {
		fd, err := p.use()
		if err != nil {
			if vanished(err) {
				return nil
			}
			return pathError("open directory", p.where(""), err)
		}
		defer p.done()
		var failed error
		err = w.readNames(fd, func(name []byte, _ byte) {
			if failed == nil {
				failed = u.look(w, p, fd, string(name))
			}
		})
		if err != nil && !vanished(err) {
			return pathError("read directory", p.where(""), err)
		}
		return failed
	}
}

// look counts what has that name in the directory p, and has it scanned if it is
// a directory.
func (u *usage) look(w *worker, p *place, fd int, name string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	var st unix.Stat_t
	err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if vanished(err) {
		return nil
	}
	if err != nil {
		return pathError("stat", p.where(name), err)
	}
	u.add(&st)
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		w.pool.push(u.scan(p.below(name, inodeOf(&st))))
	}
	return nil
}

func (u *usage) add(st *unix.Stat_t) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if _, ok := u.seen[inodeOf(st)]; ok {
			return
		}
		u.seen[inodeOf(st)] = struct{}{}
	}
	u.bytes += st.Blocks * 512
	u.files++
}
