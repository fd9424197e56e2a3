package text

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"moorage/fsbridge"
)

func edit(old, fresh string) fsbridge.Edit { return fsbridge.Edit{Old: old, New: fresh} }

func every(old, fresh string) fsbridge.Edit { return fsbridge.Edit{Old: old, New: fresh, All: true} }

func TestReplace(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		edits   []fsbridge.Edit
		want    string
	}{
		"plain":                    {"a b c", []fsbridge.Edit{edit("b", "x")}, "a x c"},
		"each in the last's":       {"one", []fsbridge.Edit{edit("one", "two"), edit("two", "three")}, "three"},
		"all":                      {"a.a.a", []fsbridge.Edit{every("a", "bb")}, "bb.bb.bb"},
		"delete":                   {"a\nb\nc\n", []fsbridge.Edit{edit("b\n", "")}, "a\nc\n"},
		"CRLF by LF":               {"a\r\nb\r\nc\r\n", []fsbridge.Edit{edit("a\nb", "x\ny\nz")}, "x\r\ny\r\nz\r\nc\r\n"},
		"CRLF begins with LF":      {"a\r\nb", []fsbridge.Edit{edit("\nb", "\nc")}, "a\r\nc"},
		"CRLF, no end in old":      {"a\r\nb\r\n", []fsbridge.Edit{edit("b", "x\ny")}, "a\r\nx\r\ny\r\n"},
		"CRLF by CRLF is exact":    {"a\r\nb\r\n", []fsbridge.Edit{edit("a\r\n", "a\n")}, "a\nb\r\n"},
		"LF by CRLF":               {"a\nb\n", []fsbridge.Edit{edit("a\r\nb\r\n", "x\r\ny\r\n")}, "x\ny\n"},
		"mixed keeps what stays":   {"a\r\nb\nc\r\nd\n", []fsbridge.Edit{edit("a\nb\nc\n", "a\nX\nc\n")}, "a\r\nX\r\nc\r\nd\n"},
		"mixed, its own ends":      {"a\nb\nc\r\nd\r\ne\r\n", []fsbridge.Edit{edit("a\nb\n", "x\ny\n")}, "x\ny\nc\r\nd\r\ne\r\n"},
		"lone CR":                  {"a\rb\r\r\nc\r\n", []fsbridge.Edit{edit("\nc", "\nd")}, "a\rb\r\r\nd\r\n"},
		"BOM stays":                {"\xef\xbb\xbfa\nb", []fsbridge.Edit{edit("a\n", "x\n")}, "\xef\xbb\xbfx\nb"},
		"BOM that is not there":    {"a\nb", []fsbridge.Edit{edit("\ufeffa", "\ufeffx")}, "x\nb"},
		"not UTF-8 outside":        {"\xff\xfe a \x00\x80", []fsbridge.Edit{edit("a", "ü")}, "\xff\xfe ü \x00\x80"},
		"missing last end":         {"a\nb", []fsbridge.Edit{edit("b\n", "c\n")}, "a\nc"},
		"missing last end, CRLF":   {"a\r\nb", []fsbridge.Edit{edit("a\nb\n", "x\ny\n")}, "x\r\ny"},
		"adjacent":                 {"abab", []fsbridge.Edit{every("ab", "x")}, "xx"},
		"an end of line for all":   {"a\nb\n", []fsbridge.Edit{every("\n", ";")}, "a;b;"},
		"an end of line, all CRLF": {"a\r\nb\r\n", []fsbridge.Edit{every("\n", ";")}, "a;b;"},
	} {
		c0, err := Replace(t.Context(), []byte(c.content), c.edits)
		if err != nil || string(c0.New) != c.want {
			t.Errorf("%s: got %q, %v, want %q", name, c0.New, err, c.want)
		}
	}
}

func refused(t *testing.T, content string, edits ...fsbridge.Edit) *fsbridge.Error {
	t.Helper()
	c, err := Replace(t.Context(), []byte(content), edits)
	var e *fsbridge.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %+v, %v", c, err)
	}
	return e
}

