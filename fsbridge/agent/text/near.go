package text

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"moorage/fsbridge"
)

// Bounds of the search for what is near a text.
const (
	nearMax    = 3       // passages that are alike
	oldLines   = 200     // lines of the old text that are looked at
	equalLines = 4       // of them, how many may be the same one
	votesMax   = 100_000 // places that are compared
	probeBytes = 400     // of a line that is compared by its letters
	alike      = 0.6     // share of pairs of letters that a line must have in common
)

// near returns the passages of content that are most like old, best first, at
// most nearMax, or with exact those that differ in white space only. It passes
// over the content a few times, whatever is in it. It finds nothing when ctx ends.
func near(ctx context.Context, content, old []byte) (found []fsbridge.Passage, exact bool) {
	if found := squeezed(content, old); len(found) > 0 || ctx.Err() != nil {
		return found, true
	}
	if found := voted(ctx, content, old); len(found) > 0 {
		return found, false
	}
	return paired(ctx, content, old), false
}

// ended reports at every 4096th line whether ctx has ended.
func ended(ctx context.Context, line int) bool { return line%4096 == 0 && ctx.Err() != nil }

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func squeeze(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for _, c := range b {
		if !isSpace(c) {
			out = append(out, c)
		}
	}
	return out
}

// squeezed finds old without regard to white space.
func squeezed(content, old []byte) (found []fsbridge.Passage) {
	needle, hay := squeeze(old), squeeze(content)
	if len(needle) == 0 {
		return nil
	}
	pos, flat := 0, 0 // the same place in content and in hay
	skip := func(to int) int {
		for ; ; pos++ {
			if isSpace(content[pos]) {
				continue
			}
			if flat == to {
				return pos
			}
			flat++
		}
	}
	for from := 0; len(found) < nearMax; {
		i := bytes.Index(hay[from:], needle)
		if i < 0 {
			break
		}
		start := skip(from + i)
		end := skip(from+i+len(needle)-1) + 1
		found = append(found, passage(content, start, end))
		from += i + len(needle)
	}
	return found
}

// voted finds where lines of old are, at the same distance from each other: each
// that is there counts its letters for the place where old would begin.
func voted(ctx context.Context, content, old []byte) []fsbridge.Passage {
	lines := make(map[string][]int)
	n := 0
	for rest := old; len(rest) > 0 && n < oldLines; n++ {
		var line []byte
		line, rest = cutLine(rest)
		key := string(bytes.TrimSpace(line))
		if len(key) >= 3 && len(lines[key]) < equalLines {
			lines[key] = append(lines[key], n)
		}
	}
	votes := make(map[int]int)
	for i, rest := 0, content; len(rest) > 0 && len(lines) > 0 && !ended(ctx, i); i++ {
		var line []byte
		line, rest = cutLine(rest)
		key := bytes.TrimSpace(line)
		for _, j := range lines[string(key)] {
			if _, seen := votes[i-j]; seen || len(votes) < votesMax {
				votes[i-j] += min(len(key), 40)
			}
		}
	}
	return passagesAt(content, best(votes), countLines(old))
}

// best are the places with the most votes.
func best(votes map[int]int) []int {
	var top []int
	for at := range votes {
		i := len(top)
		for i > 0 && (votes[at] > votes[top[i-1]] || votes[at] == votes[top[i-1]] && at < top[i-1]) {
			i--
		}
		if i < nearMax {
			top = slices.Insert(top, i, at)
			top = top[:min(len(top), nearMax)]
		}
	}
	return top
}

// passagesAt are n lines from each of the lines (0-based) of starts on.
func passagesAt(content []byte, starts []int, n int) (found []fsbridge.Passage) {
	for _, at := range starts {
		from := max(at, 0)
		start := skipLines(content, 0, from)
		end := skipLines(content, start, max(at+n-from, 1))
		if p := passage(content, start, end); p.Text != "" {
			found = append(found, p)
		}
	}
	return found
}

// paired finds the lines that have most pairs of letters in common with the
// longest line of old.
func paired(ctx context.Context, content, old []byte) []fsbridge.Passage {
	probe, at := longest(old)
	if len(probe) < 3 {
		return nil
	}
	var pairs [1 << 16]bool
	for i := range len(probe) - 1 {
		pairs[uint16(probe[i])<<8|uint16(probe[i+1])] = true
	}
	votes := make(map[int]int)
	least := 0 // of what is kept
	for i, rest := 0, content; len(rest) > 0 && !ended(ctx, i); i++ {
		var line []byte
		line, rest = cutLine(rest)
		line = bytes.TrimSpace(line)
		line = line[:min(len(line), probeBytes)]
		same := 0
		for k := range max(len(line)-1, 0) {
			if pairs[uint16(line[k])<<8|uint16(line[k+1])] {
				same++
			}
		}
		share := float64(same) / float64(max(len(probe), min(len(line), 2*len(probe)))-1)
		if score := int(share * 1000); share >= alike && score > least {
			votes[i-at] = score
			least = prune(votes)
		}
	}
	return passagesAt(content, best(votes), min(countLines(old), oldLines))
}

// prune leaves the best places only, and returns what a better one must exceed.
func prune(votes map[int]int) (least int) {
	if len(votes) < nearMax {
		return 0
	}
	top := best(votes)
	for at := range votes {
		if !slices.Contains(top, at) {
			delete(votes, at)
		}
	}
	return votes[top[len(top)-1]]
}

// longest returns the longest line of old, without white space around it, and
// its place.
func longest(old []byte) (line []byte, at int) {
	for i, rest := 0, old; len(rest) > 0 && i < oldLines; i++ {
		var l []byte
		l, rest = cutLine(rest)
		if l = bytes.TrimSpace(l); len(l) > len(line) {
			line, at = l[:min(len(l), probeBytes)], i
		}
	}
	return line, at
}

// difference names the first line in which old is not what begins in line at.
func difference(content, old []byte, at int64) string {
	near := fmt.Sprintf("; the nearest begins in line %d", at)
	pos, first := skipLines(content, 0, int(at-1)), true
	for n := at; len(old) > 0; n++ {
		if pos >= len(content) {
			return fmt.Sprintf("%s, but the file ends with line %d", near, n-1)
		}
		var want []byte
		want, old = cutLine(old)
		have := content[pos:lineEnd(content, pos)]
		a, b := trimEnd(have), trimEnd(want)
		part := first && bytes.HasSuffix(a, b) || len(old) == 0 && bytes.HasPrefix(a, b) // old may begin and end within a line
		if !part && !bytes.Equal(a, b) {
			return fmt.Sprintf("%s, but line %d is %q where %q is looked for", near, n, clip(a, differsMax), clip(b, differsMax))
		}
		pos, first = pos+len(have), false
	}
	return near
}

// differsMax is the most bytes of each line that differs in an error.
const differsMax = 150
