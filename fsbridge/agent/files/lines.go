package files

import (
	"bytes"
	"io"
)

// step is how much is read at a time while lines are looked for.
const step = 64 << 10

// lines reads from a line on.
func (r *reader) lines() error {
	off, line := r.req.ByteOffset, int64(0)
	if off == 0 {
		line = max(r.req.Offset, 1)
	}
	if line > 1 {
		var err error
		if off, err = r.skip(line - 1); err != nil {
			return err
		}
	}
	if err := r.beginAt(off, line); err != nil {
		return err
	}
	left := r.req.Limit
	for !r.eof && len(r.body()) <= r.max {
		old := len(r.body())
		if err := r.more(min(step, r.max+1-old)); err != nil {
			return err
		}
		if r.req.Limit == 0 {
			continue
		}
		end, found := nthLine(r.body()[old:], left)
		if left -= found; left == 0 && old+end <= r.max {
			r.end(old + end)
			return nil
		}
	}
	if len(r.body()) > r.max {
		r.cut(r.max, true)
	}
	return nil
}

// skip returns the byte after the nth newline, or the file's end if it has fewer
// lines; then total is known.
func (r *reader) skip(n int64) (off int64, err error) {
	buf := getBlock()
	defer putBlock(buf)
	last := byte('\n')
	for seen := int64(0); ; {
		if err := r.ctx.Err(); err != nil {
			return 0, err
		}
		k, err := r.f.readAt(*buf, off)
		if err != nil && err != io.EOF {
			return 0, err
		}
		b := (*buf)[:k]
		end, found := nthLine(b, n-seen)
		if seen += found; seen == n {
			return off + int64(end), nil
		}
		off += int64(k)
		if k > 0 {
			last = b[k-1]
		}
		if k < block {
			r.total = seen
			if last != '\n' {
				r.total++
			}
			return off, nil
		}
	}
}

// nthLine returns the place after the nth newline in b, or after its last if
// there are fewer, and how many there are up to it.
func nthLine(b []byte, n int64) (end int, found int64) {
	if c := newlines(b); c < n {
		return bytes.LastIndexByte(b, '\n') + 1, c
	}
	for ; found < n; found++ {
		end += bytes.IndexByte(b[end:], '\n') + 1
	}
	return end, found
}