func TestReplaceRefused(t *testing.T) {
	file := "func a() {\n\treturn 1\n}\n\nfunc b() {\n\treturn 1\n}\n"
	for name, c := range map[string]struct {
		edits []fsbridge.Edit
		code  fsbridge.Code
		says  string
		lines []int64
	}{
		"twice":            {[]fsbridge.Edit{edit("return 1", "x")}, fsbridge.CodeAmbiguous, "2 times, in lines 2, 6", []int64{2, 6}},
		"empty":            {[]fsbridge.Edit{edit("", "x")}, fsbridge.CodeInvalid, "write the whole file", nil},
		"same":             {[]fsbridge.Edit{edit("a", "a")}, fsbridge.CodeInvalid, "the same", nil},
		"indentation":      {[]fsbridge.Edit{edit("func b() {\n    return 1", "x")}, fsbridge.CodeNoMatch, "white space", []int64{5}},
		"line numbers":     {[]fsbridge.Edit{edit("5\tfunc b() {\n6\t\treturn 1\n", "x")}, fsbridge.CodeNoMatch, "line numbers", []int64{5}},
		"escaped":          {[]fsbridge.Edit{edit(`func b() {\n`, "x")}, fsbridge.CodeNoMatch, "backslash", []int64{5}},
		"a line differs":   {[]fsbridge.Edit{edit("func b() {\n\treturn 2\n}", "x")}, fsbridge.CodeNoMatch, "line 5", []int64{5}},
		"letters differ":   {[]fsbridge.Edit{edit("func bb() {", "x")}, fsbridge.CodeNoMatch, "nearest", []int64{5, 1}},
		"nothing like it":  {[]fsbridge.Edit{edit("0123456789", "x")}, fsbridge.CodeNoMatch, "nor anything like it", nil},
		"changed before":   {[]fsbridge.Edit{edit("func b", "func c"), edit("func b()", "x")}, fsbridge.CodeNoMatch, "edit 2 of 2: the old text is not there", nil},
		"one end too many": {[]fsbridge.Edit{edit("\treturn 1\n}\n\n\n", "x")}, fsbridge.CodeNoMatch, "white space", nil},
		"overlap":          {[]fsbridge.Edit{edit("\n}\n\nfunc b() {\n\treturn 1\n}\n", "aaa"), edit("aa", "x")}, fsbridge.CodeAmbiguous, "2 times", []int64{2}},
	} {
		e := refused(t, file, c.edits...)
		var lines []int64
		for _, p := range e.Passages {
			lines = append(lines, p.Line)
		}
		if e.Code != c.code || !strings.Contains(e.Message, c.says) || c.lines != nil && (len(lines) < len(c.lines) || lines[0] != c.lines[0]) {
			t.Errorf("%s: got %v %q, lines %v", name, e.Code, e.Message, lines)
		}
		if e.Item != len(c.edits) {
			t.Errorf("%s: item %d", name, e.Item)
		}
	}
	if e := refused(t, "", edit("x", "y")); !strings.Contains(e.Message, "empty") {
		t.Error(e.Message)
	}
	big := strings.Repeat("x", 1<<20)
	if e := refused(t, big, every("x", strings.Repeat("y", 17))); e.Code != fsbridge.CodeTooLarge {
		t.Error(e.Message)
	}
}

// What an error shows is bounded, whatever the file.
func TestPassagesBounded(t *testing.T) {
	long := strings.Repeat("é", 5000)
	for _, content := range []string{strings.Repeat("needle\n", 50_000), long + " needle " + long + "\n" + long + "needle\n", strings.Repeat("needle\xff", 5000)} {
		for _, e := range []fsbridge.Edit{edit("needle", "x"), edit("need  le", "x"), edit("neadle and the like", "x")} {
			err := refused(t, content, e)
			if len(err.Passages) > fsbridge.PassagesMax || len(err.Message) > 1000 {
				t.Errorf("%d passages, message of %d bytes", len(err.Passages), len(err.Message))
			}
			for _, p := range err.Passages {
				if len(p.Text) > fsbridge.PassageMax || strings.ToValidUTF8(p.Text, "") != p.Text || p.Line < 1 {
					t.Errorf("a passage of %d bytes at line %d", len(p.Text), p.Line)
				}
			}
		}
	}
}

