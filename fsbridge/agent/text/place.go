package text

import (
	"bytes"
	"context"

	"moorage/fsbridge"
)

const (
	// fuzzMax is how many outer context lines may differ, as in patch(1).
	fuzzMax = 2
	// workMax is how many lines are compared to place the hunks of one file: a
	// second or two at most.
	workMax = 50_000_000
)

// lines are a content's lines by number. It takes 4 bytes a line.
type lines struct {
	content []byte
	ends    []uint32
}

func split(content []byte) *lines {
	l := &lines{content: content, ends: make([]uint32, 0, countLines(content))}
	for at := 0; at < len(content); {
		at = lineEnd(content, at)
		l.ends = append(l.ends, uint32(at))
	}
	return l
}

func (l *lines) len() int { return len(l.ends) }

// at is where line i (0-based) begins.
func (l *lines) at(i int) int {
	if i == 0 {
		return 0
	}
	return int(l.ends[i-1])
}

func (l *lines) line(i int) []byte { return l.content[l.at(i):l.ends[i]] }

// A sameness says how alike two lines must be.
type sameness func(a, b []byte) bool

// sameText lets white space at the line's end differ, and a last line end be
// missing.
func sameText(a, b []byte) bool { return bytes.Equal(trimEnd(a), trimEnd(b)) }

func trimEnd(line []byte) []byte {
	for len(line) > 0 && isSpace(line[len(line)-1]) {
		line = line[:len(line)-1]
	}
	return line
}

// placed is where a hunk goes.
type placed struct {
	*hunk
	at          int // line, 0-based, where without(lead, trail) begins
	lead, trail int
}

func (p *placed) end() int { return p.at + len(p.old) - p.lead - p.trail }

// placer finds the places of a file's hunks, in order.
type placer struct {
	ctx   context.Context
	lines *lines
	low   int // where the hunk before ends
	drift int // how far that was from its start
	work  int
}

// place finds where a hunk goes: where it says, else the nearest place; where
// its lines are, else lines that are alike; with all its context, else with less.
func (p *placer) place(h *hunk) (*placed, error) {
	if len(h.old) == 0 {
		return p.insertion(h)
	}
	for fuzz := 0; fuzz <= fuzzMax; fuzz++ {
		lead, trail := h.cut(fuzz)
		old := h.without(lead, trail)
		if len(old) == 0 || fuzz > 0 && (lead+trail == 0 || len(bytes.TrimSpace(bytes.Join(old, nil))) == 0) {
			break
		}
		for _, same := range []sameness{sameLine, sameText} {
			at, err := p.find(h, old, lead, same, fuzz)
			if err != nil {
				return nil, err
			}
			if at >= 0 {
				return &placed{h, at, lead, trail}, nil
			}
		}
	}
	return nil, p.mismatch(h)
}

// insertion places a hunk that only adds lines.
func (p *placer) insertion(h *hunk) (*placed, error) {
	at := h.start + p.drift
	switch n := p.lines.len(); {
	case n == 0:
		at = 0
	case h.start == 0:
		return nil, inHunk(fault(fsbridge.CodeInvalid, "it adds lines but has no context that says where; give some lines of the file around them"), h.number)
	case at > n || at < p.low:
		return nil, inHunk(fault(fsbridge.CodeNoMatch, "it adds lines after line %d, but the file has %d lines; give some lines of the file around them", h.start, n), h.number)
	}
	return &placed{h, at, 0, 0}, nil
}

// find returns the line where old is, or -1. A hunk without a start, without
// context or with less context than it has must have one place only, unless it is
// where it should be.
func (p *placer) find(h *hunk, old [][]byte, lead int, same sameness, fuzz int) (int, error) {
	want := h.start - 1 + p.drift + lead
	if h.start > 0 && p.matches(old, want, same) {
		return want, nil
	}
	if h.start == 0 {
		want = p.low
	}
	at, err := p.nearest(old, want, same)
	if at < 0 || err != nil {
		return at, err
	}
	if h.start > 0 && fuzz == 0 && h.leading+h.trailing > 0 {
		return at, nil
	}
	places, count, err := p.all(old, same)
	if err == nil && count > 1 {
		e := fault(fsbridge.CodeAmbiguous, "its lines are there %d times, none of them where it starts; give more lines of context or the right line number", count)
		for _, i := range places {
			e.Passages = append(e.Passages, passage(p.lines.content, p.lines.at(i), p.lines.at(i+len(old))))
		}
		e.Count = count
		err = inHunk(e, h.number)
	}
	return at, err
}

// matches reports whether old is at line at, which may be any number.
func (p *placer) matches(old [][]byte, at int, same sameness) bool {
	if at < p.low || at+len(old) > p.lines.len() {
		return false
	}
	for i, line := range old {
		p.work++
		if !same(p.lines.line(at+i), line) {
			return false
		}
	}
	return true
}

// nearest returns the place nearest to line want, the later of two, or -1.
func (p *placer) nearest(old [][]byte, want int, same sameness) (int, error) {
	last := p.lines.len() - len(old)
	want = min(max(want, p.low), max(last, p.low))
	for d := 0; want+d <= last || want-d >= p.low; d++ {
		if d%4096 == 0 {
			if err := p.check(); err != nil {
				return -1, err
			}
		}
		if p.matches(old, want+d, same) {
			return want + d, nil
		}
		if p.matches(old, want-d, same) {
			return want - d, nil
		}
	}
	return -1, nil
}

// all returns the first places and how many there are.
func (p *placer) all(old [][]byte, same sameness) (places []int, count int, err error) {
	for at := p.low; at+len(old) <= p.lines.len(); at++ {
		if at%4096 == 0 {
			if err := p.check(); err != nil {
				return nil, 0, err
			}
		}
		if !p.matches(old, at, same) {
			continue
		}
		if count++; count <= fsbridge.PassagesMax {
			places = append(places, at)
		}
	}
	return places, count, nil
}

func (p *placer) check() error {
	if p.work > workMax {
		return fault(fsbridge.CodeTooLarge, "the hunks are not where they say, and looking for them takes too long; give the right line numbers")
	}
	return p.ctx.Err()
}
