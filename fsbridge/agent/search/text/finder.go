package text

import (
	"bytes"
	"context"
	"io"
	"unicode/utf8"
)

// stepMax is how many instructions times bytes are gone through without a look at
// the context: some 20 ms.
const stepMax = 2 << 20

// Finder finds a pattern in one buffer after the other. It is one goroutine's.
type Finder struct {
	p     *Pattern
	ctx   context.Context
	hunts []hunt
	lines *automaton // or nil
	b     []byte
	fast  bool // the hunts find what the pattern matches
}

// NewFinder makes a Finder that gives up when ctx ends.
func (p *Pattern) NewFinder(ctx context.Context) *Finder {
	f := &Finder{p: p, ctx: ctx, lines: newAutomaton(p.prog)}
	if p.needles != nil {
		for _, t := range p.needles.texts {
			f.hunts = append(f.hunts, newHunt(t, p.needles.fold))
		}
	}
	return f
}

// Reset gives the Finder its buffer: whole lines, the last of which need not have
// an end.
func (f *Finder) Reset(b []byte) {
	f.b = b
	for i := range f.hunts {
		f.hunts[i].reset()
	}
	f.fast = f.p.needles != nil && !(f.p.needles.folds && foldsBeyond(b))
}

// foldsBeyond reports whether b has characters beyond ASCII that are another case
// of one in it: the sign for kelvin and the long s.
func foldsBeyond(b []byte) bool {
	return bytes.Contains(b, []byte("\u212a")) || bytes.Contains(b, []byte("\u017f"))
}

// Next returns the first line that matches at from or after it, which is where a
// line begins: where it starts, and where its content ends. A match over lines
// has all of them. Without one it returns ok false, and so it does when the
// context has ended.
func (f *Finder) Next(from int) (start, end int, ok bool) {
	if !f.p.lines {
		return f.nextOver(from)
	}
	for from < len(f.b) && f.ctx.Err() == nil {
		start, at := from, from
		if f.fast {
			if at = f.hunt(from); at == len(f.b) {
				return 0, 0, false
			}
			start = from + bytes.LastIndexByte(f.b[from:at], '\n') + 1
		}
		next := index(f.b, at, '\n')
		end := trimmed(f.b, start, next)
		if f.fast && f.p.needles.all || f.matches(start, end, at) {
			return start, end, true
		}
		from = next + 1
	}
	return 0, 0, false
}

// hunt returns where the first needle is, len(f.b) if there is none.
func (f *Finder) hunt(from int) int {
	first := len(f.b)
	for i := range f.hunts {
		first = min(first, f.hunts[i].from(f.b, from))
	}
	return first
}

// trimmed returns the end of a line without \r.
func trimmed(b []byte, start, end int) int {
	if end > start && b[end-1] == '\r' {
		end--
	}
	return end
}

// matches reports whether a line matches. A needle is at a place in it.
func (f *Finder) matches(start, end, at int) bool {
	line := f.b[start:end]
	if f.lines != nil {
		if ok, told := f.lines.match(line); told {
			return ok
		}
	}
	if len(line)*f.p.cost <= stepMax {
		return f.p.re.Match(line)
	}
	return f.near(start, end, at) >= 0 || f.p.re.MatchReader(f.slowly(line))
}

// nextOver is Next for matches over lines.
func (f *Finder) nextOver(from int) (start, end int, ok bool) {
	if from >= len(f.b) || f.ctx.Err() != nil || f.p.once && from > 0 || f.fast && f.hunt(from) == len(f.b) {
		return 0, 0, false
	}
	loc := f.find(f.b[from:])
	if loc == nil || f.ctx.Err() != nil {
		return 0, 0, false
	}
	first, after := from+loc[0], from+loc[1]
	if first == len(f.b) && f.b[first-1] == '\n' {
		return 0, 0, false // after the last line
	}
	start = bytes.LastIndexByte(f.b[:first], '\n') + 1
	if after > first && f.b[after-1] == '\n' {
		after--
	}
	return start, trimmed(f.b, start, index(f.b, after, '\n')), true
}

func (f *Finder) find(b []byte) []int {
	if len(b)*f.p.cost <= stepMax {
		return f.p.re.FindIndex(b)
	}
	return f.p.re.FindReaderIndex(f.slowly(b))
}

// Where returns where in its buffer, which is one line, the first match begins,
// or another one near the first needle.
func (f *Finder) Where() int {
	at := 0
	if f.fast {
		at = f.hunt(0)
	}
	if f.fast && f.p.needles.all {
		return at
	}
	if place := f.near(0, len(f.b), at); place >= 0 {
		return place
	}
	if loc := f.find(f.b); loc != nil {
		return loc[0]
	}
	return 0
}

// nearby is how much of a long line around a needle is looked at first.
const nearby = 4 << 10

// near looks for a match around a needle that is at a place in a long line, and
// returns where it begins; -1 if it finds none, which does not mean that there is
// none in the line.
func (f *Finder) near(start, end, at int) int {
	if !f.fast || !f.p.free || end-start <= 4*nearby {
		return -1
	}
	start, end = max(start, at-nearby), min(end, at+nearby)
	if loc := f.find(f.b[start:end]); loc != nil {
		return start + loc[0]
	}
	return -1
}

// slowly reads a text for package regexp, and ends when the context does.
func (f *Finder) slowly(b []byte) *slowReader {
	step := max(stepMax/f.p.cost, 1)
	return &slowReader{f: f, b: b, step: step, left: step}
}

type slowReader struct {
	f          *Finder
	b          []byte
	step, left int
}

func (r *slowReader) ReadRune() (rune, int, error) {
	if r.left--; r.left <= 0 {
		r.left = r.step
		if r.f.ctx.Err() != nil {
			r.b = nil
		}
	}
	if len(r.b) == 0 {
		return 0, 0, io.EOF
	}
	c, size := utf8.DecodeRune(r.b)
	r.b = r.b[size:]
	return c, size, nil
}
