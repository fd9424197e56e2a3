package files

import (
	"bytes"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// endless is how much of a file without a size is read to find its end.
const endless = 64 << 20

// looks is how often the end of a file is looked for that is not where its size
// says, or that moves away.
const looks = 16

// tail reads the last lines: as many as were asked for, or as fit. It reads from
// the end, in a window that grows.
func (r *reader) tail() error {
	if r.f.st.Size == 0 {
		return r.tailUnsized()
	}
	window := min(int64(step), int64(r.max))
	for look := 0; look < looks; look++ {
		size := r.f.st.Size
		from := max(size-window-1, 0) // and the byte before, to see whether a line starts
		b, eof, err := r.f.take(r.ctx, nil, from, size-from)
		if err != nil {
			return err
		}
		if end := from + int64(len(b)); end < size || !eof && size > 0 {
			if err := r.resize(end, from); err != nil {
				return err
			}
			continue
		}
		start, enough := lastLines(b, r.req.Tail)
		if enough || from == 0 && len(b) <= r.max || window >= int64(r.max) {
			return r.endWith(b, start, from, enough)
		}
		window = min(window*4, int64(r.max))
	}
	return fsbridge.Errorf(fsbridge.OpRead, r.req.Path, fsbridge.CodeInvalid,
		"its end is not where its size of %d bytes says", r.size)
}

// resize notes that the file ends elsewhere than its size says: at end if bytes
// were read up to there, else where a fresh look says.
func (r *reader) resize(end, from int64) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if end > from || from == 0 {
		r.f.st.Size = end
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(r.f.fd, &st); err != nil {
		return err
	}
	if st.Size >= r.f.st.Size { // not shrunk: the size never was true
		st.Size = from
	}
	r.f.st = st
	return nil
}

// endWith makes the body of b, which is at byte from of the file and ends with
// it, starting at start or, if that is not the right place, where max allows.
func (r *reader) endWith(b []byte, start int, from int64, enough bool) error {
	over := len(b) - r.max
	cut := start < over
	if cut {
		start = over
		if b[over-1] != '\n' {
			start = nextStart(b, over, r.req.Text)
		}
	} else if !enough {
		start = 0
	}
	if err := r.begin(from+int64(start), 0); err != nil {
		return err
	}
	r.data = append(r.data, b[start:]...)
	r.eof = true
	if cut && start < len(b) {
		return r.before(b[start-1] != '\n')
	}
	return nil
}

// headCut is where the body of a tail begins later than was asked for.
type headCut struct {
	yes, inLine bool
	prev        int64
}

// before notes that the body begins later than was asked for, and looks where
// the slice before it begins.
func (r *reader) before(inLine bool) error {
	from := max(r.first-int64(r.max)-1, 0)
	b, _, err := r.f.take(r.ctx, nil, from, r.first-from)
	if err != nil {
		return err
	}
	body := r.body()
	left := r.req.Tail - newlines(body)
	if len(body) > 0 && body[len(body)-1] != '\n' {
		left--
	}
	if inLine { // that line counts again
		left++
	}
	start, _ := lastLines(b, left)
	if over := len(b) - r.max; start < over {
		start = over
		if b[over-1] != '\n' {
			start = nextStart(b, over, r.req.Text)
		}
	}
	if start >= len(b) { // no text, or the file changes
		start = max(len(b)-r.max, 0)
	}
	r.cutAt = headCut{yes: true, inLine: inLine, prev: from + int64(start)}
	return nil
}

// nextStart returns where the first line after i starts, or if there is none
// the first character.
func nextStart(b []byte, i int, text bool) int {
	if n := bytes.IndexByte(b[i:], '\n'); n >= 0 && i+n+1 < len(b) {
		return i + n + 1
	}
	for end := min(len(b), i+utf8.UTFMax); text && i < end && !utf8.RuneStart(b[i]); {
		i++
	}
	return i
}

// lastLines returns where the last n lines of b start, and whether b has them
// whole: something before them must be seen to end a line.
func lastLines(b []byte, n int64) (start int, enough bool) {
	end := len(b)
	if end > 0 && b[end-1] == '\n' {
		end--
	}
	for ; n > 0; n-- {
		end = bytes.LastIndexByte(b[:end], '\n')
		if end < 0 {
			return 0, false
		}
	}
	return end + 1, true
}

// tailUnsized is tail for a file whose size is said to be 0: it is read to its
// end, and only the last bytes are kept.
func (r *reader) tailUnsized() error {
	var b []byte
	var from int64
	for eof := false; !eof; {
		var err error
		if b, eof, err = r.f.take(r.ctx, b, from+int64(len(b)), step); err != nil {
			return err
		}
		if over := len(b) - r.max - 1; over > r.max {
			b = append(b[:0], b[over:]...)
			from += int64(over)
		}
		if from > endless {
			return fsbridge.Errorf(fsbridge.OpRead, r.req.Path, fsbridge.CodeTooLarge,
				"no end within %d bytes", endless)
		}
	}
	start, enough := lastLines(b, r.req.Tail)
	return r.endWith(b, start, from, enough)
}
