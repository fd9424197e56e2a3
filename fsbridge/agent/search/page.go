package search

import (
	"bytes"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
	"moorage/fsbridge/agent/files"
	"moorage/fsbridge/agent/search/text"
)

// pageBytes is the most data of one page. What belongs to one match is less: its
// lines and those around it, each of LineMax.
const pageBytes = fsbridge.MaxData

// page fills the result with what is on the page.
func (g *grep) page() error {
	skip, room := int64(g.req.Offset), int64(g.limit)
	p := &page{grep: g, v: g.newGrepper(g.req.All || g.single), where: g.pattern.NewFinder(g.ctx)}
	defer p.v.source.close()
	for _, h := range g.kept.sorted() {
		weight := g.kept.weight(&h)
		switch {
		case p.full || room <= 0:
			return nil
		case skip >= weight:
			skip -= weight
			continue
		case g.content():
			p.file(h.path, skip, min(weight, skip+room))
			room -= weight - skip
		default:
			p.summary(&h)
			room--
		}
		if skip = 0; g.ctx.Err() != nil {
			return g.ctx.Err()
		}
	}
	return nil
}

// page is a page that is being filled.
type page struct {
	*grep
	v     *grepper
	where *text.Finder
	bytes int // of data, at most
	full  bool
}

// summary is a file's entry where lines are not asked for.
func (p *page) summary(h *hit) {
	m := fsbridge.Match{Path: fsbridge.Path(h.path)}
	if p.req.Mode == fsbridge.GrepCount {
		m.Count = h.count
	}
	if p.add(m) {
		p.res.Returned++
	}
}

// add adds a match if there is room.
func (p *page) add(m fsbridge.Match) bool {
	size := fsbridge.MatchMax + len(m.Text)
	if n := len(p.res.Matches); n == 0 || p.res.Matches[n-1].Path != m.Path {
		size += len(m.Path)
	}
	if p.full = p.full || p.bytes+size > p.room(); p.full {
		return false
	}
	p.bytes += size
	p.res.Matches = append(p.res.Matches, m)
	return true
}

// room is how much data the page may have. MaxBytes counts only from the second
// match on, so that there is always one.
func (p *page) room() int {
	if n := p.req.MaxBytes; n > 0 && p.res.Returned > 1 {
		return min(n, pageBytes)
	}
	return pageBytes
}

// file adds the matches of a file from one to before another, by their number.
// What it has no longer is left out.
func (p *page) file(path string, from, to int64) {
	fd, kernel, err := p.open(path)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	f := &shown{page: p, path: fsbridge.Path(path), from: from, to: to, line: 1}
	err = p.v.source.blocks(fd, kernel, f.block)
	if err != nil && !errors.Is(err, errBinary) && p.ctx.Err() == nil && unreadable(err) {
		p.denied.Add(1)
	}
}

func (p *page) open(path string) (fd int, kernel bool, err error) {
	full := string(p.req.Path)
	if !p.single {
		full += "/" + path
	}
	fd, err = files.OpenRegular(fsbridge.OpGrep, fsbridge.Path(full))
	if err != nil {
		return -1, false, err
	}
	return fd, files.Kernel(fd), nil
}

// shown is a file of which matches are shown. Each line belongs to one match: to
// the one before it, as far as After reaches, else to the one after it. A match
// is shown with all its lines or not at all, so the pages join.
type shown struct {
	*page
	path     fsbridge.Path
	from, to int64
	next     int64 // the number of the next match
	after    int   // lines that still belong to the last one
	mark     int   // where its lines begin in the result

	b     []byte
	line  int64     // number of the line at
	at    int       // which is an offset in b
	done  int       // up to here lines belong to a match, or to none
	carry []carried // the last lines of the blocks before that belong to none
}

// carried is a line that is kept, as much of it as may be shown.
type carried struct {
	number int64
	text   []byte
}

// block adds what is in a block. It reports whether there is more to be shown.
func (f *shown) block(b []byte) bool {
	f.b, f.at, f.done = b, 0, 0
	f.v.finder.Reset(b)
	for {
		start, end, ok := f.v.finder.Next(f.done)
		if !ok {
			start = len(b)
		}
		f.trail(start)
		if f.full || f.next == f.to && (ok || f.after == 0) {
			return false
		}
		if !ok {
			f.keep(f.number(len(b)))
			return true
		}
		f.match(start, end)
		if f.full || f.next == f.to && f.after == 0 {
			return false
		}
	}
}

// visible reports whether the match of that number is on the page.
func (f *shown) visible(n int64) bool { return n >= f.from && n < f.to }

