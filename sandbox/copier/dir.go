package copier

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// chunk is how many names of one directory a worker takes at once.
const chunk = 128

// A dir is a directory while a pass works on it.
type dir struct {
	*pass
	parent *dir
	src    *place
	dst    *place
	ref    *place // nil if there is none
	old    *node  // what the last pass found in it; nil if it was not there
	was    *node  // what the reference's record says
	new    *node  // what this pass finds

	self    *entry // its own entry, in its parent's new node
	before  *entry // the one in its parent's old node; nil if the copy had none
	pending atomic.Int32

	mu      sync.Mutex
	made    bool // in this pass
	touched bool // the copy's directory was changed, its attributes are not right
}

// scan reads the directory, unless its names are those of the last pass, and hands
// out its entries, but for the first ones, which are still in the processor's cache.
func (d *dir) scan(w *worker) error {
	fd, err := d.src.use()
	if vanished(err) {
		return d.vanish(w)
	} else if err != nil {
		return d.fail("open directory", "", err)
	}
	defer d.src.done()
	var names []string
	if d.self.same(d.before) && d.old.isWhole() {
		names = d.old.list()
	} else {
		names, err = w.list(fd)
	}
	if vanished(err) {
		return d.vanish(w)
	} else if err != nil {
		return d.fail("read directory", "", err)
	}
	if err := d.makeDir(w); err != nil {
		return err
	}
	if d.new, err = newNode(names, d.old); err != nil {
		return d.fail("read directory", "", err)
	}
	olds, err := d.merge(w, names)
	if err != nil {
		return err
	}
	var tasks []task
	for i := chunk; i < len(names); i += chunk {
		d.pending.Add(1)
		tasks = append(tasks, func(w *worker) error { return d.entries(w, names, olds, i, min(i+chunk, len(names))) })
	}
	if len(tasks) > 0 {
		w.pool.push(tasks...)
	}
	return d.entries(w, names, olds, 0, min(chunk, len(names)))
}

// merge finds the last pass's entry for each name, and removes from the copy what
// has no name any more.
func (d *dir) merge(w *worker, names []string) ([]*entry, error) {
	if d.old == nil {
		return nil, nil
	}
	olds := make([]*entry, len(names))
	i := 0
	for j := range d.old.entries {
		name := d.old.name(j)
		for i < len(names) && names[i] < name {
			i++
		}
		if i < len(names) && names[i] == name {
			olds[i] = &d.old.entries[j]
		} else if err := d.clear(w, name, &d.old.entries[j]); err != nil {
			return nil, err
		}
	}
	return olds, nil
}

// entries looks at some of the names.
func (d *dir) entries(w *worker, names []string, olds []*entry, from, to int) error {
	fd, err := d.src.use()
	if err == nil {
		defer d.src.done()
	} else if !vanished(err) {
		return d.fail("open directory", "", err)
	}
	now := time.Now()
	for i := from; i < to; i++ {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		var old *entry
		if olds != nil {
			old = olds[i]
		}
		var st unix.Stat_t
		err := error(unix.ENOENT)
		if fd >= 0 {
			err = unix.Fstatat(fd, names[i], &st, unix.AT_SYMLINK_NOFOLLOW)
		}
		if err == nil {
			d.new.entries[i].fill(&st, now, d.pass.src.id)
			err = d.entry(w, i, names[i], old, &st)
		} else if vanished(err) {
			err = d.lost(w, i, names[i], old)
		} else {
			err = d.fail("stat", names[i], err)
		}
		if err != nil {
			return err
		}
	}
	return d.complete(w)
}

// entry brings one name of the copy up to what the source has.
func (d *dir) entry(w *worker, i int, name string, old *entry, st *unix.Stat_t) error {
	e := &d.new.entries[i]
	switch {
	case e.is(absent): // a socket
		return d.clear(w, name, old)
	case e.isDir():
		d.descend(w, name, e, old, st)
		return nil
	case st.Nlink > 1:
		d.pending.Add(1)
		d.join(inodeOf(st), member{d, i, old})
		return nil
	case e.same(old) && !d.isMapped(e):
		e.blocks, e.flags = old.blocks, e.flags|old.flags&borrowed
		return nil
	}
	return d.copyEntry(w, i, name, old)
}

// descend has a directory in d scanned.
func (d *dir) descend(w *worker, name string, e, old *entry, st *unix.Stat_t) {
	child := &dir{pass: d.pass, parent: d, self: e, before: old}
	child.src = d.src.below(name, inodeOf(st))
	child.dst = d.dst.below(name, inode{})
	if old != nil && !old.is(absent) && old.isDir() {
		child.old = d.old.sub(old)
	}
	if sub := d.was.sub(d.was.at(name)); sub != nil {
		child.was, child.ref = sub, d.ref.below(name, inode{})
	}
	child.pending.Store(1)
	d.pending.Add(1)
	w.pool.push(child.scan)
}

