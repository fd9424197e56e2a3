package layers

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ReadOptions bounds ReadTar.
type ReadOptions struct {
	Prefix string // that WriteTar has put before the names
	// MaxBytes of content and attributes, as they are unpacked, and MaxEntries.
	// Both must be given: 0 is none.
	MaxBytes   int64
	MaxEntries int
	// Devices allows character and block devices; else only the number 0:0, which
	// is no device's. In a bot's data they would be the host's.
	Devices bool
	// Layer: it is the tar of a layer, and dst becomes that layer: .wh. files are
	// whiteouts and opaque directories. Attributes of overlayfs are refused.
	Layer bool
}

// keptMax is the most bytes of the names and attributes of directories, which are
// in memory until the end.
const keptMax = 256 << 20

// ReadTar unpacks what WriteTar wrote into the empty directory dst. Names that are absolute, have "..", lead through symbolic links
// or are not below the prefix, hard links to what is not in it, an entry twice
// and anything too large are refused: ErrTar, ErrLimit. Attributes that the file
// system does not have are an error. Nothing is synced. After an error, a part
// may be in dst.
//
// containerd's archive.Apply is not used for it: it follows symbolic links within
// the directory, takes "..", replaces entries and has no bounds.
func ReadTar(ctx context.Context, r io.Reader, dst string, o ReadOptions) error {
	l, err := openLayer(dst)
	if err != nil {
		return err
	}
	defer l.close()
	o.Prefix = strings.Trim(path.Clean("/"+o.Prefix), "/")
	t := &tarReader{ctx: ctx, o: o, tr: tar.NewReader(r), to: l, fd: -1, dirs: map[string]attributes{}, opaque: map[string]bool{}}
	defer t.close()
	if err := t.whole(); err != nil {
		return fmt.Errorf("unpack tar: %w", err)
	}
	return nil
}

type tarReader struct {
	ctx     context.Context
	o       ReadOptions
	tr      *tar.Reader
	to      *layer
	entries int
	bytes   int64
	dirs    map[string]attributes // given when all is in place
	kept    int                   // bytes of dirs
	opaque  map[string]bool       // directories of a layer
	buf     []byte

	fd     int // of the directory at parent, -1 if none is open
	parent string
}

func (t *tarReader) close() {
	if t.fd >= 0 {
		unix.Close(t.fd)
		t.fd = -1
	}
}

func (t *tarReader) whole() error {
	for {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		h, err := t.tr.Next()
		if errors.Is(err, io.EOF) {
			return t.finish()
		}
		if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: %w", ErrTar, err)
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := t.entry(h); err != nil {
			return fmt.Errorf("%.200q: %w", h.Name, err)
		}
	}
}

// count takes an entry into account before anything is made of it.
func (t *tarReader) count(h *tar.Header) error {
	size := h.Size + int64(len(h.Name)+len(h.Linkname))
	for k, v := range h.PAXRecords {
		size += int64(len(k) + len(v))
	}
	if t.entries++; t.entries > t.o.MaxEntries {
		return fmt.Errorf("%w: more than %d entries", ErrLimit, t.o.MaxEntries)
	}
	if size < 0 || size > t.o.MaxBytes-t.bytes {
		return fmt.Errorf("%w: more than %d bytes", ErrLimit, t.o.MaxBytes)
	}
	t.bytes += size
	return nil
}

func (t *tarReader) entry(h *tar.Header) error {
	if err := t.count(h); err != nil {
		return err
	}
	if t.o.Layer && strings.HasPrefix(path.Base(h.Name), whiteoutPrefix) {
		return t.sign(h)
	}
	at, above, err := tarPath(h.Name, t.o.Prefix)
	if err != nil || above && h.Typeflag == tar.TypeDir {
		return err
	}
	a, err := t.attributes(h)
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		_, had := t.dirs[at]
		if err := t.mkdir(at); err != nil && !(had && errors.Is(err, unix.EEXIST)) {
			return err
		}
		return t.keep(at, a)
	}
	if at == "" {
		return fmt.Errorf("%w: the top is no directory", ErrTar)
	}
	parent, name := split(at)
	if err := t.enter(parent); err != nil {
		return err
	}
	return t.make(h, place{dir: t.fd, name: name}, a)
}

