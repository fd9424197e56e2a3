package fsbridge

import (
	"encoding/binary"
	"errors"
	"slices"
)

// The matches of a Grep cross the wire as data, as the entries of a list do. Each
// is, one after the other:
//
//	byte    flags: 1 context, 2 cut, 4 a path follows; without, it is the last one's
//	uvarint length of the path, the path
//	uvarint line
//	uvarint count
//	uvarint length of the text, the text
const (
	matchContext = 1 << iota
	matchCut
	matchPath
)

// MatchMax is the most bytes that a match takes beside its path and text.
const MatchMax = 1 + 4*binary.MaxVarintLen64

// matchMin is the least bytes that a match takes.
const matchMin = 4

// AppendMatches appends matches in their wire form.
func AppendMatches(b []byte, matches []Match) []byte {
	var last Path
	for i := range matches {
		b = appendMatch(b, &matches[i], last)
		last = matches[i].Path
	}
	return b
}

func appendMatch(b []byte, m *Match, last Path) []byte {
	var flags byte
	if m.Context {
		flags |= matchContext
	}
	if m.Cut {
		flags |= matchCut
	}
	if m.Path != last {
		flags |= matchPath
	}
	b = append(b, flags)
	if m.Path != last {
		b = appendText(b, string(m.Path))
	}
	b = binary.AppendUvarint(b, uint64(m.Line))
	b = binary.AppendUvarint(b, uint64(m.Count))
	b = binary.AppendUvarint(b, uint64(len(m.Text)))
	return append(b, m.Text...)
}

var errMatches = errors.New("the matches of a search are cut or malformed")

// ParseMatches reads count matches that must fill b. Their texts are parts of b.
func ParseMatches(b []byte, count int) ([]Match, error) {
	if count < 0 || count > len(b)/matchMin {
		return nil, errMatches
	}
	matches := make([]Match, count)
	p := entryParser{b: b}
	var last Path
	for i := range matches {
		p.match(&matches[i], last)
		last = matches[i].Path
	}
	if p.bad || len(p.b) > 0 {
		return nil, errMatches
	}
	return matches, nil
}

func (p *entryParser) match(m *Match, last Path) {
	flags := p.bytes(1)
	if len(flags) < 1 || flags[0] > matchContext|matchCut|matchPath {
		p.bad, p.b = true, nil
		return
	}
	m.Context, m.Cut, m.Path = flags[0]&matchContext != 0, flags[0]&matchCut != 0, last
	if flags[0]&matchPath != 0 {
		m.Path = Path(p.bytes(int(p.uint(maxPath))))
		p.bad = p.bad || m.Path == last
	}
	m.Line = int64(p.uint(1<<63 - 1))
	m.Count = int64(p.uint(1<<63 - 1))
	n := int(p.uint(LineMax))
	m.Text = slices.Clip(p.bytes(n))
}
