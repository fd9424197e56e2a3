package search

import (
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"moorage/fsbridge/agent/files"
)

// heldDirs is how many directories a search keeps open for those below them. A
// container may have no more than 1024 descriptors, and the gate lets gateSize
// searches in.
const heldDirs = 32

// dir is a directory of a walk. It is open while something is to be done in it,
// or below it.
type dir struct {
	parent *dir   // that it is opened from; nil after that, and of the root
	path   string // from the root, with a slash at its end; "" is the root
	fd     int
	users  atomic.Int32
	rules  *rules
	dev    uint64
	kernel bool // its files are the kernel's
	held   bool // those below are opened from it; else from the root, by their path
}

// last is the directory's name.
func (d *dir) last() name {
	from := 0
	if d.parent != nil {
		from = len(d.parent.path)
	}
	return nameOf(d.path[from : len(d.path)-1])
}

// join returns the path, from the root, of what is in the directory.
func (d *dir) join(n name) string {
	if d.path == "" {
		return strings.Clone(n.text()) // which "" + text would not do
	}
	return d.path + n.text()
}

// open opens a directory of which only the path is known. It reports whether the
// walk may go there.
func (w *walk) open(d *dir) bool {
	parent := d.parent
	fd, err := -1, error(nil)
	if parent.held {
		fd, err = openAt(parent.fd, d.last(), unix.O_DIRECTORY)
	} else {
		fd, err = openAt(w.root.fd, nameOf(d.path[:len(d.path)-1]), unix.O_DIRECTORY)
	}
	d.parent = nil
	d.rules, d.dev, d.kernel = parent.rules, parent.dev, parent.kernel
	if parent.held {
		w.release(parent)
	}
	if err != nil {
		w.deny(err)
		return false
	}
	w.hold(d, fd)
	if !w.enter(d) {
		w.release(d)
		return false
	}
	return true
}

// hold gives d its descriptor and one user.
func (w *walk) hold(d *dir, fd int) {
	d.fd = fd
	d.users.Store(1)
	d.held = w.opened.Add(1) <= heldDirs
}

// enter finds out where d is. The kernel's file systems are entered only by a
// search that starts in them: they are no files of anyone's, and have no end.
func (w *walk) enter(d *dir) bool {
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil || st.Dev == d.dev {
		return err == nil
	}
	within := d.kernel
	d.dev, d.kernel = st.Dev, files.Kernel(d.fd)
	return within || !d.kernel || d.path == ""
}

// release closes d after its last user.
func (w *walk) release(d *dir) {
	if d.users.Add(-1) == 0 {
		unix.Close(d.fd)
		w.opened.Add(-1)
	}
}
