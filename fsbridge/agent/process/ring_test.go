package process

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// A ring has the last bytes, however they came in, and gives any part of them.
func TestRing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "all")
		r := ring{buf: make([]byte, rapid.IntRange(1, 100).Draw(t, "size"))}
		for rest := all; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			r.add(rest[:n])
			rest = rest[n:]
		}
		want := all[max(0, len(all)-len(r.buf)):]
		if r.kept() != int64(len(want)) {
			t.Fatalf("%d bytes are kept, want %d", r.kept(), len(want))
		}
		skip := rapid.IntRange(0, len(want)).Draw(t, "skip")
		limit := rapid.IntRange(0, 100).Draw(t, "limit")
		want = want[skip:]
		want = want[:min(len(want), limit)]
		if got := r.appendTo([]byte("x"), int64(skip), limit); !bytes.Equal(got[1:], want) {
			t.Fatalf("got %q, want %q", got[1:], want)
		}
	})
}

// All rings together are bounded.
func TestRingsAreBounded(t *testing.T) {
	var r rings
	var sizes []int64
	for range 2 * (runningMax + finishedMax) {
		sizes = append(sizes, r.take())
	}
	if got := r.bytes.Load(); got > 18<<20 || sizes[0] != ringSize || sizes[len(sizes)-1] != ringSmall {
		t.Errorf("%d bytes; the first has %d, the last %d", got, sizes[0], sizes[len(sizes)-1])
	}
	for _, n := range sizes {
		r.give(n)
	}
	if got := r.bytes.Load(); got != 0 {
		t.Errorf("%d bytes are left", got)
	}
}
