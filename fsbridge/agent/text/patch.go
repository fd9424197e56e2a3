package text

import (
	"bytes"
	"cmp"
	"context"
	"fmt"

	"moorage/fsbridge"
)

// Patched is a Change by hunks.
type Patched struct {
	Old, New       []byte
	Added, Removed int   // lines
	Moved          int64 // the farthest that a hunk was from where it says, in lines
}

// Patch places the hunks, in order and without overlap, and carries them out.
func Patch(ctx context.Context, content []byte, hunks []fsbridge.Hunk) (*Patched, error) {
	out := &Patched{Old: content}
	p := &placer{ctx: ctx, lines: split(content)}
	b := &builder{lines: p.lines, main: dominant(content)}
	for i := range hunks {
		h, fault := parse(&hunks[i], i+1)
		if fault != nil {
			return nil, fault
		}
		at, err := p.place(h)
		if err != nil {
			return nil, err
		}
		b.copyTo(at.at)
		b.hunk(at)
		p.low = at.end()
		if begin := at.at - at.lead; h.start > 0 {
			p.drift = begin - first(h)
			out.Moved = max(out.Moved, int64(p.drift), int64(-p.drift))
		}
		if len(b.out)+len(content)-p.lines.at(p.low) > fsbridge.ChangeMax {
			return nil, tooLarge()
		}
	}
	b.copyTo(p.lines.len())
	out.New, out.Added, out.Removed = b.out, b.added, b.removed
	return out, nil
}

// first is the line, 0-based, where a hunk says that it begins.
func first(h *hunk) int {
	if len(h.old) == 0 {
		return h.start
	}
	return h.start - 1
}

// builder puts the new content together.
type builder struct {
	lines          *lines
	main           []byte // dominant line end
	out            []byte
	done           int // lines of the old content that are in out or were left out
	added, removed int
}

// add appends a line, after which the one before must have an end.
func (b *builder) add(line []byte) {
	if n := len(b.out); n > 0 && b.out[n-1] != '\n' && len(line) > 0 {
		b.out = append(b.out, b.main...)
	}
	b.out = append(b.out, line...)
}

// copyTo takes the file's lines up to line i.
func (b *builder) copyTo(i int) {
	if i > b.done {
		b.add(b.lines.content[b.lines.at(b.done):b.lines.at(i)])
		b.done = i
	}
}

// hunk carries out a hunk that begins where copyTo has come to. What stays is the
// file's own; what is added gets the line ends of its surroundings when the hunk
// does not speak of line ends as the file has them.
func (b *builder) hunk(p *placed) {
	var last string // the last line that was added
	end := p.end()
	foreign := b.foreign(p)
	for _, line := range p.lines[p.lead : len(p.lines)-p.trail] {
		switch line[0] {
		case ' ':
			b.copyTo(b.done + 1)
		case '-':
			b.done++
			b.removed++
		default:
			fresh := []byte(line[1:])
			if foreign && len(ending(fresh)) > 0 {
				fresh = append(body(fresh)[:len(body(fresh)):len(body(fresh))], b.near(end)...)
			}
			b.add(fresh)
			b.added++
		}
		last = line
	}
	added := last != "" && last[0] == '+' && len(body([]byte(last[1:]))) > 0 // an empty line is but its end
	if n := b.lines.len(); end == n && n > 0 && b.done == n && added && b.missed(p) {
		b.out = body(b.out)
	}
}

// missed reports whether the file's last line is one of the hunk's, which says
// that it has an end, and has none.
func (b *builder) missed(p *placed) bool {
	old := p.without(p.lead, p.trail)
	if len(old) == 0 {
		return false
	}
	return len(ending(b.lines.line(b.lines.len()-1))) == 0 && len(ending(old[len(old)-1])) > 0
}

// foreign reports whether the line ends of the hunk are not those of the file.
func (b *builder) foreign(p *placed) bool {
	compared := false
	for i, line := range p.without(p.lead, p.trail) {
		own, said := ending(b.lines.line(p.at+i)), ending(line)
		if len(own) == 0 || len(said) == 0 {
			continue
		}
		if !bytes.Equal(own, said) {
			return true
		}
		compared = true
	}
	return !compared && bytes.Equal(b.main, crlf)
}

// near is the line end of the file's line before where the hunk has come to, or
// of the one after.
func (b *builder) near(end int) []byte {
	for _, i := range []int{b.done - 1, b.done} {
		if i >= 0 && i < max(end, b.done) && i < b.lines.len() && len(ending(b.lines.line(i))) > 0 {
			return ending(b.lines.line(i))
		}
	}
	return b.main
}

// inHunk says which hunk an error is of.
func inHunk(e *fsbridge.Error, number int) *fsbridge.Error {
	e.Item = number
	e.Message = fmt.Sprintf("hunk %d: %s", number, e.Message)
	return e
}

// mismatch is the error of a hunk that goes nowhere: what it expects, and what is
// there.
func (p *placer) mismatch(h *hunk) error {
	e := fault(fsbridge.CodeNoMatch, "its lines are not there")
	whole := &placer{ctx: p.ctx, lines: p.lines}
	at, err := whole.nearest(h.old, max(h.start-1, 0), sameText)
	switch found, exact := near(p.ctx, p.lines.content, bytes.Join(h.old, nil)); {
	case err != nil || p.ctx.Err() != nil:
		return cmp.Or(err, p.ctx.Err())
	case at >= 0:
		e.Message = fmt.Sprintf("its lines are in line %d, which is before the end of the hunk before it; hunks go in the order of the file", at+1)
	case p.lines.len() == 0:
		e.Message = "the file is empty"
	case exact:
		e.Passages = found
		e.Message += fmt.Sprintf(", but what begins in line %d differs only in white space (indentation, tabs)", found[0].Line)
	case len(found) > 0:
		e.Passages = found
		e.Message += difference(p.lines.content, bytes.Join(h.old, nil), found[0].Line)
	default:
		e.Message += ", nor anything like them"
		if i := h.start - 1 + p.drift; i >= 0 && i < p.lines.len() {
			e.Passages = []fsbridge.Passage{passage(p.lines.content, p.lines.at(i), p.lines.at(min(i+len(h.old), p.lines.len())))}
		}
	}
	e.Message += fmt.Sprintf(". It expects: %q", h.expected())
	return inHunk(e, h.number)
}
