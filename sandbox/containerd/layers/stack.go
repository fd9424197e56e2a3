package layers

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Stack is a list of layers, top first, or a plain directory. Its methods may
// be called at once from several goroutines, until Close.
type Stack struct{ layers []*layer }

// OpenStack opens the layers of dirs, top first. None is an empty view.
func OpenStack(dirs ...string) (*Stack, error) {
	s := &Stack{}
	for _, dir := range dirs {
		l, err := openLayer(dir)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.layers = append(s.layers, l)
	}
	return s, nil
}

// OpenPlain opens an ordinary directory: what overlayfs would take for a sign is
// an entry or attribute like any other.
func OpenPlain(dir string) (*Stack, error) {
	s, err := OpenStack(dir)
	if err == nil {
		s.layers[0].plain = true
	}
	return s, err
}

// Close closes the layers.
func (s *Stack) Close() error {
	for _, l := range s.layers {
		l.close()
	}
	s.layers = nil
	return nil
}

// Entry is what one sees at a path of a view.
type Entry struct {
	Path  string // absolute in the view
	Layer int    // which of the stack's has it, 0 is the top
	Stat  unix.Stat_t
}

// Lookup finds what a mount of the stack shows at a path, whose last name and
// others it does not follow if they are symbolic links. The error wraps
// fs.ErrNotExist if there is nothing.
func (s *Stack) Lookup(name string) (Entry, error) {
	name = clean(name)
	n, err := s.find(name)
	defer closeNode(&n)
	if err == nil && !n.exists() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return Entry{}, fmt.Errorf("look up %q: %w", name, err)
	}
	e := Entry{Path: name, Stat: n.st}
	for i, l := range s.layers {
		if l == n.in.layer {
			e.Layer = i
		}
	}
	return e, nil
}

// Open opens a regular file of the view for reading. The error wraps
// fs.ErrNotExist if there is nothing, fs.ErrInvalid if it is something else.
func (s *Stack) Open(name string) (*os.File, error) {
	name = clean(name)
	n, err := s.find(name)
	defer closeNode(&n)
	switch {
	case err != nil:
	case !n.exists():
		err = fs.ErrNotExist
	case !n.isFile():
		err = fmt.Errorf("%w: it is no regular file", fs.ErrInvalid)
	default:
		var fd int
		if fd, err = n.openFile(); err == nil {
			return os.NewFile(uintptr(fd), name), nil
		}
	}
	return nil, fmt.Errorf("open %q: %w", name, err)
}

// openFile opens what must still be a regular file.
func (n *node) openFile() (int, error) {
	dir, err := n.in.open()
	if err != nil {
		return -1, err
	}
	fd, err := openAt(dir, n.name, unix.O_RDONLY, 0)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return -1, fmt.Errorf("%w: it is no longer a regular file", fs.ErrInvalid)
	}
	return fd, nil
}

// clean makes a path absolute; nothing is above the view.
func clean(name string) string { return path.Clean("/" + name) }

// find returns the node at an absolute, clean path. The caller closes it.
func (s *Stack) find(name string) (node, error) {
	n, err := root(s.layers)
	if err != nil {
		return node{}, err
	}
	if err := checkPath(name); err != nil {
		return node{}, err
	}
	for rest := name[1:]; rest != ""; {
		var first string
		first, rest, _ = strings.Cut(rest, "/")
		next, err := child(n.parts, first)
		for _, p := range n.parts {
			if p != next.in {
				p.close()
			}
		}
		if n.in != nil {
			n.in.close()
		}
		if n = next; err != nil {
			return n, err
		}
	}
	return n, nil
}

func closeNode(n *node) {
	if n.in != nil {
		n.in.close()
	}
	closeParts(n.parts)
}