// number returns the number of the line at offset i, which never falls.
func (f *shown) number(i int) int64 {
	f.line += int64(bytes.Count(f.b[f.at:i], []byte{'\n'}))
	f.at = i
	return f.line
}

// trail adds the lines after the last match, at most up to the next.
func (f *shown) trail(next int) {
	for ; f.after > 0 && f.done < next; f.after-- {
		f.carry = nil
		from := f.done
		f.done = lineAfter(f.b, from)
		if f.visible(f.next - 1) {
			f.put(fsbridge.Match{Context: true, Line: f.number(from)}, f.content(from, f.done), 0)
		}
	}
}

// match adds a match and the lines before it.
func (f *shown) match(start, end int) {
	if f.visible(f.next) {
		f.mark = len(f.res.Matches)
		f.res.Returned++
		f.before(start)
		f.lines(start, end)
	}
	f.carry, f.after = nil, f.req.After
	f.done = lineAfter(f.b, end)
	f.next++
}

// before adds the lines before a match that belong to no other.
func (f *shown) before(start int) {
	number := f.number(start)
	from, count := start, 0
	for ; from > f.done && count < f.req.Before; count++ {
		from = bytes.LastIndexByte(f.b[:from-1], '\n') + 1
	}
	older := f.carry[max(0, len(f.carry)-(f.req.Before-count)):]
	if from > f.done || f.done > 0 {
		older = nil
	}
	for _, line := range older {
		f.put(fsbridge.Match{Context: true, Line: line.number}, line.text, 0)
	}
	for ; from < start; count-- {
		next := lineAfter(f.b, from)
		f.put(fsbridge.Match{Context: true, Line: number - int64(count)}, f.content(from, next), 0)
		from = next
	}
}

// lines adds the lines of a match.
func (f *shown) lines(start, end int) {
	for n := 0; n == 0 || start <= end && start < len(f.b); n++ {
		next := lineAfter(f.b, start)
		line := f.content(start, next)
		place := 0
		if len(line) > fsbridge.LineMax && n == 0 && !f.req.Multiline {
			f.where.Reset(line)
			place = f.where.Where()
		}
		m := fsbridge.Match{Line: f.number(start)}
		if n == fsbridge.MatchLines-1 && next <= end && next < len(f.b) {
			m.Cut, end = true, start
		}
		f.put(m, line, place)
		start = next
	}
}

// content is a line without its end.
func (f *shown) content(from, next int) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(f.b[from:next], []byte{'\n'}), []byte{'\r'})
}

// put adds a line. Without room for it its match goes too.
func (f *shown) put(m fsbridge.Match, line []byte, place int) {
	var cut bool
	m.Path = f.path
	m.Text, cut = clip(line, place)
	m.Cut = m.Cut || cut
	if f.full || f.add(m) {
		return
	}
	f.res.Matches = f.res.Matches[:f.mark]
	f.res.Returned--
}

// keep notes the last lines of a block that the next match may be shown with.
// number is that of the line at the block's end.
func (f *shown) keep(number int64) {
	if f.done > 0 {
		f.carry = nil
	}
	var last []carried
	for end := len(f.b); end > f.done && len(last) < f.req.Before; {
		if f.b[end-1] == '\n' {
			number--
		}
		from := bytes.LastIndexByte(f.b[:end-1], '\n') + 1
		line := f.content(from, end)
		last = append(last, carried{number, bytes.Clone(line[:min(len(line), fsbridge.LineMax+1)])})
		end = from
	}
	slices.Reverse(last)
	f.carry = append(f.carry, last...)
	f.carry = f.carry[max(0, len(f.carry)-f.req.Before):]
}

// clip copies at most LineMax of a line, around a place in it.
func clip(line []byte, place int) (clipped []byte, cut bool) {
	if len(line) <= fsbridge.LineMax {
		return bytes.Clone(line), false
	}
	from := max(0, min(place-fsbridge.LineMax/4, len(line)-fsbridge.LineMax))
	to := from + fsbridge.LineMax
	for i := 0; i < 3 && from > 0 && from < place && inRune(line[from]); i++ {
		from++
	}
	for i := 0; i < 3 && to < len(line) && inRune(line[to]); i++ {
		to--
	}
	return bytes.Clone(line[from:to]), true
}

// inRune reports whether b goes on with a character of UTF-8.
func inRune(b byte) bool { return b&0xc0 == 0x80 }

// lineAfter returns where the line after the one at i begins.
func lineAfter(b []byte, i int) int {
	if end := bytes.IndexByte(b[i:], '\n'); end >= 0 {
		return i + end + 1
	}
	return len(b)
}

func isBinary(b []byte) bool { return bytes.IndexByte(b, 0) >= 0 }
