package search

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

const (
	// batch is how many nodes of one directory are worked on by one worker. A
	// directory of many is shared between them.
	batch = 64
	// pendingMax is the most directories that wait to be read, of about 150 bytes
	// each. A search that finds more leaves them out and says that it did.
	pendingMax = 100_000
	// sharedMax is the most batches that wait for another worker.
	sharedMax = 128
	// direntBuffer is how many bytes of entries are read at a time.
	direntBuffer = 64 << 10
)

// visitor is what a search does with the nodes of a walk. Each worker has its
// own.
type visitor interface {
	// wants reports by name and kind (a DT constant, DT_UNKNOWN where the file
	// system does not tell) whether the node is to be visited.
	wants(last string, kind byte, path func() string) bool
	// enters reports whether the directory at path, from the root, is to be read.
	enters(path string) bool
	visit(d *dir, n name, kind byte)
	close()
}

// walk visits the nodes below a root, by several workers at once, in no order.
type walk struct {
	ctx   context.Context
	all   bool // also .git and what is ignored
	limit int64
	root  *dir

	seen   atomic.Int64 // nodes so far
	opened atomic.Int32 // directories that are open
	denied atomic.Int64
	cut    atomic.Bool // not all was visited

	mu       sync.Mutex
	changed  sync.Cond // of what is below
	tasks    []task    // the last is the next: deep first, so that few are open
	dirs     int       // tasks that are to be read
	busy     int       // workers that may make tasks
	panicked any
}

// task is a directory to be read, or some of its nodes to be visited.
type task struct {
	dir   *dir
	nodes []byte // for each its kind and its name; nil means that dir is to be read
}

