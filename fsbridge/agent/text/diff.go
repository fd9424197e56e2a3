package text

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

const (
	contextLines = 3 // lines around a change, as diff -u
	// refineMax is the most bytes of a passage, before and after, in which lines
	// that stayed are looked for.
	refineMax = 64 << 10
)

// Difference is a Change as a unified diff.
type Difference struct {
	Text           []byte
	Added, Removed int  // lines, also of what was cut
	Cut            bool // Text was longer than allowed; it ends at a line's end
}

// block is a run of whole lines that was replaced by another.
type block struct{ start, end, newStart, newEnd int }

// Diff gives the change as a unified diff of the file name, of at most limit
// bytes. More than spansMax changes in one file are counted as one from there on.
func (c *Change) Diff(name string, limit int) Difference {
	d := &differ{c: c, limit: limit}
	blocks := c.blocks()
	for i := range blocks {
		b := &blocks[i]
		d.out.Removed += countLines(c.Old[b.start:b.end])
		d.out.Added += countLines(c.New[b.newStart:b.newEnd])
	}
	if len(blocks) > 0 {
		quoted := quote(name)
		d.line("--- ", []byte(quoted))
		d.line("+++ ", []byte(quoted))
	}
	for len(blocks) > 0 && !d.out.Cut {
		n := 1
		for n < len(blocks) && bytes.Count(c.Old[blocks[n-1].end:blocks[n].start], lf) <= 2*contextLines {
			n++
		}
		d.hunk(blocks[:n])
		blocks = blocks[n:]
	}
	return d.out
}

// quote is a name as diff writes it.
func quote(name string) string {
	if strings.ContainsAny(name, "\n\r\t\"\\") || strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) >= 0 {
		return strconv.QuoteToASCII(name)
	}
	return name
}

// blocks gives the spans as whole lines, without those that stayed.
func (c *Change) blocks() []block {
	var wide []block
	for _, s := range c.spans {
		b := c.widen(s)
		if n := len(wide); n > 0 && b.start < wide[n-1].end {
			wide[n-1].end, wide[n-1].newEnd = b.end, b.newEnd
			continue
		}
		wide = append(wide, b)
	}
	out := make([]block, 0, len(wide))
	for _, b := range wide {
		out = c.refine(out, b)
	}
	return out
}

// widen makes a span reach over whole lines.
func (c *Change) widen(s span) block {
	b := block(s)
	back := b.start - lineStart(c.Old, b.start)
	b.start, b.newStart = b.start-back, b.newStart-back
	atStart := func(text []byte, at int) bool { return at == 0 || text[at-1] == '\n' }
	if !atStart(c.Old, b.end) || !atStart(c.New, b.newEnd) {
		on := lineEnd(c.Old, b.end) - b.end
		b.end, b.newEnd = b.end+on, b.newEnd+on
	}
	return b
}

// refine appends a block, or the parts of it that differ.
func (c *Change) refine(out []block, b block) []block {
	old, fresh := c.Old[b.start:b.end], c.New[b.newStart:b.newEnd]
	head := commonLines(old, fresh)
	old, fresh = old[head:], fresh[head:]
	b.start, b.newStart = b.start+head, b.newStart+head
	if len(old)+len(fresh) > refineMax {
		tail := commonTail(old, fresh)
		return append(out, block{b.start, b.end - tail, b.newStart, b.newEnd - tail})
	}
	shift := b.newStart - b.start
	for _, e := range udiff.Lines(string(old), string(fresh)) {
		start := b.start + e.Start
		part := block{start, b.start + e.End, start + shift, start + shift + len(e.New)}
		shift += len(e.New) - (e.End - e.Start)
		out = append(out, part)
	}
	return out
}

// commonLines is how many bytes of whole lines both begin with.
func commonLines(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	if n == len(a) && n == len(b) {
		return n
	}
	return lineStart(a, n)
}

// commonTail is how many bytes of whole lines both end with.
func commonTail(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	for n > 0 && !(startsLine(a, len(a)-n) && startsLine(b, len(b)-n)) {
		n--
	}
	return n
}

func startsLine(b []byte, at int) bool { return at == 0 || b[at-1] == '\n' }

// differ writes a diff.
type differ struct {
	c     *Change
	limit int
	out   Difference

	// How many lines there are before byte pos of the old content, and by how
	// many more the new one has grown there.
	pos, lines, grown int
}

// hunk writes the blocks, which are near each other.
func (d *differ) hunk(blocks []block) {
	first, last := blocks[0], blocks[len(blocks)-1]
	start, end := first.start, last.end
	for range contextLines {
		if start > 0 {
			start = lineStart(d.c.Old, start-1)
		}
		end = lineEnd(d.c.Old, end)
	}
	d.lines += bytes.Count(d.c.Old[d.pos:start], lf)
	oldLines := countLines(d.c.Old[start:end])
	newLines := oldLines
	for _, b := range blocks {
		newLines += countLines(d.c.New[b.newStart:b.newEnd]) - countLines(d.c.Old[b.start:b.end])
	}
	d.line("", fmt.Appendf(nil, "@@ -%s +%s @@", lineRange(d.lines, oldLines), lineRange(d.lines+d.grown, newLines)))
	at := start
	for _, b := range blocks {
		d.text(" ", d.c.Old[at:b.start])
		d.text("-", d.c.Old[b.start:b.end])
		d.text("+", d.c.New[b.newStart:b.newEnd])
		at = b.end
	}
	d.text(" ", d.c.Old[at:end])
	d.lines += bytes.Count(d.c.Old[start:end], lf)
	d.pos, d.grown = end, d.grown+newLines-oldLines
}

// lineRange is where n lines are that come after so many, as diff writes it.
func lineRange(after, n int) string {
	switch n {
	case 0:
		return fmt.Sprintf("%d,0", after)
	case 1:
		return strconv.Itoa(after + 1)
	}
	return fmt.Sprintf("%d,%d", after+1, n)
}

// text writes lines with a mark before each.
func (d *differ) text(mark string, b []byte) {
	for len(b) > 0 && !d.out.Cut {
		line, rest := cutLine(b)
		bare, ended := bytes.CutSuffix(line, lf)
		d.line(mark, bare)
		if !ended {
			d.line("", []byte(`\ No newline at end of file`))
		}
		b = rest
	}
}

func (d *differ) line(mark string, b []byte) {
	if d.out.Cut = d.out.Cut || len(d.out.Text)+len(mark)+len(b)+1 > d.limit; d.out.Cut {
		return
	}
	d.out.Text = append(append(append(d.out.Text, mark...), b...), '\n')
}