// content is text with few different lines, so that passages repeat.
var content = rapid.Custom(func(t *rapid.T) string {
	lines := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "b", "ab", " a", "\tb", "aa", "x\xff", "é"}), 0, 12).Draw(t, "lines")
	s := strings.Join(lines, "\n")
	if rapid.Bool().Draw(t, "ended") && s != "" {
		s += "\n"
	}
	return s
})

// piece is a part of s, or something else.
func piece(t *rapid.T, s, label string) string {
	if s == "" || rapid.IntRange(0, 9).Draw(t, label+" other") == 0 {
		return content.Draw(t, label)
	}
	from := rapid.IntRange(0, len(s)-1).Draw(t, label+" from")
	return s[from:rapid.IntRange(from+1, len(s)).Draw(t, label+" to")]
}

// model is Replace on text with LF and a last line end, by the strings package.
func model(s string, edits []fsbridge.Edit) (string, bool) {
	for _, e := range edits {
		n := strings.Count(s, e.Old)
		if e.Old == "" || e.Old == e.New || n == 0 || !e.All && strings.LastIndex(s, e.Old) != strings.Index(s, e.Old) {
			return "", false
		}
		s = strings.ReplaceAll(s, e.Old, e.New)
	}
	return s, true
}

func drawEdits(t *rapid.T, s string) (edits []fsbridge.Edit) {
	for range rapid.IntRange(1, 3).Draw(t, "edits") {
		e := fsbridge.Edit{Old: piece(t, s, "old"), New: piece(t, s, "new"), All: rapid.Bool().Draw(t, "all")}
		edits = append(edits, e)
		if next, ok := model(s, []fsbridge.Edit{e}); ok {
			s = next
		}
	}
	return edits
}

// Replace does what the strings package does, line ends aside.
func TestReplaceModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := content.Draw(t, "content")
		edits := drawEdits(t, s)
		want, ok := model(s, edits)
		ended := s == "" || strings.HasSuffix(s, "\n")
		for _, how := range []string{"LF", "CRLF", "mixed"} {
			own := []byte(s)
			for i := 0; i < len(own); i++ {
				if own[i] == '\n' && (how == "CRLF" || how == "mixed" && rapid.Bool().Draw(t, "CR")) {
					own = append(own[:i], append([]byte("\r"), own[i:]...)...)
					i++
				}
			}
			c, err := Replace(context.Background(), own, edits)
			if ok && (err != nil || string(flatten(c.New)) != want) {
				t.Fatalf("%s: got %q, %v, want %q", how, c.New, err, want)
			}
			if !ok && ended && err == nil && len(edits) == 1 {
				t.Fatalf("%s: got %q, want an error", how, c.New)
			}
			if err != nil {
				continue
			}
			if how == "LF" && bytes.IndexByte(c.New, '\r') >= 0 || how == "CRLF" && ok && bytes.Contains(own, lf) && bytes.Count(c.New, lf) != bytes.Count(c.New, crlf) {
				t.Fatalf("%s: got %q", how, c.New)
			}
			checkSpans(t, c)
			checkDiff(t, c)
		}
	})
}

// checkSpans holds that outside of the spans nothing has changed.
func checkSpans(t *rapid.T, c *Change) {
	at, newAt := 0, 0
	for _, s := range append(c.spans, span{len(c.Old), len(c.Old), len(c.New), len(c.New)}) {
		if s.start < at || s.newStart < newAt || s.end < s.start || !bytes.Equal(c.Old[at:s.start], c.New[newAt:s.newStart]) {
			t.Fatalf("%q to %q: spans %v", c.Old, c.New, c.spans)
		}
		at, newAt = s.end, s.newEnd
	}
}

// checkDiff holds that the diff, applied, makes the new of the old.
func checkDiff(t *rapid.T, c *Change) {
	d := c.Diff("f", fsbridge.DiffMax)
	if d.Cut {
		t.Fatal("cut")
	}
	p, err := Patch(context.Background(), c.Old, parseHunks(t, string(d.Text)))
	if err != nil || !bytes.Equal(p.New, c.New) || p.Moved != 0 || p.Added != d.Added || p.Removed != d.Removed {
		t.Fatalf("%q to %q: %+v, %v by\n%s", c.Old, c.New, p, err, d.Text)
	}
}
