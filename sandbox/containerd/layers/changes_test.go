package layers

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func openStack(t rapid.TB, dirs ...string) *Stack {
	s, err := OpenStack(dirs...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func collect(t rapid.TB, from, to *Stack, o Options) []string {
	var got []string
	err := Changes(context.Background(), from, to, o, func(c Change) error {
		got = append(got, line(byte(c.Kind), c.Path, thing{Mode: map[bool]uint32{true: 0o40000}[c.Dir()], Size: c.Size()}))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Looking up and comparing tell what real mounts show.
func TestViews(t *testing.T) {
	needRoot(t)
	rapid.Check(t, func(rt *rapid.T) {
		h := anyHistory(rt, t.TempDir())
		defer os.RemoveAll(h.base)
		for i := range h.layers {
			a := openStack(rt, h.topFirst(i)...)
			defer a.Close()
			for p := range allPaths(h.trees) {
				checkLookup(rt, a, p, h.trees[i])
			}
			for j := range h.layers {
				b := openStack(rt, h.topFirst(j)...)
				defer b.Close()
				want := diffTrees(h.trees[i].bare(), h.trees[j].bare())
				if d := cmp.Diff(want, collect(rt, a, b, Options{})); d != "" {
					rt.Fatalf("from layer %d to %d (-want +got):\n%s", i, j, d)
				}
			}
		}
		checkFilter(rt, h)
	})
}

func allPaths(trees []tree) map[string]bool {
	all := map[string]bool{"/none": true, "/a/none/x": true}
	for _, t := range trees {
		for p := range t {
			all[p] = true
		}
	}
	return all
}

func checkLookup(t *rapid.T, s *Stack, p string, want tree) {
	e, err := s.Lookup(p)
	x, ok := want[p]
	if !ok {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("look up %q: %v, want %v", p, err, fs.ErrNotExist)
		}
		return
	}
	if err != nil {
		t.Fatalf("look up %q: %v", p, err)
	}
	if e.Path != p || e.Stat.Mode != x.Mode || e.Stat.Uid != x.Uid || e.Stat.Mtim != x.Mtime {
		t.Fatalf("look up %q: %+v, want %+v", p, e, x)
	}
}

// Limited to a path, the comparison tells the part that is there.
func checkFilter(t *rapid.T, h *history) {
	p := "/" + paths.Draw(t, "only")
	a := openStack(t, h.topFirst(0)...)
	defer a.Close()
	b := openStack(t, h.topFirst(len(h.layers)-1)...)
	defer b.Close()
	var want []string
	for _, l := range collect(t, a, b, Options{}) {
		var q string
		if q = strings.Split(l, " ")[1]; q == quoted(p) || strings.HasPrefix(q, strings.TrimSuffix(quoted(p), `"`)+"/") {
			want = append(want, l)
		}
	}
	if got := collect(t, a, b, Options{Path: p}); !slices.Equal(got, want) {
		t.Fatalf("below %q: %q, want %q", p, got, want)
	}
}

func quoted(p string) string { return strings.Split(line('x', p, thing{}), " ")[1] }

// The options bound the work, and a file may be known to be unchanged.
func TestOptions(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for _, name := range []string{"x", "y", "z"} {
		write(a+"/"+name, "old", 0o644, 0)
		write(b+"/"+name, "new", 0o644, 0)
	}
	told := 0
	count := func(Change) error { told++; return nil }
	known := func(path string, _, _ *unix.Stat_t) bool { return path == "/y" }
	if err := ChangesPlain(t.Context(), a, b, Options{Unchanged: known}, count); err != nil || told != 2 {
		t.Errorf("%d told, %v; want 2", told, err)
	}
	if err := ChangesPlain(t.Context(), a, b, Options{Max: 3}, count); !errors.Is(err, ErrLimit) {
		t.Errorf("%v, want %v", err, ErrLimit)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ChangesPlain(ctx, a, b, Options{}, count); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	stop := errors.New("stop")
	if err := ChangesPlain(t.Context(), a, b, Options{}, func(Change) error { return stop }); err != stop {
		t.Errorf("%v, want what yield returned", err)
	}
}
