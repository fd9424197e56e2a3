package fsbridge

import (
	"encoding/binary"
	"errors"
	"time"
)

// A listing's entries cross the wire as data, not as JSON: a page of them is
// most of what a busy server would decode. Each entry is, one after the other:
//
//	uvarint length of the name, the name
//	byte    type, an index into entryTypes
//	byte    1 if omitted, else 0
//	uvarint mode
//	uvarint size
//	varint  seconds, uvarint nanoseconds of the time of its last change
//	uvarint length of the target, the target
//	uvarint children
var entryTypes = []string{
	TypeFile, TypeDirectory, TypeSymlink, TypeFIFO, TypeSocket, TypeCharDevice, TypeBlockDevice,
}

// EntryMax is the most bytes that an entry takes beside its name and target.
const EntryMax = 2 + 7*binary.MaxVarintLen64

// AppendEntries appends entries in their wire form.
func AppendEntries(b []byte, entries []Entry) []byte {
	for i := range entries {
		b = appendEntry(b, &entries[i])
	}
	return b
}

func appendEntry(b []byte, e *Entry) []byte {
	b = appendText(b, string(e.Name))
	b = append(b, typeIndex(e.Type), 0)
	if e.Omitted {
		b[len(b)-1] = 1
	}
	b = binary.AppendUvarint(b, uint64(e.Mode))
	b = binary.AppendUvarint(b, uint64(e.Size))
	b = binary.AppendVarint(b, e.ModTime.Unix())
	b = binary.AppendUvarint(b, uint64(e.ModTime.Nanosecond()))
	b = appendText(b, string(e.Target))
	return binary.AppendUvarint(b, uint64(e.Children))
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func typeIndex(t string) byte {
	for i, known := range entryTypes {
		if t == known {
			return byte(i)
		}
	}
	return 0xff
}

var errEntries = errors.New("the entries of a listing are cut or malformed")

// ParseEntries reads count entries that must fill b.
func ParseEntries(b []byte, count int) ([]Entry, error) {
	if count < 0 || count > ListMax {
		return nil, errEntries
	}
	entries := make([]Entry, count)
	p := entryParser{b: b, all: string(b)}
	for i := range entries {
		p.entry(&entries[i])
	}
	if p.bad || len(p.b) > 0 {
		return nil, errEntries
	}
	return entries, nil
}

// entryParser takes fields off the front of b. After a field that is not there
// it is bad, and all fields are zero.
type entryParser struct {
	b   []byte
	all string // of which b is the end; texts are parts of it
	bad bool
}

func (p *entryParser) entry(e *Entry) {
	e.Name = p.text(int(p.uint(maxPath)))
	fixed := p.bytes(2)
	if len(fixed) < 2 || int(fixed[0]) >= len(entryTypes) || fixed[1] > 1 {
		p.bad, p.b = true, nil
		return
	}
	e.Type, e.Omitted = entryTypes[fixed[0]], fixed[1] == 1
	e.Mode = uint32(p.uint(0o7777))
	e.Size = int64(p.uint(1<<63 - 1))
	seconds, n := binary.Varint(p.b)
	p.skip(n)
	e.ModTime = time.Unix(seconds, int64(p.uint(999_999_999))).UTC()
	e.Target = p.text(int(p.uint(maxPath)))
	e.Children = int(p.uint(1<<31 - 1))
}

func (p *entryParser) uint(most uint64) uint64 {
	v, n := binary.Uvarint(p.b)
	p.skip(n)
	if p.bad || v > most {
		p.bad, p.b = true, nil
		return 0
	}
	return v
}

func (p *entryParser) skip(n int) {
	if n <= 0 {
		p.bad, p.b = true, nil
		return
	}
	p.b = p.b[n:]
}

func (p *entryParser) bytes(n int) []byte {
	if n > len(p.b) {
		p.bad, p.b = true, nil
		return nil
	}
	taken := p.b[:n]
	p.b = p.b[n:]
	return taken
}

func (p *entryParser) text(n int) Path {
	from := len(p.all) - len(p.b)
	return Path(p.all[from : from+len(p.bytes(n))])
}
