package copier

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math"
	"strings"

	"golang.org/x/sys/unix"
)

// A Record is what every file of the source was when it was copied: inode, ctime,
// size, mtime and mode, and whether it is doubtful. It does not change. In memory
// it takes 48 bytes a file and the bytes of its name; in a file about 12 and the
// name.
type Record struct {
	self entry
	root *node
}

const (
	// recordMagic begins a record; its last byte is the version.
	recordMagic = "moorage record\x01"
	// maxRecorded is the most files of a record that is read.
	maxRecorded = 1 << 26
	maxName     = 255
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Unchanged tells whether the file at path, relative to the source's root, is by
// st what it was when it was copied, and could not have changed without a trace.
func (r *Record) Unchanged(path string, st *unix.Stat_t) bool {
	e, n := &r.self, r.root
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." {
			continue
		}
		if n == nil {
			return false
		}
		if e = n.at(name); e == nil {
			return false
		}
		n = n.sub(e)
	}
	now := entry{ino: st.Ino, mode: uint16(st.Mode), ctime: nanos(st.Ctim), mtime: nanos(st.Mtim), size: st.Size}
	return now.same(e)
}

// WriteTo writes the record in the form that ReadRecord reads:
//
//	magic and version, the root's entry, its node, CRC-32C of all before (4 bytes, little endian)
//	node:  uvarint number of entries, the entries sorted by name, the nodes of the directories among them in order
//	entry: byte 1 if doubtful, uvarint length and name, uvarint mode, varint inode less that before,
//	       varint ctime less that before, varint mtime less ctime, uvarint size of what is no directory
func (r *Record) WriteTo(w io.Writer) (int64, error) {
	e := &recordWriter{sum: crc32.New(castagnoli)}
	buffered := bufio.NewWriter(w)
	e.w = io.MultiWriter(buffered, e.sum)
	e.bytes([]byte(recordMagic))
	e.entry("", &r.self)
	for nodes := []*node{r.root}; len(nodes) > 0 && e.err == nil; {
		n := nodes[len(nodes)-1]
		nodes = nodes[:len(nodes)-1]
		nodes = e.node(n, nodes)
	}
	e.w = buffered
	e.bytes(binary.LittleEndian.AppendUint32(nil, e.sum.Sum32()))
	if e.err == nil {
		e.err = buffered.Flush()
	}
	if e.err != nil {
		return e.n, fmt.Errorf("write record of a copy: %w", e.err)
	}
	return e.n, nil
}

type recordWriter struct {
	w    io.Writer
	sum  hash.Hash32
	n    int64
	err  error
	last entry
	buf  []byte
}

func (e *recordWriter) bytes(b []byte) {
	if e.err == nil {
		var n int
		n, e.err = e.w.Write(b)
		e.n += int64(n)
	}
}

// node writes a node and returns nodes with those that come next on top.
func (e *recordWriter) node(n *node, nodes []*node) []*node {
	count := 0
	for i := range n.entries {
		if !n.entries[i].is(absent) {
			count++
		}
	}
	e.bytes(binary.AppendUvarint(e.buf[:0], uint64(count)))
	var subs []*node
	for i := range n.entries {
		if x := &n.entries[i]; !x.is(absent) {
			e.entry(n.name(i), x)
			if x.isDir() {
				subs = append(subs, n.sub(x))
			}
		}
	}
	for i := len(subs) - 1; i >= 0; i-- {
		nodes = append(nodes, subs[i])
	}
	return nodes
}

func (e *recordWriter) entry(name string, x *entry) {
	b := append(e.buf[:0], byte(x.flags&doubtful))
	b = binary.AppendUvarint(b, uint64(len(name)))
	b = append(b, name...)
	b = binary.AppendUvarint(b, uint64(x.mode))
	b = binary.AppendVarint(b, int64(x.ino-e.last.ino))
	b = binary.AppendVarint(b, x.ctime-e.last.ctime)
	b = binary.AppendVarint(b, x.mtime-x.ctime)
	if !x.isDir() {
		b = binary.AppendUvarint(b, uint64(x.size))
	}
	e.last, e.buf = *x, b
	e.bytes(b)
}

