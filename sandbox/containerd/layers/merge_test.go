package layers

import (
	"context"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Merged layers show, over what they were on, what they showed before.
func TestMerge(t *testing.T) {
	needRoot(t)
	rapid.Check(t, func(rt *rapid.T) {
		h := anyHistory(rt, t.TempDir())
		defer os.RemoveAll(h.base)
		top := len(h.layers) - 1
		from := rapid.IntRange(0, top).Draw(rt, "from")
		below := openStack(rt, h.topFirst(from-1)...)
		defer below.Close()
		dst := h.dir("fs")
		if err := Merge(context.Background(), dst, h.topFirst(top)[:top+1-from], below); err != nil {
			rt.Fatal(err)
		}
		h.mounted(append([]string{dst}, h.topFirst(from-1)...), "", func(root string) {
			if d := cmp.Diff(h.trees[top], readTree(root)); d != "" {
				rt.Fatalf("layers from %d on, merged (-before +after):\n%s", from, d)
			}
		})
		// And nothing is seen to have changed.
		a, b := openStack(rt, h.topFirst(top)...), openStack(rt, append([]string{dst}, h.topFirst(from-1)...)...)
		defer a.Close()
		defer b.Close()
		if got := collect(rt, a, b, Options{}); len(got) > 0 {
			rt.Fatalf("changes by merging: %q", got)
		}
	})
}
