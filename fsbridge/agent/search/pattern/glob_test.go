package pattern

import (
	"strings"
	"testing"

	"github.com/bmatcuk/doublestar/v4"
	"pgregory.net/rapid"
)

func TestGlob(t *testing.T) {
	for _, c := range []struct{ pattern, match, not string }{
		{"*.go", "a.go d/a.go d/e/.go", "a.got go"},
		{"src/*.go", "src/a.go", "a.go x/src/a.go src/d/a.go"},
		{"./src/*", "src/a", "a"},
		{"src/**", "src/a src/d/e src/d/", "src src/ a"},
		{"**/x", "x a/x a/b/x", "ax"},
		{"a/**/b", "a/b a/x/b a/x/y/b", "b x/a/b"},
		{"*.{go,md}", "a.go d/b.md", "a.txt"},
		{"{src,lib}/**/*.{c,h}", "src/a.c lib/d/b.h", "x/a.c src/a.o"},
		{"a{,b}", "a ab", "b"},
		{"**", "a a/b", ""},
		{"d*/", "d1/ x/d2/", "d1 x"},
		{"/root/src/*", "src/a", "a root/src/a"},
		{"/root/**", "a a/b", ""},
		{`a\*`, "a*", "ab"},
		{`a\{b`, "a{b", "ab"},
		{`[{]*`, "{x", "x"},
		{"[!a]*", "bc", "ab"},
		{"?", "a é", "ab"},
		{"src/", "src/ x/src/", "src"},
	} {
		g, err := ParseGlob("/root", c.pattern)
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
			continue
		}
		for want, list := range map[bool]string{true: c.match, false: c.not} {
			for path := range strings.FieldsSeq(list) {
				name, dir := strings.CutSuffix(path, "/")
				if g.Match(name, dir) != want {
					t.Errorf("%q: %q: got %v", c.pattern, path, !want)
				}
			}
		}
	}
}

func TestGlobInvalid(t *testing.T) {
	for pattern, want := range map[string]string{
		"": "empty", "[a": `\[`, "a{b": `\{`, "a}b": `\}`, "../x": "..", "/etc/*": "absolute", "/rooted": "absolute",
		"/": "absolute", ".": "no name", `a\`: `\`, "[a/b]": "slash", strings.Repeat("{a,b}", 100): "256",
		strings.Repeat("{", 1000): "not closed",
	} {
		if _, err := ParseGlob("/root", pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: got %v, want one of %q", pattern, err, want)
		}
	}
}

func TestGlobBelow(t *testing.T) {
	for _, c := range []struct {
		pattern, dir string
		want         bool
	}{
		{"*.go", "a/b", true}, {"src/*.go", "", true}, {"src/*.go", "src", true}, {"src/*.go", "lib", false},
		{"src/*.go", "src/x", false}, {"src/**/a", "src/x/y", true}, {"src/**/a", "lib/x", false}, {"{a,b}/c", "b", true},
	} {
		g, err := ParseGlob("/", c.pattern)
		if err != nil || g.Below(c.dir) != c.want {
			t.Errorf("%q below %q: got %v, %v", c.pattern, c.dir, !c.want, err)
		}
	}
}

// TestGlobAsDoublestar holds the rows against doublestar on the whole path. What
// is other on purpose is written otherwise: a/** does not match a itself.
func TestGlobAsDoublestar(t *testing.T) {
	part := rapid.SampledFrom([]string{"a", "b", "**", "*", "a*", "*b", "?", "[ab]", "[!a]", "{a,b}", "{a,b*}c", "a**"})
	name := rapid.SampledFrom([]string{"a", "b", "c", "ab", "ac", "ba", "bc"})
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(part, 2, 5).Draw(t, "pattern")
		path := strings.Join(rapid.SliceOfN(name, 1, 5).Draw(t, "path"), "/")
		pattern := strings.Join(parts, "/")
		g, err := ParseGlob("/", pattern)
		if err != nil {
			t.Fatal(err)
		}
		if parts[len(parts)-1] == "**" {
			parts = append(parts, "*")
		}
		want := doublestar.MatchUnvalidated(strings.Join(parts, "/"), path)
		if got := g.Match(path, true); got != want {
			t.Fatalf("%q, %q: got %v", pattern, path, got)
		}
		if dir, _, _ := cutLast(path); want && !g.Below(dir) {
			t.Fatalf("%q is not looked for below %q", pattern, dir)
		}
	})
}

func cutLast(path string) (dir, name string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:], i >= 0
}
