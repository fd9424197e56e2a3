package layers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// linkFrom is from which size on Merge links a file instead of copying it.
const linkFrom = 1 << 20

// Merge makes, in the empty directory dst, one layer that shows over below the
// same as the layers own, top first, do over it; below may be nil. own must not change any more:
// files of linkFrom bytes and more become further links of theirs where dst is
// on the same file system. All attributes, times and groups of hard links stay;
// whiteouts and opaque directories only where below has something to hide.
// Nothing is synced. After an error, a part may be in dst.
func Merge(ctx context.Context, dst string, own []string, below *Stack) error {
	if len(own) == 0 {
		return errors.New("merge layers: there are none")
	}
	s, err := OpenStack(own...)
	if err != nil {
		return err
	}
	defer s.Close()
	to, err := openLayer(dst)
	if err != nil {
		return err
	}
	defer to.close()
	m := &merger{copier: copier{ctx: ctx}, to: to, links: map[id]string{}}
	if err := m.whole(s, below); err != nil {
		return fmt.Errorf("merge %d layers into %s: %w", len(own), dst, err)
	}
	return nil
}

// merger is one Merge under way.
type merger struct {
	copier copier
	to     *layer
	levels levels
	links  map[id]string // where a file with several names went
}

func (m *merger) whole(own, below *Stack) error {
	a, err := root(own.layers)
	if err != nil {
		return err
	}
	defer closeNode(&a)
	var b node
	if below != nil {
		if b, err = root(below.layers); err != nil {
			return err
		}
	}
	top := newPart(m.to, "")
	defer top.close()
	if err := top.list(); err != nil {
		return err
	}
	if len(top.names) > 0 {
		return fmt.Errorf("it has %q in it: %w", top.names[0], unix.ENOTEMPTY)
	}
	return m.dir(&a, &b, top)
}

// dir fills a directory and then dresses it.
func (m *merger) dir(own, below *node, to *part) error {
	m.levels.enter(append(append([]*part{to}, own.parts...), below.parts...)...)
	defer m.levels.leave()
	names, err := listAll(own.parts)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := m.copier.ctx.Err(); err != nil {
			return err
		}
		if err := m.name(own, below, to, name); err != nil {
			return fmt.Errorf("/%s: %w", join(to.path, name), err)
		}
	}
	fd, err := to.open()
	if err != nil {
		return err
	}
	from, err := own.parts[0].open()
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return err
	}
	return dress(place{dir: fd, name: "."}, place{dir: from, name: "."}, &st)
}

// name makes what the layers show under a name.
func (m *merger) name(own, under *node, to *part, name string) error {
	n, err := child(own.parts, name)
	if err != nil {
		return err
	}
	b, err := child(under.parts, name)
	if err != nil {
		return err
	}
	dst, err := to.open()
	if err != nil {
		return err
	}
	switch {
	case n.isDir():
		return m.enter(&n, &b, to, name)
	case n.exists():
		return m.file(&n, to, name)
	case n.closed && b.exists():
		return unix.Mknodat(dst, name, unix.S_IFCHR, 0)
	}
	return nil
}

// enter makes a directory with what is in it.
func (m *merger) enter(n, b *node, to *part, name string) error {
	if err := unix.Mkdirat(to.fd, name, 0o700); err != nil {
		return err
	}
	if n.closed {
		if b.isDir() {
			if err := unix.Lsetxattr(procPath(to.fd, name), xattrOpaque, []byte{'y'}, 0); err != nil {
				return err
			}
		}
		b = &node{}
	}
	return m.dir(n, b, newPart(m.to, join(to.path, name)))
}

// file makes any entry but a directory, or a link to one that was made before.
func (m *merger) file(n *node, to *part, name string) error {
	from, err := n.in.open()
	if err != nil {
		return err
	}
	if n.isFile() && n.st.Size >= linkFrom {
		err := unix.Linkat(from, name, to.fd, name, 0)
		if !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.EMLINK) && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	if n.st.Nlink > 1 {
		if first, ok := m.links[idOf(&n.st)]; ok {
			if err := linkAt(m.to, first, to.fd, name); !errors.Is(err, unix.EMLINK) {
				return err
			}
		}
		m.links[idOf(&n.st)] = join(to.path, name)
	}
	src, dst := place{dir: from, name: name}, place{dir: to.fd, name: name}
	if n.isFile() {
		return m.copier.file(dst, src, &n.st)
	}
	return copySpecial(dst, src, &n.st)
}

// linkAt makes a further name of what is at a path of a layer.
func linkAt(l *layer, path string, dir int, name string) error {
	parent, base := "", path
	if at := strings.LastIndexByte(path, '/'); at >= 0 {
		parent, base = path[:at], path[at+1:]
	}
	fd, err := l.openDir(parent)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Linkat(fd, base, dir, name, 0)
}