// keep notes what a directory gets at the end.
func (t *tarReader) keep(dir string, a attributes) error {
	t.kept += len(dir)
	for _, x := range a.xattrs {
		t.kept += len(x.name) + len(x.value)
	}
	if t.kept > keptMax {
		return fmt.Errorf("%w: directories with more than %d bytes of names and attributes", ErrLimit, keptMax)
	}
	t.dirs[dir] = a
	return nil
}

// sign makes what a .wh. file of a layer stands for.
func (t *tarReader) sign(h *tar.Header) error {
	dir, base := path.Split(h.Name)
	if base == whiteoutOpaque {
		at, above, err := tarPath(dir, t.o.Prefix)
		if err == nil && (above || at == "") {
			err = fmt.Errorf("%w: the top cannot be opaque", ErrTar)
		}
		if err == nil {
			err = t.enter(at)
		}
		t.opaque[at] = true
		return err
	}
	hidden := strings.TrimPrefix(base, whiteoutPrefix)
	at, above, err := tarPath(dir+hidden, t.o.Prefix)
	if err == nil && (above || hidden == "" || h.Typeflag != tar.TypeReg) {
		err = fmt.Errorf("%w: it deletes nothing that can be", ErrTar)
	}
	if err != nil {
		return err
	}
	parent, name := split(at)
	if err := t.enter(parent); err != nil {
		return err
	}
	return t.made(unix.Mknodat(t.fd, name, unix.S_IFCHR, 0))
}

// enter opens the directory in which something comes, and makes it if need be.
func (t *tarReader) enter(dir string) error {
	if t.fd >= 0 && t.parent == dir {
		return nil
	}
	t.close()
	fd, err := t.to.openDir(dir)
	if errors.Is(err, unix.ENOENT) && dir != "" {
		if err := t.mkdir(dir); err != nil {
			return err
		}
		if t.entries++; t.entries > t.o.MaxEntries {
			return fmt.Errorf("%w: more than %d entries", ErrLimit, t.o.MaxEntries)
		}
		omit := unix.Timespec{Nsec: unix.UTIME_OMIT}
		if err := t.keep(dir, attributes{mode: 0o755, times: [2]unix.Timespec{omit, omit}}); err != nil {
			return err
		}
		return t.enter(dir)
	}
	if gone(err) {
		return fmt.Errorf("%w: %.200q is no directory: %w", ErrTar, dir, err)
	}
	if err != nil {
		return err
	}
	t.fd, t.parent = fd, dir
	return nil
}

// mkdir makes a directory that only root can enter until all is in place.
func (t *tarReader) mkdir(at string) error {
	if at == "" {
		return nil
	}
	parent, name := split(at)
	if err := t.enter(parent); err != nil {
		return err
	}
	return t.made(unix.Mkdirat(t.fd, name, 0o700))
}

// made: a name that is there already came before in the tar.
func (t *tarReader) made(err error) error {
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: it is there twice: %w", ErrTar, err)
	}
	return err
}

func split(at string) (dir, name string) {
	i := strings.LastIndexByte(at, '/')
	return at[:max(i, 0)], at[i+1:]
}

// make makes any entry but a directory.
func (t *tarReader) make(h *tar.Header, to place, a attributes) error {
	var err error
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		a.mode |= unix.S_IFREG
		err = t.file(h, to)
	case tar.TypeLink:
		return t.link(h, to)
	case tar.TypeSymlink:
		a.mode |= unix.S_IFLNK
		err = unix.Symlinkat(h.Linkname, to.dir, to.name)
	case tar.TypeFifo:
		err = unix.Mknodat(to.dir, to.name, unix.S_IFIFO|0o600, 0)
	case tar.TypeChar, tar.TypeBlock:
		err = t.device(h, to)
	default:
		err = fmt.Errorf("%w: unknown type %q", ErrTar, h.Typeflag)
	}
	if err != nil {
		return t.made(err)
	}
	return a.give(to)
}

func (t *tarReader) device(h *tar.Header, to place) error {
	kind := uint32(unix.S_IFCHR)
	if h.Typeflag == tar.TypeBlock {
		kind = unix.S_IFBLK
	}
	if h.Devmajor < 0 || h.Devmajor > math.MaxUint32 || h.Devminor < 0 || h.Devminor > math.MaxUint32 {
		return fmt.Errorf("%w: device %d:%d", ErrTar, h.Devmajor, h.Devminor)
	}
	dev := unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
	if dev != 0 && !t.o.Devices {
		return fmt.Errorf("%w: it is a device, %d:%d; devices are not taken", ErrTar, h.Devmajor, h.Devminor)
	}
	return unix.Mknodat(to.dir, to.name, kind|0o600, int(dev))
}

