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
	u := &usage{seen: map[inode]bool{}}
	for _, d := range append(others, dir) {
		u.Size = Size{}
		if err := u.tree(ctx, d); err != nil {
			return 0, 0, err
		}
	}
	return u.Bytes, u.Files, nil
}

// Size is what is below a directory: Bytes and Files are those of [Usage].
type Size struct {
	Bytes, Files int64
	// Linked is how many files have more than one name there. A whiteout is none
	// (overlayfs makes them names of one device), nor is a socket.
	Linked int64
}

// Measure is [Usage], and counts links as well.
func Measure(ctx context.Context, dir string) (Size, error) {
	u := &usage{seen: map[inode]bool{}}
	if err := u.tree(ctx, dir); err != nil {
		return Size{}, err
	}
	return u.Size, nil
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
	u.Bytes = st.Blocks * 512
	tasks := newPool()
	tasks.push(u.scan(root))
	return tasks.run(ctx, workers(0))
}

type usage struct {
	mu sync.Mutex
	Size
	seen map[inode]bool // files with several names; true: two were found
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
		id := inodeOf(st)
		if twice, ok := u.seen[id]; ok {
			if !twice && canBeLinked(st) {
				u.seen[id] = true
				u.Linked++
			}
			return
		}
		u.seen[id] = false
	}
	u.Bytes += st.Blocks * 512
	u.Files++
}

// canBeLinked tells of what is no directory whether its names being one file's
// matters: of whiteouts it does not, and sockets are not copied.
func canBeLinked(st *unix.Stat_t) bool {
	kind := st.Mode & unix.S_IFMT
	return kind != unix.S_IFSOCK && !(kind == unix.S_IFCHR && st.Rdev == 0)
}
