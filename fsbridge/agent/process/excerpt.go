package process

import "unicode/utf8"

// excerpt keeps of a stream all if that is at most max bytes, else its head and
// its tail.
type excerpt struct {
	max  int
	head []byte // the first max bytes
	tail []byte // a ring of the last bytes after them
	next int    // where the ring is written next
	more int64  // bytes after head
}

func newExcerpt(max int) *excerpt { return &excerpt{max: max} }

func (e *excerpt) half() int { return e.max / 2 }

func (e *excerpt) add(b []byte) {
	n := min(len(b), e.max-len(e.head))
	e.head = append(e.head, b[:n]...)
	if b = b[n:]; len(b) > 0 {
		e.ring(b)
	}
}

// ring adds b to the tail's ring, which has the size of what the result returns.
func (e *excerpt) ring(b []byte) {
	e.more += int64(len(b))
	if e.tail == nil {
		e.tail = make([]byte, e.max-e.half())
	}
	if over := len(b) - len(e.tail); over > 0 {
		b = b[over:]
	}
	for len(b) > 0 {
		n := copy(e.tail[e.next:], b)
		e.next = (e.next + n) % len(e.tail)
		b = b[n:]
	}
}

// parts returns the head and, if something was left out after it, the tail, both
// cut at characters' edges.
func (e *excerpt) parts() (head, tail []byte) {
	if e.more == 0 {
		return e.head, nil
	}
	size := len(e.tail)
	recent := make([]byte, 0, 2*size)
	if e.more < int64(size) {
		recent = append(recent, e.head[len(e.head)-(size-int(e.more)):]...)
		recent = append(recent, e.tail[:e.next]...)
	} else {
		recent = append(recent, e.tail[e.next:]...)
		recent = append(recent, e.tail[:e.next]...)
	}
	return wholeEnd(e.head[:e.half()]), wholeStart(recent)
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