// link makes a further name of an entry that came before.
func (t *tarReader) link(h *tar.Header, to place) error {
	first, above, err := tarPath(h.Linkname, t.o.Prefix)
	if err == nil && (above || first == "") {
		err = fmt.Errorf("%w: link to %.200q", ErrTar, h.Linkname)
	}
	if err != nil {
		return err
	}
	err = linkAt(t.to, first, to.dir, to.name)
	if gone(err) || errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: link to %.200q, which is no file in it: %w", ErrTar, h.Linkname, err)
	}
	return t.made(err)
}

// file writes the content; blocks of zeros become holes.
func (t *tarReader) file(h *tar.Header, to place) error {
	fd, err := openAt(to.dir, to.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if t.buf == nil {
		t.buf = make([]byte, compareBlock)
	}
	for at := int64(0); at < h.Size; {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		b := t.buf[:min(h.Size-at, compareBlock)]
		if _, err := io.ReadFull(t.tr, b); err != nil {
			return err
		}
		if err := writeSparse(fd, b, at); err != nil {
			return err
		}
		at += int64(len(b))
	}
	return unix.Ftruncate(fd, h.Size)
}

// holeSize is what a block of zeros must have to become a hole: a block of most
// file systems.
const holeSize = 4 << 10

var zeros [holeSize]byte

// writeSparse writes what is not zeros.
func writeSparse(fd int, b []byte, at int64) error {
	for len(b) > 0 {
		n := 0
		for n < len(b) && !isHole(b[n:]) {
			n = min(n+holeSize, len(b))
		}
		if err := writeAll(fd, b[:n], at); err != nil {
			return err
		}
		for n < len(b) && isHole(b[n:]) {
			n += holeSize
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

func isHole(b []byte) bool { return len(b) >= holeSize && bytes.Equal(b[:holeSize], zeros[:]) }

// finish gives the directories their attributes, the innermost first: what is
// made in one changes its times, and inherits its access list.
func (t *tarReader) finish() error {
	t.close()
	all := make([]string, 0, len(t.dirs))
	for at := range t.dirs {
		all = append(all, at)
	}
	slices.Sort(all)
	slices.Reverse(all)
	for _, at := range all {
		fd, err := t.to.openDir(at)
		if err != nil {
			return fmt.Errorf("%.200q: %w", at, err)
		}
		a := t.dirs[at]
		if t.opaque[at] {
			a.xattrs = append(a.xattrs, xattr{xattrOpaque, []byte{'y'}})
		}
		err = a.give(place{dir: fd, name: "."})
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("%.200q: %w", at, err)
		}
	}
	return nil
}

// attributes takes them out of a header, and refuses what would be a sign to
// overlayfs.
func (t *tarReader) attributes(h *tar.Header) (attributes, error) {
	a, err := attributesOf(h)
	for _, x := range a.xattrs {
		if t.o.Layer && ofOverlay(x.name) {
			return a, fmt.Errorf("%w: attribute %.300q", ErrTar, x.name)
		}
	}
	return a, err
}

// attributesOf takes them out of a header.
func attributesOf(h *tar.Header) (attributes, error) {
	const idMax = math.MaxUint32 - 1 // the last means none
	if h.Uid < 0 || h.Uid > idMax || h.Gid < 0 || h.Gid > idMax {
		return attributes{}, fmt.Errorf("%w: owner %d:%d", ErrTar, h.Uid, h.Gid)
	}
	a := attributes{uid: uint32(h.Uid), gid: uint32(h.Gid), mode: uint32(h.Mode) & 0o7777}
	a.times = [2]unix.Timespec{timespec(h.ModTime), timespec(h.ModTime)}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, xattrRecord); ok {
			if name == "" || len(name) > nameMax || len(value) > xattrMax || strings.IndexByte(name, 0) >= 0 {
				return attributes{}, fmt.Errorf("%w: attribute %.300q of %d bytes", ErrTar, name, len(value))
			}
			a.xattrs = append(a.xattrs, xattr{name, []byte(value)})
		}
	}
	slices.SortFunc(a.xattrs, func(a, b xattr) int { return strings.Compare(a.name, b.name) })
	return a, nil
}

func timespec(t time.Time) unix.Timespec {
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}