// ReadRecord reads what WriteTo wrote; it may read on beyond the end. What is not a whole and
// undamaged record is an error that wraps ErrRecord. It takes memory only for what
// was read, at most 2^26 files.
func ReadRecord(r io.Reader) (*Record, error) {
	d := &recordReader{r: bufio.NewReader(r), sum: crc32.New(castagnoli)}
	record, err := d.record()
	if err == nil {
		return record, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return nil, fmt.Errorf("read record of a copy: %w: %w", ErrRecord, err)
}

type recordReader struct {
	r     *bufio.Reader
	sum   hash.Hash32
	last  entry
	count int
	one   [1]byte
}

// ReadByte reads a byte and sums it up.
func (d *recordReader) ReadByte() (byte, error) {
	b, err := d.r.ReadByte()
	if err == nil {
		d.one[0] = b
		d.sum.Write(d.one[:])
	}
	return b, err
}

func (d *recordReader) bytes(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(d.r, b); err != nil {
		return nil, err
	}
	d.sum.Write(b)
	return b, nil
}

func (d *recordReader) record() (*Record, error) {
	magic, err := d.bytes(len(recordMagic))
	if err != nil {
		return nil, err
	}
	if string(magic) != recordMagic {
		return nil, fmt.Errorf("it begins with %q, not %q", magic, recordMagic)
	}
	rec := &Record{root: &node{}}
	name, err := d.entry(&rec.self)
	if err != nil {
		return nil, err
	}
	if name != "" || !rec.self.isDir() {
		return nil, fmt.Errorf("the root %q is not a directory without a name", name)
	}
	for nodes := []*node{rec.root}; len(nodes) > 0; {
		n := nodes[len(nodes)-1]
		nodes = nodes[:len(nodes)-1]
		if err := d.node(n); err != nil {
			return nil, err
		}
		for i := len(n.subs) - 1; i >= 0; i-- {
			nodes = append(nodes, n.subs[i])
		}
	}
	want := d.sum.Sum32()
	sum, err := d.bytes(4)
	if err != nil {
		return nil, err
	}
	if got := binary.LittleEndian.Uint32(sum); got != want {
		return nil, fmt.Errorf("its checksum is %08x, not %08x", got, want)
	}
	return rec, nil
}

// node reads the entries of a node and makes its subs, empty.
func (d *recordReader) node(n *node) error {
	count, err := binary.ReadUvarint(d)
	if err != nil {
		return err
	}
	if count > uint64(maxRecorded-d.count) {
		return fmt.Errorf("it has more than %d files", maxRecorded)
	}
	d.count += int(count)
	var names []byte
	last := ""
	for range count {
		var e entry
		name, err := d.entry(&e)
		if err != nil {
			return err
		}
		if name <= last || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return fmt.Errorf("the name %q after %q cannot be", name, last)
		}
		last = name
		names = append(names, name...)
		if len(names) > math.MaxUint32 {
			return unix.EFBIG
		}
		e.end = uint32(len(names))
		if e.isDir() {
			e.size = int64(len(n.subs))
			n.subs = append(n.subs, &node{})
		}
		n.entries = append(n.entries, e)
	}
	n.names = string(names)
	return nil
}

func (d *recordReader) entry(e *entry) (string, error) {
	flags, err := d.ReadByte()
	if err != nil {
		return "", err
	}
	size, err := binary.ReadUvarint(d)
	if err != nil {
		return "", err
	}
	if flags > 1 || size > maxName {
		return "", fmt.Errorf("an entry has the flags %#x and a name of %d bytes", flags, size)
	}
	name, err := d.bytes(int(size))
	if err != nil {
		return "", err
	}
	mode, err := binary.ReadUvarint(d)
	if err != nil {
		return "", err
	}
	if mode > math.MaxUint16 {
		return "", fmt.Errorf("the mode of %q is %#o", name, mode)
	}
	e.flags, e.mode = uint16(flags)*doubtful, uint16(mode)
	if err := d.numbers(e); err != nil {
		return "", err
	}
	d.last = *e
	return string(name), nil
}

func (d *recordReader) numbers(e *entry) error {
	var diff [3]int64
	for i := range diff {
		var err error
		if diff[i], err = binary.ReadVarint(d); err != nil {
			return err
		}
	}
	e.ino = d.last.ino + uint64(diff[0])
	e.ctime = d.last.ctime + diff[1]
	e.mtime = e.ctime + diff[2]
	if e.isDir() {
		return nil
	}
	size, err := binary.ReadUvarint(d)
	e.size = int64(size)
	return err
}
