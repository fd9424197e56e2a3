package idmap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestRangeText(t *testing.T) {
	for _, r := range []Range{{}, {1}, {0x7000_0000}, {maxBase}} {
		if got, err := ParseRange(r.String()); err != nil || got != r {
			t.Errorf("%s is read as %s, %v", r, got, err)
		}
	}
	for _, bad := range []string{"", "0:65536", "5", "5:1", "-1:65536", "4294967295:65536", "a:65536", "1:65536:1"} {
		if r, err := ParseRange(bad); err == nil {
			t.Errorf("%q is read as %s", bad, r)
		}
	}
}

func TestSpanText(t *testing.T) {
	if s, err := ParseSpan(""); err != nil || s != DefaultSpan || s.Ranges() != 4094 {
		t.Errorf("default span is %s, %v", s, err)
	}
	if s, err := ParseSpan("100000:131072"); err != nil || s.Ranges() != 2 {
		t.Errorf("%s, %v", s, err)
	}
	for _, bad := range []string{"1", "0:65536", "100000:65535", "4294910000:65536", "x:y", "100000:131072:1"} {
		if s, err := ParseSpan(bad); err == nil {
			t.Errorf("%q is read as %s", bad, s)
		}
	}
}

// TestPool plays against a model: who holds what.
func TestPool(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		span := Span{100_000, 4 * Size}
		p := NewPool(span, rapid.String().Draw(t, "seed"))
		held := map[string]map[string]Range{} // by owner and key
		of := func(owner string) (Range, bool) {
			for _, r := range held[owner] {
				return r, true
			}
			return Range{}, false
		}
		note := func(owner, key string, r Range) {
			if held[owner] == nil {
				held[owner] = map[string]Range{}
			}
			held[owner][key] = r
		}
		pick := func(list ...string) string { return rapid.SampledFrom(list).Draw(t, "name") }
		t.Repeat(map[string]func(*rapid.T){
			"claim": func(t *rapid.T) {
				owner, key := pick("a", "b", "c", "d", "e"), pick("1", "2")
				r, err := p.Claim(owner, key)
				had, has := of(owner)
				switch {
				case has && (err != nil || r != had):
					t.Fatalf("%s got %s, %v: it has %s", owner, r, err, had)
				case err != nil && !errors.Is(err, ErrFull):
					t.Fatal(err)
				case err != nil && len(held) < 3:
					// Noted ranges may overlap two of the span's each.
					t.Fatalf("full with %d owners", len(held))
				case err == nil:
					note(owner, key, r)
				}
			},
			"note": func(t *rapid.T) {
				owner, key := pick("a", "b", "c"), pick("1", "2")
				r := Range{rapid.SampledFrom([]uint32{100_000, 100_000 + Size, 100_001, 90_000}).Draw(t, "base")}
				if p.Note(owner, key, r) {
					note(owner, key, r)
				}
			},
			"release": func(t *rapid.T) {
				owner, key := pick("a", "b", "c", "d", "e"), pick("1", "2")
				p.Release(owner, key)
				if delete(held[owner], key); len(held[owner]) == 0 {
					delete(held, owner)
				}
			},
			"": func(t *rapid.T) {
				var all []Range
				for owner := range held {
					r, _ := of(owner)
					for _, other := range held[owner] {
						if other != r {
							t.Fatalf("%s has %s and %s", owner, r, other)
						}
					}
					for _, other := range all {
						if r.Contains(other.Base) || other.Contains(r.Base) {
							t.Fatalf("%s and %s overlap", r, other)
						}
					}
					all = append(all, r)
				}
			},
		})
	})
}

// TestSeeds: two servers of a host seldom begin at the same place.
func TestSeeds(t *testing.T) {
	met := 0
	for i := range 200 {
		a, _ := NewPool(Span{}, fmt.Sprintf("server %d", i)).Claim("bot", "key")
		b, _ := NewPool(Span{}, fmt.Sprintf("server %d", i+1000)).Claim("bot", "key")
		if a == b {
			met++
		}
	}
	if met > 2 {
		t.Errorf("%d of 200 pairs begin at the same range", met)
	}
}

func TestClone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	dir, at := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, ids := range []Range{{}, {1 << 30}} {
		m, err := Open(ids)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Mount(dir, at); err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		err = unix.Stat(filepath.Join(at, "f"), &st)
		if err := errors.Join(err, Unmount(at)); err != nil {
			t.Fatal(err)
		}
		if st.Uid != ids.Base || st.Gid != ids.Base {
			t.Errorf("through %s root's file belongs to %d:%d", ids, st.Uid, st.Gid)
		}
	}
	if err := errors.Join(Unmount(at), Unmount(filepath.Join(at, "nothing"))); err != nil {
		t.Errorf("unmount where nothing is: %v", err)
	}
}
