package layers

import (
	"errors"
	"fmt"
	"slices"
	"sort"

	"golang.org/x/sys/unix"
)

// openLevels is in how many levels of a walk directories stay open.
const openLevels = 16

// part is a directory of one layer. It is opened when it is needed, and again
// if it was closed meanwhile.
type part struct {
	layer  *layer
	path   string
	fd     int // -1 if not open
	listed bool
	names  []string // what list has read
}

func newPart(l *layer, path string) *part { return &part{layer: l, path: path, fd: -1} }

func (p *part) open() (int, error) {
	if p.fd < 0 {
		fd, err := p.layer.openDir(p.path)
		if err != nil {
			return -1, fmt.Errorf("open /%s of layer %s: %w", p.path, p.layer.dir, err)
		}
		p.fd = fd
	}
	return p.fd, nil
}

func (p *part) close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
}

// list reads the names, which has then knows.
func (p *part) list() error {
	fd, err := p.open()
	if err != nil {
		if gone(err) {
			p.listed = true
			return nil
		}
		return err
	}
	if p.names, err = readNames(fd); err != nil {
		return p.fault("", err)
	}
	p.listed = true
	return nil
}

// lacks says that the name is not there, if it is known.
func (p *part) lacks(name string) bool {
	if !p.listed {
		return false
	}
	at := sort.SearchStrings(p.names, name)
	return at == len(p.names) || p.names[at] != name
}

func (p *part) fault(name string, err error) error {
	return fmt.Errorf("read /%s of layer %s: %w", join(p.path, name), p.layer.dir, err)
}

// gone: it is not there, or no longer what it was.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENAMETOOLONG)
}

// node is an entry of a view. Without in there is none.
type node struct {
	in    *part // the directory that has what one sees
	name  string
	st    unix.Stat_t
	parts []*part // of a directory: those that it consists of, top first
	// closed: what layers below these have under this name does not show.
	closed bool
}

func (n *node) exists() bool { return n.in != nil }
func (n *node) isDir() bool  { return n.in != nil && n.st.Mode&unix.S_IFMT == unix.S_IFDIR }
func (n *node) isFile() bool { return n.in != nil && n.st.Mode&unix.S_IFMT == unix.S_IFREG }

// is says that both are the same node of the file system.
func (n *node) is(other *node) bool {
	return n.exists() && other.exists() && idOf(&n.st) == idOf(&other.st)
}

// root is the top directory of the view.
func root(layers []*layer) (node, error) {
	var n node
	for _, l := range layers {
		p := newPart(l, "")
		if n.in == nil {
			n.in, n.name = p, "."
			if err := unix.Fstat(l.fd, &n.st); err != nil {
				return node{}, p.fault("", err)
			}
		}
		n.parts = append(n.parts, p)
	}
	return n, nil
}

// child is what one sees under a name of the directory that parts make.
func child(parts []*part, name string) (node, error) {
	var n node
	path := ""
	for _, p := range parts {
		if p.lacks(name) {
			continue
		}
		st, kind, err := p.look(name)
		if err != nil {
			return node{}, err
		}
		switch kind {
		case lookNothing:
			continue
		case lookWhiteout:
			n.closed = true
			return n, nil
		}
		if n.in == nil {
			n.in, n.name, n.st = p, name, st
		}
		if kind == lookOther {
			n.closed = true
			return n, nil
		}
		if path == "" {
			if path = join(p.path, name); checkPath(path) != nil {
				return node{}, checkPath(path)
			}
		}
		n.parts = append(n.parts, newPart(p.layer, path))
		if kind == lookOpaque {
			n.closed = true
			return n, nil
		}
	}
	return n, nil
}

// What an entry of one layer is to those below.
const (
	lookNothing  = iota
	lookWhiteout // hides, and is not there
	lookOther    // no directory: hides
	lookOpaque   // directory that hides
	lookDir      // directory that shows what is below
)

// look finds out what a name of this layer alone is.
func (p *part) look(name string) (st unix.Stat_t, kind int, err error) {
	fd, err := p.open()
	if err == nil {
		err = unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		if gone(err) {
			return st, lookNothing, nil
		}
		return st, lookNothing, p.fault(name, err)
	}
	if p.layer.plain {
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			return st, lookDir, nil
		}
		return st, lookOther, nil
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		kind, err = p.lookDir(fd, name)
	case unix.S_IFREG:
		kind, err = p.lookFile(fd, name, &st)
	case unix.S_IFCHR:
		if kind = lookOther; st.Rdev == 0 {
			kind = lookWhiteout
		}
	default:
		kind = lookOther
	}
	if err != nil {
		return st, lookNothing, p.fault(name, err)
	}
	return st, kind, nil
}

func (p *part) lookDir(fd int, name string) (int, error) {
	moved, err := hasXattr(fd, name, xattrRedirect)
	if err != nil {
		return 0, err
	}
	if moved {
		return 0, fmt.Errorf("%w: the directory was renamed under redirect_dir=on; mount with redirect_dir=off", ErrUnsupported)
	}
	opaque, err := isOpaque(fd, name)
	if opaque {
		return lookOpaque, err
	}
	return lookDir, err
}

func (p *part) lookFile(fd int, name string, st *unix.Stat_t) (int, error) {
	if st.Size == 0 {
		white, err := hasXattr(fd, name, xattrWhiteout)
		if white || err != nil {
			return lookWhiteout, err
		}
	}
	bare, err := hasXattr(fd, name, xattrMetacopy)
	if bare {
		return 0, fmt.Errorf("%w: the file has no content of its own, it was changed under metacopy=on; mount with metacopy=off", ErrUnsupported)
	}
	return lookOther, err
}

// levels keeps the directories open in which a walk is.
type levels struct{ parts [][]*part }

// enter notes a further level, and closes one far above.
func (l *levels) enter(parts ...*part) {
	l.parts = append(l.parts, parts)
	if n := len(l.parts) - openLevels; n > 0 {
		closeParts(l.parts[n-1])
	}
}

func (l *levels) leave() {
	n := len(l.parts) - 1
	closeParts(l.parts[n])
	l.parts[n] = nil
	l.parts = l.parts[:n]
}

func closeParts(parts []*part) {
	for _, p := range parts {
		p.close()
	}
}

// listAll reads the names of parts, and returns each once, sorted.
func listAll(parts []*part) ([]string, error) {
	var all []string
	for _, p := range parts {
		if err := p.list(); err != nil {
			return nil, err
		}
		all = append(all, p.names...)
	}
	if len(parts) > 1 {
		slices.Sort(all)
		all = slices.Compact(all)
	}
	return all, nil
}
