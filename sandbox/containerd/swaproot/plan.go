package swaproot

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// child is a direct child mount of the old root, with what is mounted upon it at
// the same place, from below to above.
type child struct {
	at     string   // without the leading "/"
	stack  []uint64 // ids; the first is the child itself
	target int      // O_PATH: its mount point in the new root; -1
	open   []int    // O_PATH: mounts of the stack, the uppermost first
	dir    bool
}

// plan is what a Swap has to move.
type plan struct {
	table    mountTable
	children []child
	stacks   bool // one of them has more than one mount
}

// makePlan finds the direct child mounts of the root, and checks what can be
// checked from outside.
func makePlan(t mountTable) (*plan, error) {
	p := &plan{table: t}
	if root, _ := t.find(t.root); root.shared {
		return nil, errors.New("its root is a shared mount, which cannot be replaced: rootfsPropagation must be private or slave")
	}
	for _, m := range t.all {
		if m.parent != t.root || m.id == t.root {
			continue
		}
		if m.at == "/" {
			return nil, errors.New("another mount covers its root")
		}
		c := child{at: strings.TrimPrefix(m.at, "/"), stack: t.stackOf(m), target: -1}
		p.stacks = p.stacks || len(c.stack) > 1
		p.children = append(p.children, c)
	}
	if len(p.children) == 0 {
		// A container has a /proc at least. An empty list is one read from where
		// its mounts are not seen, and would cost it them.
		return nil, errors.New("no mount is seen in it but its root")
	}
	return p, nil
}

// stackOf follows what is mounted upon a mount's own root, again and again.
func (t *mountTable) stackOf(m mountPoint) []uint64 {
	ids := []uint64{m.id}
	for i := 0; i < len(t.all); i++ {
		if on := t.all[i]; on.parent == ids[len(ids)-1] && on.at == m.at && len(ids) < len(t.all) {
			ids = append(ids, on.id)
			i = -1
		}
	}
	return ids
}

// open opens the mounts, and their mount points in the new root. The thread is
// in the namespace. Nothing is changed by it.
func (p *plan) open(newRoot int) error {
	for i := range p.children {
		c := &p.children[i]
		fd, err := c.openUpper()
		if err != nil {
			return fmt.Errorf("mount /%s: %w", c.at, err)
		}
		at, err := placeOfFD(fd)
		if err != nil {
			return fmt.Errorf("mount /%s: %w", c.at, err)
		}
		c.dir = at.dir()
		if err := c.openTarget(newRoot); err != nil {
			return fmt.Errorf("mount point /%s in the new root: %w", c.at, err)
		}
	}
	return nil
}

func (p *plan) close() {
	for _, c := range p.children {
		for _, fd := range c.open {
			unix.Close(fd)
		}
		if c.target >= 0 {
			unix.Close(c.target)
		}
	}
}

// openUpper opens the uppermost mount of the stack that is still at its place. It
// must be the one that is seen there: another one may hide it.
func (c *child) openUpper() (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, "/"+c.at, &how)
	if err != nil {
		return -1, err
	}
	want := c.stack[len(c.stack)-1-len(c.open)]
	c.open = append(c.open, fd)
	found, err := placeOfFD(fd)
	if err == nil && (found.mount != want || !found.top) {
		err = errors.New("it is hidden by another mount")
	}
	return fd, err
}

// openTarget opens the mount point within the new root alone.
func (c *child) openTarget(newRoot int) (err error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	if c.target, err = unix.Openat2(newRoot, c.at, &how); err != nil {
		return err
	}
	at, err := placeOfFD(c.target)
	switch {
	case err != nil:
		return err
	case at.kind() == unix.S_IFLNK:
		return errors.New("it is a symbolic link")
	case at.dir() != c.dir:
		return errors.New("a directory can be mounted upon a directory only, and nothing else be")
	}
	return nil
}
