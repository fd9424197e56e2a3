package process

import "sync/atomic"

// Sizes of what is kept of a stream beyond its spool file.
const (
	ringSize  = 64 << 10
	ringSmall = 4 << 10
	// ringTotal is how many bytes all rings of ringSize may have together. Further
	// ones are small, so that all the processes that a Table has have at most
	// 18 MiB.
	ringTotal = 8 << 20
)

// ring keeps the last bytes of what is added.
type ring struct {
	buf []byte
	all int64 // bytes that were added; the next one's place is all % len(buf)
}

func (r *ring) add(b []byte) {
	if over := len(b) - len(r.buf); over > 0 {
		r.all += int64(over)
		b = b[over:]
	}
	for len(b) > 0 {
		n := copy(r.buf[r.all%int64(len(r.buf)):], b)
		r.all += int64(n)
		b = b[n:]
	}
}

// kept is how many of the last bytes it has.
func (r *ring) kept() int64 { return min(r.all, int64(len(r.buf))) }

// appendTo appends at most limit bytes of those kept to dst, but for the first
// skip of them.
func (r *ring) appendTo(dst []byte, skip int64, limit int) []byte {
	n := int(min(r.kept()-skip, int64(limit)))
	if n <= 0 {
		return dst
	}
	at := int((r.all - r.kept() + skip) % int64(len(r.buf)))
	first := r.buf[at:min(at+n, len(r.buf))]
	return append(append(dst, first...), r.buf[:n-len(first)]...)
}

// rings counts the bytes of the rings of a Table.
type rings struct{ bytes atomic.Int64 }

// take returns how large the next ring is. Whoever has it gives that back.
func (r *rings) take() int64 {
	if r.bytes.Add(ringSize) <= ringTotal {
		return ringSize
	}
	r.bytes.Add(ringSmall - ringSize)
	return ringSmall
}

func (r *rings) give(n int64) { r.bytes.Add(-n) }
