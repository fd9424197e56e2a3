package layers

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// TarOptions is how WriteTar writes.
type TarOptions struct {
	// Prefix is put before all names, and gets an entry of its own: the top
	// directory. "data" or "a/b".
	Prefix string
	// Plain: the directory is no layer; see OpenPlain.
	Plain bool
	// Top: the attributes of the top directory are in it too, as those of "./".
	// Most who apply layers ignore that; ReadTar does not. Plain and Prefix have it
	// anyway.
	Top bool
	// Skipped is told what a tar cannot have: sockets; names that begin with
	// ".wh.", which would delete others; attributes with "=" in their names. Nil:
	// sockets are left out, for the others it is an error. Where a layer has a
	// socket, its tar has a whiteout.
	Skipped func(path, reason string)
}

// WriteTar writes a layer as an OCI layer tar: whiteouts and opaque directories
// as .wh. files, in PAX format with nanoseconds, extended attributes but those of
// overlayfs, numeric owners, hard links, devices, FIFOs. The same layer gives the
// same bytes, a name sorted before another comes before it. The attributes of
// the top directory are in it only with Prefix, Plain or Top. Holes of files are written as zeros. The layer must not
// change meanwhile.
//
// containerd's pkg/archive is not used for it: it cuts times to seconds, of
// extended attributes it takes capabilities only, and it reads by path.
func WriteTar(ctx context.Context, w io.Writer, dir string, o TarOptions) error {
	s, err := OpenStack(dir)
	if err != nil {
		return err
	}
	defer s.Close()
	s.layers[0].plain = o.Plain
	o.Prefix = strings.Trim(path.Clean("/"+o.Prefix), "/")
	t := &tarWriter{ctx: ctx, o: o, tw: tar.NewWriter(w), links: map[id]string{}}
	top, err := root(s.layers)
	if err != nil {
		return err
	}
	if err := t.whole(&top); err != nil {
		return fmt.Errorf("archive %s: %w", dir, err)
	}
	return nil
}

type tarWriter struct {
	ctx    context.Context
	o      TarOptions
	tw     *tar.Writer
	levels levels
	links  map[id]string // names of files that have several
	buf    []byte
}

func (t *tarWriter) whole(top *node) error {
	p := top.parts[0]
	defer p.close()
	if t.o.Plain || t.o.Top || t.o.Prefix != "" {
		if _, err := p.open(); err != nil {
			return err
		}
		if err := t.entry(p, ".", &top.st); err != nil {
			return err
		}
	}
	if err := t.dir(p); err != nil {
		return err
	}
	return t.tw.Close()
}

func (t *tarWriter) dir(p *part) error {
	t.levels.enter(p)
	defer t.levels.leave()
	if err := p.list(); err != nil {
		return err
	}
	for _, name := range p.names {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		st, kind, err := p.look(name)
		if err == nil {
			err = t.name(p, name, &st, kind)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tarWriter) name(p *part, name string, st *unix.Stat_t, kind int) error {
	at := join(p.path, name)
	if strings.HasPrefix(name, whiteoutPrefix) {
		return t.skip(at, "its name begins with "+whiteoutPrefix+", which in an image's layer deletes what it names")
	}
	if kind == lookNothing {
		return fmt.Errorf("/%s: it went away meanwhile: %w", at, unix.ESTALE)
	}
	if kind == lookWhiteout {
		return t.marker(join(p.path, whiteoutPrefix+name))
	}
	if err := t.entry(p, name, st); err != nil {
		return fmt.Errorf("/%s: %w", at, err)
	}
	if kind != lookDir && kind != lookOpaque {
		return nil
	}
	if kind == lookOpaque {
		if err := t.marker(join(at, whiteoutOpaque)); err != nil {
			return err
		}
	}
	if err := checkPath(at); err != nil {
		return err
	}
	return t.dir(newPart(p.layer, at))
}

// skip tells that something is left out, or that it cannot be.
func (t *tarWriter) skip(at, reason string) error {
	if t.o.Skipped == nil {
		return fmt.Errorf("/%s: %w: %s", at, ErrUnsupported, reason)
	}
	t.o.Skipped(at, reason)
	return nil
}

// marker writes an empty file whose name says something.
func (t *tarWriter) marker(name string) error {
	return t.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: join(t.o.Prefix, name), Mode: 0o600, Format: tar.FormatPAX})
}