// lost is what becomes of a name that is not there any more.
func (d *dir) lost(w *worker, i int, name string, old *entry) error {
	d.new.entries[i].flags = doubtful | absent
	if err := d.changed(d.src, name); err != nil {
		return err
	}
	return d.clear(w, name, old)
}

// vanish is lost for a directory that was to be scanned.
func (d *dir) vanish(w *worker) error {
	if d.parent == nil {
		return d.fail("open directory", "", unix.ENOENT)
	}
	if err := d.changed(d.parent.src, d.src.name); err != nil {
		return err
	}
	d.self.flags = doubtful | absent
	if err := d.parent.clear(w, d.src.name, d.before); err != nil {
		return err
	}
	return d.complete(w)
}

// clear removes from the copy what the last pass made of a name.
func (d *dir) clear(w *worker, name string, old *entry) error {
	if old == nil || old.is(absent) {
		return nil
	}
	fd, err := d.touch()
	if err != nil {
		return err
	}
	defer d.dst.done()
	if old.isDir() {
		err = removeAll(w, fd, name)
	} else {
		err = unix.Unlinkat(fd, name, 0)
	}
	if err != nil {
		return pathError("remove", d.dst.where(name), err)
	}
	return nil
}

// makeDir makes the directory in the copy if it is not there.
func (d *dir) makeDir(w *worker) error {
	if d.parent == nil || d.old != nil {
		return nil
	}
	if err := d.parent.clear(w, d.dst.name, d.before); err != nil {
		return err
	}
	fd, err := d.parent.touch()
	if err != nil {
		return err
	}
	defer d.parent.dst.done()
	if err := unix.Mkdirat(fd, d.dst.name, 0o700); err != nil {
		return pathError("make directory", d.dst.where(""), err)
	}
	d.made, d.touched = true, true
	return nil
}

// touch opens the copy's directory to change it. What it hands down to what is
// made in it, a group and default access lists, it loses until it is settled.
func (d *dir) touch() (int, error) {
	fd, err := d.dst.use()
	if err != nil {
		return -1, pathError("open directory", d.dst.where(""), err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.touched {
		return fd, nil
	}
	err = unix.Fchmod(fd, 0o700)
	if err == nil {
		err = unix.Fremovexattr(fd, "system.posix_acl_default")
	}
	if err != nil && err != unix.ENODATA && err != unix.EOPNOTSUPP {
		d.dst.done()
		return -1, pathError("open for a change", d.dst.where(""), err)
	}
	d.touched = true
	return fd, nil
}

// complete says that one piece of work on d is done. With the last one, d gets
// its attributes and its parent has one piece less.
func (d *dir) complete(w *worker) error {
	for d.pending.Add(-1) == 0 {
		if !d.self.is(absent) {
			if err := d.settle(w); err != nil {
				return err
			}
		}
		if d.parent == nil {
			return nil
		}
		d.parent.src.adopt(d.src)
		d.parent.dst.adopt(d.dst)
		d.close()
		d = d.parent
	}
	return nil
}

// close closes the directories and puts what was found into the parent's node.
func (d *dir) close() {
	d.src.close()
	d.dst.close()
	if d.ref != nil {
		d.ref.close()
	}
	if d.self.is(absent) {
		return
	}
	up := d.parent
	up.mu.Lock()
	defer up.mu.Unlock()
	d.self.size = int64(len(up.new.subs))
	up.new.subs = append(up.new.subs, d.new)
}

// settle gives the copy's directory the source's attributes, unless it has them.
func (d *dir) settle(w *worker) error {
	if !d.touched && d.self.same(d.before) {
		d.self.blocks = d.before.blocks
		return nil
	}
	in, err := d.src.use()
	if vanished(err) {
		d.self.flags |= doubtful
		return d.changed(d.src, "")
	} else if err != nil {
		return d.fail("open directory", "", err)
	}
	defer d.src.done()
	out, err := d.dst.use()
	if err != nil {
		return pathError("open directory", d.dst.where(""), err)
	}
	defer d.dst.done()
	was := *d.self
	var st unix.Stat_t
	now := time.Now()
	if err := unix.Fstat(in, &st); err != nil {
		return d.fail("stat", "", err)
	}
	d.self.fill(&st, now, d.pass.src.id)
	d.self.flags |= was.flags & doubtful // its names were read before this look
	if !d.self.equal(&was) {
		d.self.flags |= doubtful
		if err := d.changed(d.src, ""); err != nil {
			return err
		}
	}
	d.self.blocks, err = d.attributes(w, handle{fd: in}, handle{fd: out}, &st, !d.made)
	if err != nil {
		return pathError("set attributes of directory", d.dst.where(""), err)
	}
	return nil
}

func (d *dir) fail(op, name string, err error) error {
	return pathError(op, d.src.where(name), err)
}

func (d *dir) isMapped(e *entry) bool {
	return d.mapped != nil && e.isRegular() && d.mapped(e.ino)
}