// newWalk prepares a walk of root, an absolute path. The error is of opening it.
func newWalk(ctx context.Context, root string, all bool) (*walk, error) {
	w := &walk{ctx: ctx, all: all, limit: fsbridge.SearchMax}
	w.changed.L = &w.mu
	var fd int
	err := retry(func() (err error) { // the root itself may be a link
		fd, err = unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	w.root = &dir{}
	w.hold(w.root, fd)
	w.enter(w.root)
	if !all {
		w.root.rules = outerRules(root)
	}
	w.root.users.Add(1) // for the read, beside the walk's own
	w.tasks = []task{{dir: w.root}}
	return w, nil
}

// run walks with one worker for each visitor, and returns when all is visited or
// the context has ended.
func (w *walk) run(visitors []visitor) error {
	var wg sync.WaitGroup
	for _, v := range visitors[1:] {
		wg.Go(func() { w.work(v) })
	}
	w.work(visitors[0])
	wg.Wait()
	for _, t := range w.tasks { // those that a cancelled walk has left
		w.drop(t)
	}
	w.release(w.root)
	if w.panicked != nil {
		panic(w.panicked) // in the request's goroutine, which survives it
	}
	return w.ctx.Err()
}

// drop gives up what an unfinished task holds.
func (w *walk) drop(t task) {
	switch {
	case t.nodes != nil || t.dir.parent == nil:
		w.release(t.dir)
	case t.dir.parent.held:
		w.release(t.dir.parent)
	}
}

func (w *walk) work(v visitor) {
	defer func() {
		if p := recover(); p != nil {
			w.mu.Lock()
			w.panicked = p
			w.mu.Unlock()
		}
		w.changed.Broadcast()
	}()
	r := newReader(w, v)
	for t, ok := w.next(false); ok; t, ok = w.next(true) {
		switch {
		case t.nodes != nil:
			r.visit(t.dir, t.nodes)
			w.release(t.dir)
		case t.dir.parent == nil || w.open(t.dir):
			r.read(t.dir)
			w.release(t.dir)
		}
	}
}

// next returns the next task, when there is one. worked says that the caller has
// done one.
func (w *walk) next(worked bool) (task, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if worked {
		w.busy--
	}
	for len(w.tasks) == 0 && w.busy > 0 && w.panicked == nil {
		w.changed.Wait()
	}
	if len(w.tasks) == 0 || w.panicked != nil || w.ctx.Err() != nil {
		return task{}, false
	}
	w.busy++
	t := w.tasks[len(w.tasks)-1]
	w.tasks = w.tasks[:len(w.tasks)-1]
	if t.nodes == nil {
		w.dirs--
	}
	return t, true
}

// push adds directories that are to be read. Those that are too many are left
// out.
func (w *walk) push(dirs []task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range dirs {
		if w.dirs >= pendingMax {
			w.cut.Store(true)
			w.drop(t)
			continue
		}
		w.dirs++
		w.tasks = append(w.tasks, t)
	}
	w.changed.Broadcast()
}

// share gives nodes of d to another worker, unless enough wait for one.
func (w *walk) share(d *dir, nodes []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !d.held || len(w.tasks)-w.dirs >= sharedMax {
		return false
	}
	d.users.Add(1)
	w.tasks = append(w.tasks, task{dir: d, nodes: nodes})
	w.changed.Signal()
	return true
}

// deny counts what may not be read. What has gone meanwhile is none of it.
func (w *walk) deny(err error) {
	if !vanished(err) {
		w.denied.Add(1)
	}
}

// reader is a worker's: it reads directories.
type reader struct {
	*walk
	visitor
	buf   []byte
	at    *dir          // and
	last  string        // which make the path
	full  []byte        // as far as known
	path  func() string // from the root, of last in at
	nodes []byte        // wanted ones that have no task yet
	count int           // of nodes
	below []task        // directories
}

func newReader(w *walk, v visitor) *reader {
	r := &reader{walk: w, visitor: v}
	r.path = func() string {
		if len(r.full) == 0 {
			r.full = append(append(r.full, r.at.path...), r.last...)
		}
		return textOf(r.full)
	}
	return r
}

// read reads a directory and makes tasks of what is in it.
func (r *reader) read(d *dir) {
	if r.buf == nil {
		r.buf = make([]byte, direntBuffer)
	}
	n, whole, err := r.first(d)
	for n > 0 && r.ctx.Err() == nil && r.take(d, r.buf[:n]) && !whole {
		n, err = entries(d.fd, r.buf)
	}
	if err != nil {
		r.deny(err)
	}
	if len(r.below) > 0 {
		r.push(r.below)
		clear(r.below)
		r.below = r.below[:0]
	}
	r.visit(d, r.nodes)
	r.nodes, r.count = r.nodes[:0], 0
}

// first reads the first entries and with them the rules. whole says that there
// are no more; then the rules are looked for only if they are among them.
func (r *reader) first(d *dir) (n int, whole bool, err error) {
	n, err = entries(d.fd, r.buf[:direntBuffer/2])
	if err != nil || n == 0 {
		return n, true, err
	}
	more, err := entries(d.fd, r.buf[n:])
	if err != nil {
		return n, true, err
	}
	n, whole = n+more, more == 0
	if r.all {
		return n, whole, nil
	}
	if whole {
		d.load(gitNames(r.buf[:n]))
		return n, true, nil
	}
	var st unix.Stat_t
	d.load(lstatAt(d.fd, gitDir, &st) == nil, true)
	return n, false, nil
}

// gitNames looks for .git and .gitignore among entries.
func gitNames(b []byte) (repository, file bool) {
	for len(b) > 0 {
		var n name
		n, _, b = nextEntry(b)
		repository = repository || bytes.Equal(n, gitDir)
		file = file || bytes.Equal(n, gitignore)
	}
	return repository, file
}

// take sorts entries into what is below, what is wanted, and the rest. It
// reports whether the walk goes on.
func (r *reader) take(d *dir, b []byte) bool {
	seen := 0
	for len(b) > 0 {
		var n name
		var kind byte
		n, kind, b = nextEntry(b)
		if last := n.text(); last == "." || last == ".." || last == ".git" && !r.all {
			continue
		}
		seen++
		r.node(d, n, kind)
	}
	if r.seen.Add(int64(seen)) > r.limit {
		r.stop()
		return false
	}
	return true
}

// stop ends a walk that has seen as much as it may: what is pending is given up.
func (w *walk) stop() {
	w.cut.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.tasks {
		w.drop(t)
	}
	w.tasks, w.dirs = nil, 0
}

func (r *reader) node(d *dir, n name, kind byte) {
	if kind == unix.DT_UNKNOWN {
		kind = kindAt(d.fd, n)
	}
	r.at, r.last, r.full = d, n.text(), r.full[:0]
	if !r.all && d.rules.ignored(r.path, r.last, kind == unix.DT_DIR) {
		return
	}
	if kind == unix.DT_DIR && r.enters(r.path()) {
		if d.held {
			d.users.Add(1)
		}
		r.below = append(r.below, task{dir: &dir{parent: d, path: r.path() + "/"}})
	}
	if !r.wants(r.last, kind, r.path) {
		return
	}
	r.nodes = append(append(r.nodes, kind), n...)
	if r.count++; r.count < batch {
		return
	}
	if r.share(d, r.nodes) {
		r.nodes = nil
	} else {
		r.visit(d, r.nodes)
	}
	r.nodes, r.count = r.nodes[:0], 0
}

// kindAt asks what a node is, where its directory does not tell.
func kindAt(at int, n name) byte {
	var st unix.Stat_t
	if lstatAt(at, n, &st) != nil {
		return unix.DT_UNKNOWN
	}
	return byte(st.Mode & unix.S_IFMT >> 12) // as IFTODT of dirent.h
}

// visit visits nodes of d. What panics there is found by work.
func (r *reader) visit(d *dir, nodes []byte) {
	for len(nodes) > 0 && r.ctx.Err() == nil {
		end := bytes.IndexByte(nodes[1:], 0) + 2
		r.visitor.visit(d, name(nodes[1:end:end]), nodes[0])
		nodes = nodes[end:]
	}
}
