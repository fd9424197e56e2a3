package process

import "unicode/utf8"

// excerpt keeps of a stream all if that is at most max bytes, else its head and
// its tail.
type excerpt struct {
	max  int
	head []byte // the first max bytes
	tail ring   // the last bytes after them, as many as the result returns
}

func newExcerpt(max int) *excerpt { return &excerpt{max: max} }

func (e *excerpt) half() int { return e.max / 2 }

func (e *excerpt) add(b []byte) {
	n := min(len(b), e.max-len(e.head))
	e.head = append(e.head, b[:n]...)
	if b = b[n:]; len(b) == 0 {
		return
	}
	if e.tail.buf == nil {
		e.tail.buf = make([]byte, e.max-e.half())
	}
	e.tail.add(b)
}

// parts returns the head and, if something was left out after it, the tail, both
// cut at characters' edges.
func (e *excerpt) parts() (head, tail []byte) {
	if e.tail.all == 0 {
		return e.head, nil
	}
	size := len(e.tail.buf)
	recent := make([]byte, 0, size)
	recent = append(recent, e.head[len(e.head)-(size-int(e.tail.kept())):]...)
	return wholeEnd(e.head[:e.half()]), wholeStart(e.tail.appendTo(recent, 0, size))
}

// wholeEnd cuts off the beginning of a character at the end of b.
func wholeEnd(b []byte) []byte {
	for i := len(b) - 1; i >= 0 && i > len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return b[:i]
			}
			break
		}
	}
	return b
}

// wholeStart cuts off the end of a character at the start of b.
func wholeStart(b []byte) []byte {
	for i := 0; i < len(b) && i < utf8.UTFMax; i++ {
		if utf8.RuneStart(b[i]) {
			return b[i:]
		}
	}
	return b
}
