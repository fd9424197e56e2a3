package text

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aymanbagabas/go-udiff"
	"pgregory.net/rapid"

	"moorage/fsbridge"
)

// parseHunks reads the hunks of a unified diff of one file.
func parseHunks(t interface{ Fatalf(string, ...any) }, diff string) (hunks []fsbridge.Hunk) {
	for line := range strings.Lines(diff) {
		switch {
		case strings.HasPrefix(line, "--- "), strings.HasPrefix(line, "+++ "):
			if len(hunks) > 0 {
				last := &hunks[len(hunks)-1]
				last.Lines = append(last.Lines, line)
			}
		case strings.HasPrefix(line, "@@ -"):
			number, _, _ := strings.Cut(line[len("@@ -"):], " ")
			number, _, _ = strings.Cut(number, ",")
			start, err := strconv.ParseInt(number, 10, 64)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			hunks = append(hunks, fsbridge.Hunk{Start: start})
		case strings.HasPrefix(line, `\`):
			last := hunks[len(hunks)-1].Lines
			last[len(last)-1] = strings.TrimSuffix(last[len(last)-1], "\n")
		case len(hunks) > 0:
			last := &hunks[len(hunks)-1]
			last.Lines = append(last.Lines, line)
		}
	}
	return hunks
}

func at(start int64, lines ...string) fsbridge.Hunk {
	return fsbridge.Hunk{Start: start, Lines: lines}
}

func numbered(from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

func TestPatch(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		hunks   []fsbridge.Hunk
		want    string
		moved   int64
	}{
		"in place":                 {"a\nb\nc\n", []fsbridge.Hunk{at(1, " a\n", "-b\n", "+x\n", " c\n")}, "a\nx\nc\n", 0},
		"moved down":               {"0\n0\na\nb\nc\n", []fsbridge.Hunk{at(1, " a\n", "-b\n", "+x\n", " c\n")}, "0\n0\na\nx\nc\n", 2},
		"drift":                    {"n\na\nb\nn\na\nb\n", []fsbridge.Hunk{at(1, "-a\n", "+x\n", " b\n"), at(4, "-a\n", "+y\n", " b\n")}, "n\nx\nb\nn\ny\nb\n", 1},
		"trailing space":           {"a  \nb\t\nc\n", []fsbridge.Hunk{at(1, " a\n", "-b\n", "+x\n", " c\n")}, "a  \nx\nc\n", 0},
		"CRLF":                     {"a\r\nb\r\nc\r\n", []fsbridge.Hunk{at(1, " a\n", "-b\n", "+x\n", "+y\n", " c\n")}, "a\r\nx\r\ny\r\nc\r\n", 0},
		"CRLF patch of LF":         {"a\nb\n", []fsbridge.Hunk{at(1, " a\r\n", "-b\r\n", "+x\r\n")}, "a\nx\n", 0},
		"to LF on purpose":         {"a\r\nb\r\n", []fsbridge.Hunk{at(1, "-a\r\n", "+a\n", " b\r\n")}, "a\nb\r\n", 0},
		"mixed keeps its own":      {"a\r\nb\nc\r\n", []fsbridge.Hunk{at(1, " a\n", "-b\n", "+x\n", " c\n")}, "a\r\nx\nc\r\n", 0},
		"fuzz":                     {"A\nb\nc\nd\ne\n", []fsbridge.Hunk{at(1, " a\n", " b\n", "-c\n", "+x\n", " d\n", " E\n")}, "A\nb\nx\nd\ne\n", 0},
		"fuzz of two":              {"A\nB\nc\nd\ne\nF\nG\n", []fsbridge.Hunk{at(1, " a\n", " b\n", " c\n", "-d\n", "+x\n", " e\n", " f\n", " g\n")}, "A\nB\nc\nx\ne\nF\nG\n", 0},
		"into nothing":             {"", []fsbridge.Hunk{at(0, "+a\n")}, "a\n", 0},
		"added by its number":      {"a\nb\n", []fsbridge.Hunk{at(1, "+x\n")}, "a\nx\nb\n", 0},
		"no number, one place":     {"a\nb\nc\n", []fsbridge.Hunk{at(0, "-b\n", "+x\n")}, "a\nx\nc\n", 0},
		"last end goes":            {"a\nb\n", []fsbridge.Hunk{at(1, " a\n", "-b\n", "+b")}, "a\nb", 0},
		"last end comes":           {"a\nb", []fsbridge.Hunk{at(1, " a\n", "-b", "+b\n")}, "a\nb\n", 0},
		"last end stays away":      {"a\nb", []fsbridge.Hunk{at(1, " a\n", "-b\n", "+x\n")}, "a\nx", 0},
		"after the unended":        {"a\nb", []fsbridge.Hunk{at(1, " a\n", " b\n", "+c\n")}, "a\nb\nc", 0},
		"end in the middle":        {"a\nb\nc\n", []fsbridge.Hunk{at(1, " a\n", "-b", "+x")}, "a\nx\nc\n", 0},
		"bytes that are not UTF-8": {"\xff\na\n\xfe\n", []fsbridge.Hunk{at(2, "-a\n", "+b\n")}, "\xff\nb\n\xfe\n", 0},
		"all deleted":              {"a\nb\n", []fsbridge.Hunk{at(1, "-a\n", "-b\n")}, "", 0},
	} {
		p, err := Patch(t.Context(), []byte(c.content), c.hunks)
		if err != nil || string(p.New) != c.want || p.Moved != c.moved {
			t.Errorf("%s: got %+v %q, %v, want %q", name, p, p.New, err, c.want)
		}
	}
}

func TestPatchRefused(t *testing.T) {
	file := numbered(1, 30)
	for name, c := range map[string]struct {
		content string
		hunks   []fsbridge.Hunk
		code    fsbridge.Code
		item    int
		says    string
	}{
		"no such lines":    {file, []fsbridge.Hunk{at(1, " line 1\n", "-line 2\n", "+x\n"), at(10, " line 10\n", "-line XX\n", "+y\n", " line 12\n")}, fsbridge.CodeNoMatch, 2, `line 11 is "line 11" where "line XX" is looked for`},
		"indentation":      {"\tab cd\n", []fsbridge.Hunk{at(1, "-  ab cd\n")}, fsbridge.CodeNoMatch, 1, "white space"},
		"out of order":     {file, []fsbridge.Hunk{at(20, "-line 20\n"), at(5, "-line 5\n")}, fsbridge.CodeNoMatch, 2, "order of the file"},
		"nothing like":     {file, []fsbridge.Hunk{at(20, "-0000 zzzz\n")}, fsbridge.CodeNoMatch, 1, `expects: "0000 zzzz\n"`},
		"empty file":       {"", []fsbridge.Hunk{at(1, "-a\n")}, fsbridge.CodeNoMatch, 1, "empty"},
		"many places":      {"a\nb\na\nb\n", []fsbridge.Hunk{at(2, "-a\n", "+x\n")}, fsbridge.CodeAmbiguous, 1, "2 times"},
		"no number":        {"a\nb\na\nb\n", []fsbridge.Hunk{at(0, " a\n", "-b\n", "+x\n")}, fsbridge.CodeAmbiguous, 1, "2 times"},
		"nowhere":          {"a\n", []fsbridge.Hunk{at(0, "+x\n")}, fsbridge.CodeInvalid, 1, "no context"},
		"beyond the end":   {"a\n", []fsbridge.Hunk{at(5, "+x\n")}, fsbridge.CodeNoMatch, 1, "has 1 lines"},
		"bad mark":         {"a\n", []fsbridge.Hunk{at(1, "a\n")}, fsbridge.CodeInvalid, 1, "line 1 begins with neither"},
		"empty line":       {"a\n", []fsbridge.Hunk{at(1, "")}, fsbridge.CodeInvalid, 1, "line 1 begins with neither"},
		"two lines":        {"a\n", []fsbridge.Hunk{at(1, "-a\nb\n")}, fsbridge.CodeInvalid, 1, "more than one line"},
		"no lines":         {"a\n", []fsbridge.Hunk{at(1)}, fsbridge.CodeInvalid, 1, "no lines"},
		"after the end":    {"a\n", []fsbridge.Hunk{at(1, "-a", "-b\n")}, fsbridge.CodeInvalid, 1, "after one that ends"},
		"below the bounds": {"a\n", []fsbridge.Hunk{at(-1, "-a\n")}, fsbridge.CodeInvalid, 1, "starts at line -1"},
	} {
		p, err := Patch(t.Context(), []byte(c.content), c.hunks)
		var e *fsbridge.Error
		if !errors.As(err, &e) || e.Code != c.code || e.Item != c.item || !strings.Contains(e.Message, c.says) {
			t.Errorf("%s: got %+v, %+v", name, p, err)
		}
	}
}

// A change of a text, as a diff, makes the same change where the text has moved.
func TestPatchMoved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := strings.SplitAfter(strings.TrimSuffix(numbered(1, rapid.IntRange(1, 40).Draw(t, "lines")), "\n"), "\n")
		changed := make([]string, len(lines))
		for i, line := range lines {
			changed[i] = rapid.SampledFrom([]string{line, line, line, line, "", "new " + line, line + "more\n"}).Draw(t, "change")
		}
		ended := rapid.SampledFrom([]string{"", "\n"}).Draw(t, "end")
		old, fresh := strings.Join(lines, "")+ended, strings.Join(changed, "")
		hunks := parseHunks(t, udiff.Unified("a", "b", old, fresh))
		check(t, old, fresh, hunks)
		above, below := numbered(1000, 1000+rapid.IntRange(0, 30).Draw(t, "above")), ""
		if strings.HasSuffix(old, "\n") && strings.HasSuffix(fresh, "\n") {
			below = numbered(2000, 2000+rapid.IntRange(0, 30).Draw(t, "below"))
		}
		if fresh != old && !strings.Contains(strings.Join(hunks[0].Lines, "\x00"), "\x00 ") && hunks[0].Lines[0][0] == '+' {
			return // without context or old lines only the number says where
		}
		check(t, above+old+below, above+fresh+below, hunks)
		p, err := Patch(context.Background(), bytes.ReplaceAll([]byte(above+old+below), lf, crlf), hunks)
		if err != nil || string(flatten(p.New)) != above+fresh+below || bytes.Count(p.New, lf) != bytes.Count(p.New, crlf) {
			t.Fatalf("CRLF: got %q, %v", p.New, err)
		}
	})
}

func check(t *rapid.T, old, want string, hunks []fsbridge.Hunk) {
	p, err := Patch(context.Background(), []byte(old), hunks)
	if err != nil || string(p.New) != want {
		t.Fatalf("%q: got %q, %v, want %q by %+v", old, p.New, err, want, hunks)
	}
}

// The diff of an edit is one that git takes.
func TestDiffForGit(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("no git")
	}
	dir := t.TempDir()
	for name, c := range map[string]struct {
		old   string
		edits []fsbridge.Edit
	}{
		"far apart":  {numbered(1, 100), []fsbridge.Edit{edit("line 3\n", "x\ny\n"), edit("line 50\n", ""), edit("line 99\n", "z\n"), edit("line 100\n", "line 100")}},
		"near":       {numbered(1, 30), []fsbridge.Edit{every("1", "one")}},
		"to nothing": {"a\nb", []fsbridge.Edit{edit("a\nb", "")}},
		"at the end": {numbered(1, 9) + "last", []fsbridge.Edit{edit("last", "last\nand more\n")}},
		"large":      {numbered(1, 20_000), []fsbridge.Edit{edit(numbered(100, 15_000), numbered(100, 110))}},
	} {
		change, err := Replace(t.Context(), []byte(c.old), c.edits)
		if err != nil {
			t.Fatal(name, err)
		}
		d := change.Diff("f", 1<<20)
		diff := strings.Replace(strings.Replace(string(d.Text), "--- f", "--- a/f", 1), "+++ f", "+++ b/f", 1)
		for file, content := range map[string]string{"f": c.old, "diff": diff} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(git, "apply", "--unidiff-zero", "diff")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		got, _ := os.ReadFile(filepath.Join(dir, "f"))
		if err != nil || !bytes.Equal(got, change.New) {
			t.Errorf("%s: %v %s: %.2000s", name, err, out, diff)
		}
	}
}

func TestDiffCut(t *testing.T) {
	change, err := Replace(t.Context(), []byte(numbered(1, 1000)), []fsbridge.Edit{every("line", "row")})
	if err != nil {
		t.Fatal(err)
	}
	whole := change.Diff("/f", fsbridge.DiffMax)
	if whole.Cut || whole.Added != 1000 || whole.Removed != 1000 || change.Count != 1000 {
		t.Errorf("got %d, %d, %v", whole.Added, whole.Removed, whole.Cut)
	}
	for _, limit := range []int{0, 1, 10, 100, 5000} {
		d := change.Diff("/f", limit)
		if !d.Cut || len(d.Text) > limit || !bytes.HasPrefix(whole.Text, d.Text) || d.Added != 1000 || len(d.Text) > 0 && d.Text[len(d.Text)-1] != '\n' {
			t.Errorf("%d: got %q", limit, d.Text)
		}
	}
}

// FuzzPatch holds that no hunk does harm: what is not in it stays.
func FuzzPatch(f *testing.F) {
	f.Add("a\nb\nc\n", "@@ -1 @@\n a\n-b\n+x\n c\n")
	f.Add("a\r\nb", "@@ -2 @@\n-b\n\\ No newline at end of file\n+c\n@@ -9 @@\n-b\n")
	f.Add("", "@@ -0,0 @@\n+a\n")
	f.Add(numbered(1, 20), "@@ -3 @@\n line 7\n-line 8\n line 9\n@@ -0 @@\n-line 12\n+x\n line 13\n")
	f.Add("line 8\nline 12", "@@ -\n line 12\n+\n") // an added empty line after a last line without an end
	f.Add("line 12", "@@ -\n line 12\n+\r")         // and one that is but a CR
	f.Fuzz(func(t *testing.T, content, diff string) {
		var hunks []fsbridge.Hunk
		for line := range strings.Lines(diff) {
			if after, is := strings.CutPrefix(line, "@@ -"); is {
				start, _ := strconv.ParseInt(strings.TrimRight(after, " @\n"), 10, 64)
				hunks = append(hunks, fsbridge.Hunk{Start: start})
			} else if n := len(hunks); n > 0 {
				hunks[n-1].Lines = append(hunks[n-1].Lines, line)
			}
		}
		p, err := Patch(context.Background(), []byte(content), hunks)
		if err != nil {
			var e *fsbridge.Error
			if !errors.As(err, &e) || e.Message == "" || len(e.Message) > 4096 || len(e.Passages) > fsbridge.PassagesMax {
				t.Fatalf("got %+v", err)
			}
			return
		}
		if got, want := countLines(p.New), countLines([]byte(content))+p.Added-p.Removed; got != want {
			t.Errorf("%d lines, want %d: %q", got, want, p.New)
		}
		kept := bytes.Split(p.New, lf)
		for _, line := range bytes.Split([]byte(content), lf) { // each line stays, unless a hunk removes one like it
			line = bytes.TrimRight(line, " \t\r")
			if !slicesContain(kept, line) && !removes(hunks, line) {
				t.Errorf("%q is lost: %q", line, p.New)
			}
		}
	})
}

func slicesContain(lines [][]byte, line []byte) bool {
	for _, l := range lines {
		if bytes.Equal(bytes.TrimRight(l, " \t\r"), line) {
			return true
		}
	}
	return false
}

func removes(hunks []fsbridge.Hunk, line []byte) bool {
	for _, h := range hunks {
		for _, l := range h.Lines {
			if l[0] == '-' && strings.TrimRight(l[1:], " \t\r\n") == string(line) {
				return true
			}
		}
	}
	return len(line) == 0
}
