package text

import (
	"context"
	"regexp"
	"strings"
	"testing"
)

// FuzzFinder holds what is found in lines against package regexp, whatever the
// pattern is, and sees that a multiline one ends.
func FuzzFinder(f *testing.F) {
	for _, pattern := range []string{"a", "(?i)task|b", `\bfoo\s+(bar|baz)$`, "[^a]{2,3}", "^(?:x|)*y", `\pL+`, "(?m)^a$", `\Aa\z`} {
		f.Add(pattern, "a foo bar\r\ntaſk b\n\nxy\xff", false)
		f.Add(pattern, "aab\nTASK", true)
	}
	f.Fuzz(func(t *testing.T, pattern, text string, fold bool) {
		if len(pattern) > 100 || len(text) > 300 {
			return
		}
		if p, err := Compile(pattern, Options{IgnoreCase: fold, Multiline: true}); err == nil {
			finder := p.NewFinder(context.Background())
			finder.Reset([]byte(text))
			for from := 0; from < len(text); {
				start, end, ok := finder.Next(from)
				if !ok {
					break
				}
				if start < from || end < start {
					t.Fatalf("%q in %q: got %d to %d from %d", pattern, text, start, end, from)
				}
				from = index([]byte(text), end, '\n') + 1
			}
		}
		p, err := Compile(pattern, Options{IgnoreCase: fold})
		if err != nil {
			return
		}
		if fold {
			pattern = "(?i)" + pattern
		}
		re := regexp.MustCompile(pattern)
		for line := range strings.SplitSeq(text, "\n") {
			finder := p.NewFinder(context.Background())
			finder.Reset([]byte(line + "\n"))
			_, _, got := finder.Next(0)
			if want := re.MatchString(strings.TrimSuffix(line, "\r")); got != want {
				t.Fatalf("%q in %q: got %v (needles %+v)", pattern, line, got, p.needles)
			}
		}
	})
}
