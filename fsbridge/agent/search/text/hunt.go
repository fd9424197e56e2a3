package text

import (
	"bytes"
	"strings"
)

// hunt looks for one text in a buffer, from left to right. It jumps from one of
// the text's rarest byte to the next.
type hunt struct {
	text   string
	fold   bool
	rare   int // place of that byte in text
	lo, up byte

	nextLo, nextUp int // where they are next; len of the buffer if nowhere
	next           int // where the text is next
}

func newHunt(text string, fold bool) hunt {
	h := hunt{text: text, fold: fold, rare: rarest(text)}
	h.lo, h.up = text[h.rare], text[h.rare]
	if fold && 'a' <= h.lo && h.lo <= 'z' {
		h.up -= 'a' - 'A'
	}
	return h
}

// common are bytes by how often they are in source code, the most common first.
const common = " etanrisolcdpumfhg_.y(),;=b0vw-1x\"/k2:\t\n'{}q3j4z5678*[]<>9\\&+#$@!?|%~^`"

// rarest returns the place of the byte in s that is the rarest in most texts.
func rarest(s string) int {
	best, rank := 0, -1
	for i := range len(s) {
		at := strings.IndexByte(common, s[i])
		if at < 0 {
			at = len(common)
		}
		if at > rank {
			best, rank = i, at
		}
	}
	return best
}

func (h *hunt) reset() { h.nextLo, h.nextUp, h.next = -1, -1, -1 }

// from returns where the text is in b, at i or after it; len(b) if nowhere. i
// never falls between resets.
func (h *hunt) from(b []byte, i int) int {
	if h.next >= i {
		return h.next
	}
	for i += h.rare; i < len(b); {
		if h.nextLo < i {
			h.nextLo = index(b, i, h.lo)
		}
		at := h.nextLo
		if h.up != h.lo {
			if h.nextUp < i {
				h.nextUp = index(b, i, h.up)
			}
			at = min(at, h.nextUp)
		}
		if at == len(b) {
			break
		}
		if h.is(b, at-h.rare) {
			h.next = at - h.rare
			return h.next
		}
		i = at + 1
	}
	h.next = len(b)
	return h.next
}

// index is bytes.IndexByte from i on; len(b) if there is none.
func index(b []byte, i int, c byte) int {
	if at := bytes.IndexByte(b[i:], c); at >= 0 {
		return i + at
	}
	return len(b)
}

func (h *hunt) is(b []byte, at int) bool {
	if at+len(h.text) > len(b) {
		return false
	}
	b = b[at : at+len(h.text)]
	if !h.fold {
		return string(b) == h.text
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != h.text[i] {
			return false
		}
	}
	return true
}
