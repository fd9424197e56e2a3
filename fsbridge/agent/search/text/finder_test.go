package text

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// linesOf returns the line numbers of all that a finder finds, the first and last
// of each.
func linesOf(t testing.TB, pattern string, o Options, text string) (found []string) {
	t.Helper()
	p, err := Compile(pattern, o)
	if err != nil {
		t.Fatalf("%q: %v", pattern, err)
	}
	f := p.NewFinder(t.Context())
	f.Reset([]byte(text))
	for from := 0; ; {
		start, end, ok := f.Next(from)
		if !ok {
			return found
		}
		first := strings.Count(text[:start], "\n") + 1
		found = append(found, fmt.Sprintf("%d-%d", first, first+strings.Count(text[start:end], "\n")))
		if from = end + strings.IndexByte(text[end:]+"\n", '\n') + 1; from > len(text) {
			return found
		}
	}
}

func TestFinder(t *testing.T) {
	for _, c := range []struct {
		pattern string
		o       Options
		text    string
		want    string
	}{
		{"b", Options{}, "a\nb\ncb", "2-2 3-3"},
		{"^b$", Options{}, "ab\r\nb\r\nb", "2-2 3-3"},
		{"a\\s", Options{}, "a\r\na \n", "2-2"},
		{"a.c", Options{Fixed: true}, "abc\na.c", "2-2"},
		{"İ", Options{IgnoreCase: true}, "x\nİ", "2-2"},
		{"task", Options{IgnoreCase: true}, "TASK\ntaſk\ntas\u212a\ntasc", "1-1 2-2 3-3"},
		{"foo|bar", Options{}, "x\nbar\nfoo\nfobar", "2-2 3-3 4-4"},
		{"(?i)err(or)?s", Options{}, "ERRS\nErrors\nerr", "1-1 2-2"},
		{`\bword\b`, Options{}, "sword\na word\nwords", "2-2"},
		{"^$", Options{}, "a\n\n\r\n", "2-2 3-3"},
		{"x*", Options{}, "\na\n", "1-1 2-2"},
		{"a$", Options{Multiline: true}, "a\r\nab\na", "1-1 3-3"},
		{"a.*c", Options{Multiline: true}, "a\nb\nc\nd\na\nc", "1-6"},
		{"a.*?c", Options{Multiline: true}, "a\nb\nc\nd\na\nc", "1-3 5-6"},
		{`a\nb`, Options{Multiline: true}, "a\nb\na\nb\n", "1-2 3-4"},
		{`a$\s^b`, Options{Multiline: true}, "a\r\nb", "1-2"},
		{`\Aa`, Options{Multiline: true}, "a\na", "1-1"},
		{"^$", Options{Multiline: true}, "a\n\nb\n", "2-2"},
		{`b\n`, Options{Multiline: true}, "a\nb\nc", "2-2"},
		{`[^x]+`, Options{Multiline: true}, "x\nab\nx\n", "1-2 3-3"},
	} {
		if got := strings.Join(linesOf(t, c.pattern, c.o, c.text), " "); got != c.want {
			t.Errorf("%q in %q: got %s, want %s", c.pattern, c.text, got, c.want)
		}
	}
}

// drawPattern makes a pattern of what needles are found in.
func drawPattern(t *rapid.T) string {
	atom := rapid.SampledFrom([]string{"a", "b", "ab", "ka", "s", "(?i:ks)", "(?i:ab)", ".", "[ab]", "[^a]", `\w`, `\s`, `\b`, "^", "$",
		"(a|bk)", "(?:ab|ba|k)", "a*", "b+", "(ab)?", "(?:ab){2}", "(?:a|(?i:B))", `\r`, "é", "(a|)"})
	parts := rapid.SliceOfN(atom, 1, 4).Draw(t, "parts")
	return strings.Join(parts, rapid.SampledFrom([]string{"", "", "|"}).Draw(t, "between"))
}

func drawText(t *rapid.T, letters ...string) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(letters), 0, 40).Draw(t, "text"), "")
}

func TestLinesAsNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern, fold := drawPattern(t), rapid.Bool().Draw(t, "fold")
		text := drawText(t, "a", "b", "k", "s", "A", "S", "é", "\u212a", "ſ", "\xff", " ", "\r", "\n", "\n", "\r\n")
		flags := ""
		if fold {
			flags = "(?i)"
		}
		re := regexp.MustCompile(flags + pattern)
		var want []string
		for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
			if text != "" && re.MatchString(strings.TrimSuffix(line, "\r")) {
				want = append(want, fmt.Sprintf("%d-%d", i+1, i+1))
			}
		}
		check(t, pattern, Options{IgnoreCase: fold}, text, want)
	})
}

func TestMultilineAsNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := drawPattern(t) + rapid.SampledFrom([]string{"", `\n`, `\na`, ".*k"}).Draw(t, "more")
		text := drawText(t, "a", "b", "k", "s", "A", "é", "\xff", " ", "\n", "\n")
		re := regexp.MustCompile("(?ms)" + pattern)
		var want []string
		for from := 0; from < len(text); {
			loc := re.FindStringIndex(text[from:])
			if loc == nil || from+loc[0] == len(text) && text[len(text)-1] == '\n' {
				break
			}
			start, end := from+loc[0], from+loc[1]
			first := strings.Count(text[:start], "\n") + 1
			last := first + strings.Count(text[start:max(start, end-1)], "\n")
			want = append(want, fmt.Sprintf("%d-%d", first, last))
			from = len(strings.Join(strings.SplitAfter(text, "\n")[:last], ""))
		}
		check(t, pattern, Options{Multiline: true}, text, want)
	})
}

func check(t *rapid.T, pattern string, o Options, text string, want []string) {
	p, err := Compile(pattern, o)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	f := p.NewFinder(context.Background())
	b := []byte(text)
	f.Reset(b)
	for from := 0; ; {
		start, end, ok := f.Next(from)
		if !ok {
			break
		}
		first := bytes.Count(b[:start], []byte("\n")) + 1
		got = append(got, fmt.Sprintf("%d-%d", first, first+bytes.Count(b[start:end], []byte("\n"))))
		from = index(b, end, '\n') + 1
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%q in %q: got %q, want %q (needles %+v)", pattern, text, got, want, p.needles)
	}
}

func TestCompileErrors(t *testing.T) {
	for pattern, want := range map[string]string{
		"": "empty", "a(": "missing closing", "a(?=b)": "no look-ahead", "(?<!a)b": "look-behind", `(a)\1`: "references",
		`a\nb`: "multiline", `[\n]`: "multiline", "(?:(?:a{100}){100}){100}": "repeat", strings.Repeat(".{1000}", 100): "too large",
		`\pL{1000}`: "too large", "*": "fixed",
	} {
		if _, err := Compile(pattern, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: got %v, want one of %q", pattern, err, want)
		}
	}
	for _, pattern := range []string{`a\nb`, "a\\s+b", "(a|b)(?P<x>c)"} {
		if _, err := Compile(pattern, Options{Multiline: true}); err != nil {
			t.Error(err)
		}
	}
}

func TestNeedles(t *testing.T) {
	for pattern, want := range map[string]string{
		`func\s+\w+\(`: "func", "foobar|foobaz": "foobar foobaz", "(abc|de)f": "abcf def", `\w+Error`: "Error", "a*": "", "(?i)Hello": "hello",
		"x{3}": "x", "(?:ab)+c": "ab", "a(b|c)d": "abd acd", "[a-z]+": "", "a|b|c|d|e|f|g|h|i|j": "", "a?": "", "^import$": "import",
		strings.Repeat("a", 100): strings.Repeat("a", needleMax),
	} {
		p, err := Compile(pattern, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if p.needles != nil {
			got = strings.Join(p.needles.texts, " ")
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", pattern, got, want)
		}
	}
}

// TestSlowPatternIsCancelled: a pattern as large as may be, on a line of 16 MiB.
func TestSlowPatternIsCancelled(t *testing.T) {
	for _, o := range []Options{{}, {Multiline: true}} {
		p, err := Compile("(?:.*){500}[^x](?:\\w|.){1000}$", o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		f := p.NewFinder(ctx)
		f.Reset(bytes.Repeat([]byte("x"), 16<<20))
		if _, _, ok := f.Next(0); ok {
			t.Error("it matches")
		}
		deadline, _ := ctx.Deadline()
		if late := time.Since(deadline); late < 0 || late > 5*time.Second {
			t.Errorf("it ended %v after it was cancelled", late)
		}
	}
}

// TestAutomaton holds it against package regexp where it has to start again, and
// where it is given up.
func TestAutomaton(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, pattern := range []string{`^(a|b)*a[ab]{6}$`, `[ab]*a[ab]{12}c`, `\b(a|b)+\b.*b$`, `(?i)A{3}\B`} {
		p, err := Compile(pattern, Options{})
		if err != nil {
			t.Fatal(err)
		}
		a, told := newAutomaton(p.prog), 0
		for range 20_000 {
			line := make([]byte, random.IntN(40))
			for i := range line {
				line[i] = "aabb c"[random.IntN(6)]
			}
			matches, ok := a.match(line)
			if ok {
				told++
			}
			if ok && matches != p.re.Match(line) {
				t.Fatalf("%s: %q: got %v", pattern, line, matches)
			}
		}
		if len(a.states) > statesMax || told < 1000 {
			t.Errorf("%s: %d states, %d told", pattern, len(a.states), told)
		}
	}
	if p, _ := Compile(".{1000}", Options{}); newAutomaton(p.prog) != nil {
		t.Error("an automaton of any size")
	}
}
