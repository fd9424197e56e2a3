package copier

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A pass walks the source once and brings the copy up to it. First all
// directories, with their files; then, when every name is known, the files with
// several names. A directory gets its own attributes when nothing in it is left
// to do.
type pass struct {
	o      Options
	final  bool
	mapped func(uint64) bool
	// carries: into the layer over the source's, see Links.
	carries bool
	old     state
	new     state
	stats   *Stats
	counters

	src, dst, ref *place // the roots; ref is nil if nothing is linked
	clone         atomic.Bool

	mu     sync.Mutex
	groups map[inode]*group
}

// open opens the trees and finds out whether files can be cloned.
func (p *pass) open(dst, src string) error {
	var err error
	if p.src, err = plant(src); err != nil {
		return err
	}
	if p.dst, err = plant(dst); err != nil {
		return err
	}
	p.clone.Store(!p.o.NoClone && canClone(p.dst.fd))
	if p.o.Reference == nil || p.o.NoLink {
		return nil
	}
	p.ref, err = plant(p.o.Reference.Tree)
	return err
}

func (p *pass) close() {
	for _, root := range []*place{p.src, p.dst, p.ref} {
		if root != nil {
			root.uproot()
		}
	}
}

// canClone tells whether the file system of a directory knows FICLONE at all. If
// it cannot find out it says yes: then each file finds out.
func canClone(dir int) bool {
	var fds [2]int
	for i := range fds {
		fd, err := unix.Openat(dir, ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return true
		}
		defer unix.Close(fd)
		fds[i] = fd
	}
	return !neverClones(unix.IoctlFileClone(fds[0], fds[1]))
}

func (p *pass) run(ctx context.Context) error {
	var st unix.Stat_t
	now := time.Now()
	if err := unix.Fstat(p.src.fd, &st); err != nil {
		return pathError("stat", p.src.in.path, err)
	}
	p.new.self.fill(&st, now, p.src.id)
	root := &dir{pass: p, src: p.src, dst: p.dst, self: &p.new.self, old: p.old.node}
	if p.old.node != nil {
		root.before = &p.old.self
	}
	if p.ref != nil {
		root.ref, root.was = p.ref, p.o.Reference.Record.root
	}
	root.pending.Store(1)
	tasks := newPool()
	tasks.push(root.scan)
	if err := tasks.run(ctx, workers(p.o.Parallel)); err != nil {
		return err
	}
	for _, g := range p.groups {
		tasks.push(g.settle)
	}
	if err := tasks.run(ctx, workers(p.o.Parallel)); err != nil {
		return err
	}
	p.new.node = root.new
	return nil
}

// changed is what becomes of a file that is not what it was a moment ago: in a
// pass before the last, the next one will see to it.
func (p *pass) changed(at *place, name string) error {
	if p.final {
		return pathError("copy", at.where(name), ErrChanged)
	}
	return nil
}
