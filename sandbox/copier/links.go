package copier

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Links carries the files that have several names in src, the topmost lower
// directory of an overlayfs mount, into its empty upper directory dst: each is
// copied once and has the same names there. Thus they stay names of one file when
// it is written to; of a file in a lower layer, overlayfs would give a name one of
// its own. The directories on the way to them are made with their attributes; that
// they are opaque, and all else that overlayfs keeps of src's files, stays behind,
// so that the rest of src is seen through them. dst's own attributes may be set.
//
// It returns how many files it carried. A file of which other trees have names too
// but src only one is none of them, nor is a whiteout or a socket. src is still.
// After an error a part may be in dst.
func Links(ctx context.Context, dst, src string) (files int64, err error) {
	// Not a last pass: a merge of layers may give src's files further names
	// elsewhere, which sets their ctime.
	p := &pass{carries: true, groups: map[inode]*group{}}
	defer p.close()
	if err := p.open(dst, src); err != nil {
		return 0, err
	}
	l := &linker{pass: p, found: map[inode][]name{}}
	tasks := newPool()
	root := &branch{src: p.src}
	if err := unix.Fstat(p.src.fd, &root.st); err != nil {
		return 0, pathError("stat", src, err)
	}
	tasks.push(l.scan(root))
	if err := tasks.run(ctx, workers(0)); err != nil {
		return 0, err
	}
	if err := l.plan(); err != nil {
		return 0, err
	}
	for _, g := range p.groups {
		tasks.push(g.settle)
	}
	return int64(len(p.groups)), tasks.run(ctx, workers(0))
}

// linker is one Links under way.
type linker struct {
	*pass
	mu    sync.Mutex
	found map[inode][]name // of files that have several names, here or elsewhere
}

// branch is a directory of the source, and, when something in it is carried, what
// it is in the pass.
type branch struct {
	src *place
	up  *branch // nil of the root
	st  unix.Stat_t
	dir *dir

	carried []name
}

// name is one of a file.
type name struct {
	in   *branch
	name string
	st   unix.Stat_t
}

// scan finds what has several names.
func (l *linker) scan(b *branch) task {
	return func(w *worker) error {
		fd, err := b.src.use()
		if err != nil {
			return pathError("open directory", b.src.where(""), err)
		}
		defer b.src.done()
		names, err := w.list(fd)
		if err != nil {
			return pathError("read directory", b.src.where(""), err)
		}
		for _, n := range names {
			if err := w.ctx.Err(); err != nil {
				return err
			}
			var st unix.Stat_t
			if err := unix.Fstatat(fd, n, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return pathError("stat", b.src.where(n), err)
			}
			switch {
			case st.Mode&unix.S_IFMT == unix.S_IFDIR:
				w.pool.push(l.scan(&branch{src: b.src.below(n, inodeOf(&st)), up: b, st: st}))
			case st.Nlink > 1 && canBeLinked(&st) && !isWhiteout(fd, n, &st):
				l.mu.Lock()
				l.found[inodeOf(&st)] = append(l.found[inodeOf(&st)], name{b, n, st})
				l.mu.Unlock()
			}
		}
		return nil
	}
}

// isWhiteout knows those of the second form: empty files with an attribute.
func isWhiteout(dir int, name string, st *unix.Stat_t) bool {
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != 0 {
		return false
	}
	_, err := unix.Lgetxattr(procPath(dir)+"/"+name, "trusted.overlay.whiteout", nil)
	return err == nil
}

// plan makes the directories and the groups.
func (l *linker) plan() error {
	var branches []*branch
	for _, names := range l.found {
		if len(names) < 2 {
			continue
		}
		for _, n := range names {
			if len(n.in.carried) == 0 {
				branches = append(branches, n.in)
			}
			n.in.carried = append(n.in.carried, n)
		}
	}
	for _, b := range branches {
		if err := l.make(b); err != nil {
			return err
		}
	}
	for _, b := range branches {
		if err := l.fill(b); err != nil {
			return err
		}
	}
	return nil
}

// fill puts what is carried of a branch into its directory's node and the groups.
func (l *linker) fill(b *branch) error {
	slices.SortFunc(b.carried, func(x, y name) int { return strings.Compare(x.name, y.name) })
	names := make([]string, len(b.carried))
	for i, n := range b.carried {
		names[i] = n.name
	}
	var err error
	if b.dir.new, err = newNode(names, nil); err != nil {
		return b.dir.fail("read directory", "", err)
	}
	now := time.Now()
	for i := range b.carried {
		st := &b.carried[i].st
		b.dir.new.entries[i].fill(st, now, l.src.id)
		b.dir.pending.Add(1)
		l.join(inodeOf(st), member{dir: b.dir, i: i})
	}
	return nil
}

// make makes the directory of a branch, and those above, if they are not there.
// Each gets its attributes with the last that is made in it.
func (l *linker) make(b *branch) error {
	if b.dir != nil {
		return nil
	}
	d := &dir{pass: l.pass, src: b.src, dst: l.dst, self: &entry{}, new: &node{}, touched: true}
	d.self.fill(&b.st, time.Now(), l.src.id)
	b.dir = d
	if b.up == nil {
		return nil
	}
	if err := l.make(b.up); err != nil {
		return err
	}
	d.parent, d.made = b.up.dir, true
	d.parent.pending.Add(1)
	d.dst = d.parent.dst.below(b.src.name, inode{})
	fd, err := d.parent.touch()
	if err != nil {
		return err
	}
	defer d.parent.dst.done()
	if err := unix.Mkdirat(fd, d.dst.name, 0o700); err != nil {
		return pathError("make directory", d.dst.where(""), err)
	}
	return nil
}
