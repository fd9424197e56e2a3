package tools

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"moorage/fsbridge"
)

func TestShownNamesAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := strings.ReplaceAll(string(rapid.OneOf(
			rapid.SliceOfN(rapid.Byte(), 1, 40),
			rapid.Map(rapid.StringN(1, 20, 40), func(s string) []byte { return []byte(s) }),
			rapid.Map(rapid.StringMatching(`["\\ a\n>-]{1,8}`), func(s string) []byte { return []byte(s) }),
		).Draw(t, "name")), "\x00", "")
		if name == "" {
			return
		}
		shown := show(fsbridge.Path(name))
		if !utf8.ValidString(shown) || strings.ContainsAny(shown, "\n\r\x1b\x7f\u2028\u202e") {
			t.Fatalf("%q is shown as %q", name, shown)
		}
		back, err := parsePath("path", shown)
		if err != nil || string(back) != name {
			t.Fatalf("%q is shown as %s, which is read as %q, %v", name, shown, back, err)
		}
	})
}

func TestPathParameter(t *testing.T) {
	for in, want := range map[string]string{
		"/data/a b": "/data/a b", "ä/ö": "ä/ö", `"a\x1bb"`: "a\x1bb", `"\xff"`: "\xff", `"a\"b"`: `a"b`, `"half`: `"half`, `half"`: `half"`, "a\nb": "a\nb",
	} {
		if got, err := parsePath("path", in); err != nil || string(got) != want {
			t.Errorf("%q is read as %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", `""`, "a\x00b", `"a\x00b"`, `"a"b"`, `"\q"`, strings.Repeat("a", pathMax+1)} {
		if got, err := parsePath("path", in); err == nil || !strings.HasPrefix(err.Error(), "invalid_argument: path: got ") {
			t.Errorf("%.80q is read as %.80q, %v", in, got, err)
		}
	}
}

func TestOutputBecomesText(t *testing.T) {
	for _, x := range []struct {
		in       string
		head     bool
		tail     bool
		want     string
		replaced bool
	}{
		{"plain\x1b[31m\x00", false, false, "plain\x1b[31m\x00", false},
		{"a\xffb", false, false, "a\uFFFDb", true},
		{"ab\xe2\x82", false, true, "ab", false},
		{"ab\xe2\x82", false, false, "ab\uFFFD", true},
		{"\x82\xacab", true, false, "ab", false},
		{"\x82\xacab", false, false, "\uFFFDab", true},
		{"\xf0\x9f\x98\x80", true, true, "\U0001F600", false},
		{"\x80\x80\x80\x80", true, false, "\uFFFD", true},
		{"", true, true, "", false},
	} {
		if got, replaced := valid([]byte(x.in), x.head, x.tail); got != x.want || replaced != x.replaced {
			t.Errorf("%q %v %v -> %q %v", x.in, x.head, x.tail, got, replaced)
		}
	}
}

// TestFitIsWhatJSONTakes: the estimate is never below what package json writes.
func TestFitIsWhatJSONTakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOf(rapid.RuneFrom([]rune("a\"\\\n\x01<>&é€\u2028😀"))).Draw(t, "s")
		max := rapid.IntRange(0, 60).Draw(t, "max")
		n := fit([]byte(s), max)
		b, err := json.Marshal(s[:n])
		if err != nil || len(b)-2 > max || !utf8.ValidString(s[:n]) {
			t.Fatalf("%q in %d: %q, %d bytes, %v", s, max, s[:n], len(b)-2, err)
		}
	})
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb": "a; b", "\x1b[31mred": `\x1b[31mred`, "\xff": `\xff`, "ä\u202e": `ä\u202e`, "x\ty": `x\ty`,
	} {
		if got := clean(in, 100); got != want {
			t.Errorf("%q -> %q, want %q", in, got, want)
		}
	}
	if got := clean(strings.Repeat("ä", 1000), 10); len(got) > 14 {
		t.Errorf("%d bytes", len(got))
	}
}
