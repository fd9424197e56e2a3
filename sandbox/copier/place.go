package copier

import (
	"container/list"
	"errors"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxIdle is how many directories of one tree are kept open that nobody uses at
// the moment.
const maxIdle = 64

// A forest opens the directories of one tree, all relative to its root, none
// through a symbolic link or into another mount (EXDEV), and bounds how many of them are open: those in use,
// and the maxIdle used last.
type forest struct {
	path string // of the root, for messages

	mu   sync.Mutex // of all fields of its places
	idle list.List  // *place, the one used last in front
}

// A place is a directory of a forest. It is opened when it is used, from the
// nearest parent that is open, so that a path may have any length.
type place struct {
	in     *forest
	parent *place
	name   string
	id     inode // what it must be when it is opened; zero: anything

	fd    int // -1: closed
	users int
	elem  *list.Element // in idle
	gone  bool          // closed for good
}

// An inode is what a file is, whatever its name.
type inode struct{ dev, ino uint64 }

func inodeOf(st *unix.Stat_t) inode { return inode{uint64(st.Dev), st.Ino} }

// errOther says that a name means something else than it did.
var errOther = errors.New("is another file now")

const openDir = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// plant opens the root of a tree, which stays open until uproot.
func plant(path string) (*place, error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, openDir, 0) })
	if err != nil {
		return nil, pathError("open directory", path, err)
	}
	p := &place{in: &forest{path: path}, fd: -1, users: 1}
	if err := p.set(fd); err != nil {
		return nil, pathError("stat", path, err)
	}
	return p, nil
}

// uproot closes the root; nothing of the forest is in use any more.
func (p *place) uproot() {
	f := p.in
	f.mu.Lock()
	defer f.mu.Unlock()
	for e := f.idle.Front(); e != nil; e = f.idle.Front() {
		e.Value.(*place).shut()
	}
	if p.fd >= 0 {
		p.shut()
	}
}

// below is the directory of that name in p.
func (p *place) below(name string, id inode) *place {
	return &place{in: p.in, parent: p, name: name, id: id, fd: -1}
}

// use opens p if it is not open. Each use needs a done.
func (p *place) use() (int, error) {
	f := p.in
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.fd < 0 {
		if err := p.open(); err != nil {
			return -1, err
		}
	}
	return p.took(), nil
}

// took counts a user of p, which is open.
func (p *place) took() int {
	p.users++
	if p.elem != nil {
		p.in.idle.Remove(p.elem)
		p.elem = nil
	}
	return p.fd
}

// done ends a use.
func (p *place) done() {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	p.release()
}

func (p *place) release() {
	p.users--
	switch f := p.in; {
	case p.users > 0:
	case p.gone:
		p.shut()
	default:
		p.elem = f.idle.PushFront(p)
		for f.idle.Len() > maxIdle {
			f.idle.Back().Value.(*place).shut()
		}
	}
}

// close says that p will not be used again.
func (p *place) close() {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	p.gone = true
	if p.users == 0 && p.fd >= 0 {
		p.shut()
	}
}

func (p *place) shut() {
	if p.elem != nil {
		p.in.idle.Remove(p.elem)
		p.elem = nil
	}
	unix.Close(p.fd)
	p.fd = -1
}

// open opens p from its nearest open parent. The lock is given up meanwhile.
func (p *place) open() error {
	f := p.in
	base := p.parent
	names := []string{p.name}
	for ; base.fd < 0; base = base.parent {
		names = append(names, base.name)
	}
	from := base.took()
	f.mu.Unlock()
	fd, err := descend(from, names)
	f.mu.Lock()
	base.release()
	if err != nil {
		return err
	}
	return p.set(fd)
}

// set makes fd the open directory, unless it is not p or another was faster;
// then fd is closed.
func (p *place) set(fd int) error {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	if p.id == (inode{}) {
		p.id = inodeOf(&st)
	}
	if err == nil && inodeOf(&st) != p.id {
		err = errOther
	}
	if err != nil || p.fd >= 0 {
		unix.Close(fd)
		return err
	}
	p.fd = fd
	return nil
}

// adopt opens p as the parent of child, which costs nothing where the tree is
// deep, if child is open and p is not. That it is p is checked.
func (p *place) adopt(child *place) {
	f := p.in
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.fd >= 0 || p.gone || child.fd < 0 || p.id == (inode{}) {
		return
	}
	fd, err := unix.Openat(child.fd, "..", openDir, 0)
	if err != nil || p.set(fd) != nil {
		return
	}
	p.users++
	p.release()
}

// descend opens the directory below from whose path is names, the last name
// first.
func descend(from int, names []string) (int, error) {
	how := unix.OpenHow{
		Flags:   openDir,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	at := from
	for len(names) > 0 {
		var path strings.Builder
		for len(names) > 0 && path.Len()+len(names[len(names)-1]) < unix.PathMax-2 {
			if path.Len() > 0 {
				path.WriteByte('/')
			}
			path.WriteString(names[len(names)-1])
			names = names[:len(names)-1]
		}
		fd, err := retry(func() (int, error) { return unix.Openat2(at, path.String(), &how) })
		if at != from {
			unix.Close(at)
		}
		if err != nil {
			return -1, err
		}
		at = fd
	}
	return at, nil
}

// where is the path of p for a message, cut in front where it is too long.
func (p *place) where(name string) string {
	parts := []string{name}
	size := len(name)
	for ; p.parent != nil; p = p.parent {
		if size += len(p.name) + 1; size > maxPathShown {
			parts = append(parts, "...")
			break
		}
		parts = append(parts, p.name)
	}
	parts = append(parts, p.in.path)
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		if parts[i] == "" && i == 0 {
			break
		}
		if b.Len() > 0 {
			b.WriteByte('/')
		}
		b.WriteString(parts[i])
	}
	return b.String()
}
