package text

import (
	"bytes"
	"iter"

	"moorage/fsbridge"
)

// matcher finds the old text of an edit in a content.
type matcher struct {
	content  []byte
	old, new []byte
	hay      []byte // where old is looked for: content, or that with LF for CRLF
	verbatim bool   // new is taken as it is, line ends too
	tail     bool   // old is there only at the end, which has no line end
	main     []byte // the content's dominant line end
}

// newMatcher chooses how old is looked for: as it is if that can be, else with
// LF standing for CRLF too, else without the line end that the last line misses.
// main is the line end of lines that have none to go by.
func newMatcher(content []byte, e *fsbridge.Edit, main []byte) *matcher {
	m := &matcher{content: content, old: []byte(e.Old), new: []byte(e.New), hay: content, verbatim: true, main: main}
	if bytes.HasPrefix(m.old, bom) && len(m.old) > len(bom) && !bytes.HasPrefix(content, bom) {
		m.old, m.new = m.old[len(bom):], bytes.TrimPrefix(m.new, bom)
	}
	hasCRLF, wantsCRLF := bytes.Contains(content, crlf), bytes.Contains(m.old, crlf)
	if bytes.IndexByte(content, '\n') < 0 {
		hasCRLF = bytes.Equal(main, crlf)
	}
	if hasCRLF == wantsCRLF && m.found() {
		return m
	}
	if wantsCRLF {
		m.old, m.new = flatten(m.old), flatten(m.new)
	}
	if hasCRLF {
		m.hay, m.verbatim = flatten(content), false
	}
	if !m.found() {
		m.tryTail()
	}
	return m
}

func (m *matcher) found() bool { return bytes.Contains(m.hay, m.old) }

// tryTail takes "last line\n" for "last line" where that is how the content ends.
func (m *matcher) tryTail() {
	old, ended := bytes.CutSuffix(m.old, lf)
	fresh, kept := bytes.CutSuffix(m.new, lf)
	if bytes.HasSuffix(m.hay, lf) {
		return
	}
	if ended && len(old) > 0 && (kept || len(m.new) == 0) && bytes.HasSuffix(m.hay, old) {
		m.old, m.new, m.tail = old, fresh, true
	}
}

// all yields where in the content old is, from the start on, without overlap.
func (m *matcher) all() iter.Seq2[int, int] {
	return func(yield func(start, end int) bool) {
		if m.tail {
			at := locator{m: m}
			start := at.to(len(m.hay) - len(m.old))
			yield(start, at.to(len(m.hay)))
			return
		}
		at := locator{m: m}
		for from := 0; ; {
			i := bytes.Index(m.hay[from:], m.old)
			if i < 0 {
				return
			}
			start := at.to(from + i)
			from += i + len(m.old)
			if !yield(start, at.to(from)) {
				return
			}
		}
	}
}

// count is how often old is there. One that overlaps itself counts as two.
func (m *matcher) count() int {
	if m.tail {
		return 1
	}
	n := bytes.Count(m.hay, m.old)
	if n != 1 {
		return n
	}
	first := bytes.Index(m.hay, m.old)
	if bytes.Contains(m.hay[first+1:], m.old) {
		n++
	}
	return n
}

// locator turns places in hay, which only grow, into places in the content.
type locator struct {
	m         *matcher
	flat, pos int
}

func (l *locator) to(flat int) int {
	if len(l.m.hay) == len(l.m.content) {
		return flat
	}
	for l.flat < flat {
		i := bytes.IndexByte(l.m.hay[l.flat:flat], '\n')
		if i < 0 {
			l.pos += flat - l.flat
			l.flat = flat
			break
		}
		l.pos += i + 1
		l.flat += i + 1
		if l.m.content[l.pos-1] == '\r' {
			l.pos++
		}
	}
	return l.pos
}

// fresh is the new text for a passage: with the passage's own line ends, lines
// at its beginning and end that stay kept to the byte, or else the content's
// dominant ones.
func (m *matcher) fresh(old []byte) []byte {
	if m.verbatim || bytes.IndexByte(m.new, '\n') < 0 {
		return m.new
	}
	end := m.main
	switch n, all := bytes.Count(old, crlf), bytes.Count(old, lf); {
	case all == 0 || 2*n == all:
	case n == all:
		end = crlf
	case n == 0:
		return m.new
	default:
		end = dominant(old)
	}
	head, middle, tail := common(old, m.new)
	if bytes.Equal(end, crlf) {
		middle = bytes.ReplaceAll(flatten(middle), lf, crlf)
	}
	return bytes.Join([][]byte{head, middle, tail}, nil)
}

// common splits fresh into whole lines that old begins with, in old's bytes, what
// is new, and whole lines that old ends with.
func common(old, fresh []byte) (head, middle, tail []byte) {
	whole := old
	for len(old) > 0 && len(fresh) > 0 {
		a, restA := cutLine(old)
		b, restB := cutLine(fresh)
		if !sameLine(a, b) || len(ending(a)) == 0 {
			break
		}
		old, fresh = restA, restB
	}
	head = whole[:len(whole)-len(old)]
	tailEnd := old
	for len(old) > 0 && len(fresh) > 0 {
		a, b := lineStart(old, len(old)-1), lineStart(fresh, len(fresh)-1)
		if !sameLine(old[a:], fresh[b:]) {
			break
		}
		old, fresh = old[:a], fresh[:b]
	}
	return head, fresh, tailEnd[len(old):]
}

// sameLine compares lines whose ends may be LF or CRLF.
func sameLine(a, b []byte) bool {
	return bytes.Equal(body(a), body(b)) && (len(ending(a)) > 0) == (len(ending(b)) > 0)
}
