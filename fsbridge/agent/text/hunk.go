package text

import (
	"bytes"
	"strings"

	"moorage/fsbridge"
)

// hunk is a hunk that keeps to the rules.
type hunk struct {
	number   int      // in its file, from 1
	start    int      // the first old line's number; without old lines that of the line before; 0 if not known
	lines    []string // as in fsbridge.Hunk
	old      [][]byte // what " " and "-" say
	leading  int      // context lines at the beginning
	trailing int      // and at the end
}

// parse checks a hunk.
func parse(h *fsbridge.Hunk, number int) (*hunk, *fsbridge.Error) {
	p := &hunk{number: number, lines: h.Lines, start: int(h.Start)}
	bad := func(format string, args ...any) (*hunk, *fsbridge.Error) {
		e := fault(fsbridge.CodeInvalid, format, args...)
		return nil, inHunk(e, number)
	}
	if h.Start < 0 || h.Start > fsbridge.ChangeMax {
		return bad("it starts at line %d, which no file has", h.Start)
	}
	if len(h.Lines) == 0 {
		return bad("it has no lines")
	}
	var open [2]bool // the old, the new side have had a line without an end
	changes := 0
	for i, line := range h.Lines {
		if line == "" || !strings.Contains(" -+", line[:1]) {
			return bad("its line %d begins with neither a space, - nor +: %.100q", i+1, line)
		}
		if len(line) == 1 {
			return bad("its line %d is %q without a line end, which is no line", i+1, line)
		}
		ended := strings.HasSuffix(line, "\n")
		if strings.Contains(line[:max(len(line)-1, 0)], "\n") {
			return bad("its line %d is more than one line: %.100q", i+1, line)
		}
		for side, mark := range []byte{'+', '-'} { // old lines are those without +
			if line[0] == mark {
				continue
			}
			if open[side] {
				return bad("its line %d comes after one that ends the file", i+1)
			}
			open[side] = !ended
		}
		if line[0] == ' ' && changes == 0 {
			p.leading++
		}
		p.trailing++
		if line[0] != ' ' {
			p.trailing = 0
			changes++
		}
		if line[0] != '+' {
			p.old = append(p.old, []byte(line[1:]))
		}
	}
	if changes == 0 {
		p.trailing = 0
	}
	return p, nil
}

// without returns the old lines but for some context at both ends.
func (h *hunk) without(lead, trail int) [][]byte { return h.old[lead : len(h.old)-trail] }

// cut is how much context is left out at a fuzz, as patch(1) does it: from the
// longer end first.
func (h *hunk) cut(fuzz int) (lead, trail int) {
	longest := max(h.leading, h.trailing)
	fuzz = min(fuzz, longest)
	return max(0, fuzz+h.leading-longest), max(0, fuzz+h.trailing-longest)
}

// expected is what the hunk looks for, to be read.
func (h *hunk) expected() string { return clip(bytes.Join(h.old, nil), expectedMax) }

// expectedMax is the most bytes of a hunk's old lines in an error.
const expectedMax = 400