// entry writes one node with its content.
func (t *tarWriter) entry(p *part, name string, st *unix.Stat_t) error {
	dir, err := p.open()
	if err != nil {
		return err
	}
	at := p.path
	if name != "." {
		at = join(p.path, name)
	}
	h := &tar.Header{
		Name: join(t.o.Prefix, at), Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: time.Unix(st.Mtim.Unix()), Format: tar.FormatPAX, PAXRecords: map[string]string{},
	}
	if at == "" {
		h.Name = join(t.o.Prefix, "")
		h.Name = strings.TrimSuffix(h.Name, "/")
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		if t.o.Skipped != nil {
			t.o.Skipped(at, "it is a socket")
		}
		if !t.o.Plain { // what it hides stays hidden
			return t.marker(join(p.path, whiteoutPrefix+name))
		}
		return nil
	case unix.S_IFDIR:
		h.Typeflag = tar.TypeDir
		if h.Name += "/"; h.Name == "/" {
			h.Name = "./"
		}
	default:
		if t.linked(h, st) {
			return t.tw.WriteHeader(h)
		}
		if err := describe(h, dir, name, st); err != nil {
			return err
		}
	}
	if err := t.attributes(h, dir, name, at); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeReg {
		return t.file(h, &node{in: p, name: name})
	}
	return t.tw.WriteHeader(h)
}

// linked makes it a link to a file that was written before, if it was.
func (t *tarWriter) linked(h *tar.Header, st *unix.Stat_t) bool {
	if st.Nlink < 2 {
		return false
	}
	first, ok := t.links[idOf(st)]
	if ok {
		h.Typeflag, h.Linkname = tar.TypeLink, first
	} else {
		t.links[idOf(st)] = h.Name
	}
	return ok
}

// describe adds what belongs to the type.
func describe(h *tar.Header, dir int, name string, st *unix.Stat_t) (err error) {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		h.Typeflag, h.Size = tar.TypeReg, st.Size
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
		h.Linkname, err = readLink(dir, name)
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFCHR:
		h.Typeflag = tar.TypeChar
	case unix.S_IFBLK:
		h.Typeflag = tar.TypeBlock
	}
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
		h.Devmajor, h.Devminor = int64(unix.Major(uint64(st.Rdev))), int64(unix.Minor(uint64(st.Rdev)))
	}
	return err
}

func (t *tarWriter) attributes(h *tar.Header, dir int, name, at string) error {
	all, err := xattrs(dir, name, t.o.Plain)
	if err != nil {
		return err
	}
	for _, x := range all {
		if strings.Contains(x.name, "=") {
			if err := t.skip(at, fmt.Sprintf("its attribute %q has = in its name", x.name)); err != nil {
				return err
			}
			continue
		}
		h.PAXRecords[xattrRecord+x.name] = string(x.value)
	}
	return nil
}

func (t *tarWriter) file(h *tar.Header, n *node) error {
	fd, err := n.openFile()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := t.tw.WriteHeader(h); err != nil {
		return err
	}
	if t.buf == nil {
		t.buf = make([]byte, compareBlock)
	}
	for at := int64(0); at < h.Size; {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		b, err := readAt(fd, t.buf[:min(h.Size-at, compareBlock)], at)
		if err == nil && len(b) == 0 {
			err = errors.New("it has become shorter meanwhile")
		}
		if err != nil {
			return err
		}
		if _, err := t.tw.Write(b); err != nil {
			return err
		}
		at += int64(len(b))
	}
	return nil
}
