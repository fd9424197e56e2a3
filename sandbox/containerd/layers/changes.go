package layers

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"moorage/sandbox"
)

// Options limits Changes. The zero value compares everything.
type Options struct {
	// Path of the file, or of the directory with what is in it, that is compared.
	Path string
	// Max is how many entries may be looked at before it is given up with
	// ErrLimit. 0: any number.
	Max int
	// Unchanged may say that the content of a regular file, of the same size on
	// both sides, is known to be the same. Else it is read.
	Unchanged func(path string, from, to *unix.Stat_t) bool
}

// What says in which respects a path that is on both sides differs.
type What uint8

// The respects.
const (
	Content What = 1 << iota // of a regular file; the target of a link; a device's number
	Type
	Mode
	Owner
	Xattrs // those of overlayfs aside, unless plain
)

// Change is a path that differs between two views. From and To are what is
// there; the Mode of a side without is 0.
type Change struct {
	Kind     sandbox.ChangeKind
	Path     string // absolute in the view
	What     What   // of Modified
	From, To unix.Stat_t
}

// Dir reports whether it is a directory, after, or before if it was deleted.
func (c *Change) Dir() bool { return c.shown().Mode&unix.S_IFMT == unix.S_IFDIR }

// Size is that of a regular file, after, or before if it was deleted; else 0.
func (c *Change) Size() int64 {
	if st := c.shown(); st.Mode&unix.S_IFMT == unix.S_IFREG {
		return st.Size
	}
	return 0
}

func (c *Change) shown() *unix.Stat_t {
	if c.Kind == sandbox.Deleted {
		return &c.From
	}
	return &c.To
}

// Changes calls yield for each path that differs, a directory before what is in
// it, names in the order of their bytes. Times are not compared: a file of the
// same content and attributes is the same. A directory is modified only if its
// own attributes are. What came or went with a directory is told one by one. An
// error of yield ends it and is returned as it is.
//
// Layers that both stacks have at their lower ends are read only below
// directories that are deleted, added or replaced on one side.
func Changes(ctx context.Context, from, to *Stack, o Options, yield func(Change) error) error {
	name := clean(o.Path)
	a, err := from.find(name)
	defer closeNode(&a)
	if err != nil {
		return fmt.Errorf("compare %q: %w", name, err)
	}
	b, err := to.find(name)
	defer closeNode(&b)
	if err != nil {
		return fmt.Errorf("compare %q: %w", name, err)
	}
	c := &comparer{ctx: ctx, o: o, yield: yield}
	return c.pair(name, &a, &b)
}

// ChangesPlain compares two ordinary directories.
func ChangesPlain(ctx context.Context, from, to string, o Options, yield func(Change) error) error {
	a, err := OpenPlain(from)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := OpenPlain(to)
	if err != nil {
		return err
	}
	defer b.Close()
	return Changes(ctx, a, b, o, yield)
}

// comparer is one Changes under way.
type comparer struct {
	ctx    context.Context
	o      Options
	yield  func(Change) error
	levels levels
	looked int
	bufs   *[2][]byte
}

// pair compares what two views have at a path.
func (c *comparer) pair(path string, a, b *node) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if c.looked++; c.o.Max > 0 && c.looked > c.o.Max {
		return fmt.Errorf("compare: %w: there is more to look at than %d entries; ask for a path below", ErrLimit, c.o.Max)
	}
	ch := Change{Path: path}
	if a.exists() {
		ch.From = a.st
	}
	if b.exists() {
		ch.To = b.st
	}
	switch {
	case !a.exists() && !b.exists():
		return nil
	case !b.exists():
		ch.Kind = sandbox.Deleted
	case !a.exists():
		ch.Kind = sandbox.Added
	default:
		what, err := c.what(path, a, b)
		if err != nil {
			return fmt.Errorf("compare %q: %w", path, err)
		}
		ch.What = what
		if what != 0 {
			ch.Kind = sandbox.Modified
		}
	}
	if ch.Kind != 0 {
		if err := c.yield(ch); err != nil {
			return err
		}
	}
	if a.isDir() || b.isDir() {
		return c.inside(path, a.parts, b.parts)
	}
	return nil
}

// inside compares what two directories have in them. One may be none.
func (c *comparer) inside(path string, a, b []*part) error {
	own := slices.Concat(ownParts(a, b)) // what is read of both
	if len(own) == 0 {
		return nil
	}
	c.levels.enter(slices.Concat(a, b)...)
	defer c.levels.leave()
	names, err := listAll(own)
	if err != nil {
		return err
	}
	if path == "/" {
		path = ""
	}
	for _, name := range names {
		x, err := child(a, name)
		if err != nil {
			return err
		}
		y, err := child(b, name)
		if err != nil {
			return err
		}
		if err := c.pair(path+"/"+name, &x, &y); err != nil {
			return err
		}
	}
	return nil
}

// ownParts returns the parts of both without the lower ones that are the same:
// a name that only those have is seen alike.
func ownParts(a, b []*part) (own, too []*part) {
	for len(a) > 0 && len(b) > 0 && a[len(a)-1].layer.id == b[len(b)-1].layer.id {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return a, b
}

// what says how two nodes differ.
func (c *comparer) what(path string, a, b *node) (What, error) {
	if a.is(b) {
		return 0, nil
	}
	var what What
	x, y := &a.st, &b.st
	if x.Mode&unix.S_IFMT != y.Mode&unix.S_IFMT {
		what |= Type
	}
	if x.Mode&0o7777 != y.Mode&0o7777 {
		what |= Mode
	}
	if x.Uid != y.Uid || x.Gid != y.Gid {
		what |= Owner
	}
	p, err := a.xattrs()
	if err != nil {
		return 0, err
	}
	q, err := b.xattrs()
	if err != nil {
		return 0, err
	}
	if !sameXattrs(p, q) {
		what |= Xattrs
	}
	if what&Type != 0 {
		return what, nil
	}
	same, err := c.sameContent(path, a, b)
	if !same {
		what |= Content
	}
	return what, err
}

func (n *node) xattrs() ([]xattr, error) {
	fd, err := n.in.open()
	if err != nil {
		if gone(err) {
			return nil, nil
		}
		return nil, err
	}
	return xattrs(fd, n.name, n.in.layer.plain)
}
