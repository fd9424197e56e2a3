package fsbridge

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func drawMatches(t *rapid.T) []Match {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Match {
		return Match{
			Path:    Path(rapid.SampledFrom([]string{"a", "a/b", "b\xff"}).Draw(t, "path")),
			Line:    rapid.Int64Range(0, 1<<62).Draw(t, "line"),
			Count:   rapid.Int64Range(0, 1<<62).Draw(t, "count"),
			Context: rapid.Bool().Draw(t, "context"),
			Cut:     rapid.Bool().Draw(t, "cut"),
			Text:    rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "text"),
		}
	}), 0, 20).Draw(t, "matches")
}

func sameMatch(a, b *Match) bool {
	return a.Path == b.Path && a.Line == b.Line && a.Count == b.Count &&
		a.Context == b.Context && a.Cut == b.Cut && bytes.Equal(a.Text, b.Text)
}

func TestMatchesKeepEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		matches := drawMatches(t)
		b := AppendMatches(nil, matches)
		got, err := ParseMatches(b, len(matches))
		if err != nil || len(got) != len(matches) {
			t.Fatalf("%v: %d matches, expected %d", err, len(got), len(matches))
		}
		for i := range got {
			if !sameMatch(&got[i], &matches[i]) {
				t.Fatalf("%+v, expected %+v", got[i], matches[i])
			}
		}
		if _, err := ParseMatches(b, len(matches)+1); err == nil {
			t.Fatal("a match too few passes")
		}
		if cut := len(b); cut > 0 {
			if _, err := ParseMatches(b[:cut-1], len(matches)); err == nil {
				t.Fatal("cut matches pass")
			}
		}
	})
}

func TestMatchesAreBounded(t *testing.T) {
	long := AppendMatches(nil, []Match{{Path: "a", Line: 1, Text: make([]byte, LineMax+1)}})
	for name, c := range map[string]struct {
		b     []byte
		count int
	}{
		"text": {long, 1}, "count": {make([]byte, 8), 3}, "below 0": {nil, -1},
		"flags": {[]byte{8, 1, 'a', 0, 0, 0}, 1}, "path twice": {[]byte{4, 0, 0, 0, 0}, 1},
	} {
		if _, err := ParseMatches(c.b, c.count); err == nil {
			t.Errorf("%s: it passes", name)
		}
	}
}

func FuzzMatches(f *testing.F) {
	f.Add(AppendMatches(nil, []Match{{Path: "a", Line: 1, Text: []byte("x")}, {Path: "a", Line: 2, Context: true}}), 2)
	f.Fuzz(func(t *testing.T, b []byte, count int) {
		matches, err := ParseMatches(b, count)
		if err != nil {
			return
		}
		again, err := ParseMatches(AppendMatches(nil, matches), count)
		if err != nil || len(again) != count {
			t.Fatalf("%v: %d matches, %d were asked for", err, len(again), count)
		}
	})
}
