package text

import "bytes"

// span says that bytes Start to End of one content are bytes NewStart to NewEnd
// of another. Spans are sorted and do not touch.
type span struct{ start, end, newStart, newEnd int }

// spansMax is how many spans a Change tells apart: more changes than a diff of
// fsbridge.DiffMax can show. Beyond it the last one grows.
const spansMax = 100_000

// extend appends a span of old, or lets the last one grow where it ends on the
// same line of old.
func extend(spans []span, s span, old []byte) []span {
	if n := len(spans); n > 0 {
		last := &spans[n-1]
		if n >= spansMax || bytes.IndexByte(old[last.end:s.start], '\n') < 0 {
			last.end, last.newEnd = s.end, s.newEnd
			return spans
		}
	}
	return append(spans, s)
}

// join gives the spans of two changes of which b followed a.
func join(a, b []span) []span {
	if len(a) == 0 {
		return b
	}
	var out []span
	shiftA, shiftB := 0, 0 // from the old to the middle, from the middle to the new
	for len(a) > 0 || len(b) > 0 {
		from := 0
		if len(a) == 0 || len(b) > 0 && b[0].start < a[0].newStart {
			from = b[0].start
		} else {
			from = a[0].newStart
		}
		s := span{start: from - shiftA, newStart: from + shiftB}
		to := from
		for {
			if len(a) > 0 && a[0].newStart <= to {
				to, shiftA, a = max(to, a[0].newEnd), a[0].newEnd-a[0].end, a[1:]
			} else if len(b) > 0 && b[0].start <= to {
				to, shiftB, b = max(to, b[0].end), b[0].newEnd-b[0].end, b[1:]
			} else {
				break
			}
		}
		s.end, s.newEnd = to-shiftA, to+shiftB
		if n := len(out); n >= spansMax {
			out[n-1].end, out[n-1].newEnd = s.end, s.newEnd
			continue
		}
		out = append(out, s)
	}
	return out
}
