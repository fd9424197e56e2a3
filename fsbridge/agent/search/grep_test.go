package search

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"moorage/fsbridge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plant makes files of a root; a name that ends with a slash is a directory.
func plant(t testing.TB, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil && strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else if err == nil {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func grepOf(t testing.TB, root string, req fsbridge.GrepRequest) fsbridge.GrepResult {
	t.Helper()
	req.Path = fsbridge.Path(filepath.Join(root, string(req.Path)))
	res, err := New().Grep(t.Context(), &req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// show writes matches as grep -n does.
func show(matches []fsbridge.Match) string {
	var b strings.Builder
	for _, m := range matches {
		sign := ":"
		if m.Context {
			sign = "-"
		}
		fmt.Fprintf(&b, "%s%s%d%s%s", m.Path, sign, m.Line, sign, m.Text)
		if m.Cut {
			b.WriteString("...")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// model is a naive grep over files, whole.
func model(files map[string]string, req *fsbridge.GrepRequest) (all []fsbridge.Match, total int) {
	flags := ""
	if req.IgnoreCase {
		flags = "(?i)"
	}
	if req.Multiline {
		flags += "(?ms)"
	}
	re := regexp.MustCompile(flags + req.Pattern)
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
	})
	for _, name := range names {
		lines := strings.SplitAfter(files[name], "\n")
		if lines[len(lines)-1] == "" {
			lines = lines[:len(lines)-1]
		}
		found := matching(re, lines, req.Multiline)
		total += len(found)
		all = append(all, modelFile(name, lines, found, req)...)
	}
	return all, total
}

// matching returns the first and the last line of each match.
func matching(re *regexp.Regexp, lines []string, multiline bool) (found [][2]int) {
	for i := 0; i < len(lines); i++ {
		if !multiline {
			if re.MatchString(strings.TrimSuffix(strings.TrimSuffix(lines[i], "\n"), "\r")) {
				found = append(found, [2]int{i, i})
			}
			continue
		}
		rest := strings.Join(lines[i:], "")
		loc := re.FindStringIndex(rest)
		if loc == nil || loc[0] == len(rest) && strings.HasSuffix(rest, "\n") {
			break
		}
		first := i + strings.Count(rest[:loc[0]], "\n")
		last := i + strings.Count(rest[:max(loc[0], loc[1]-1)], "\n")
		found = append(found, [2]int{first, last})
		i = last
	}
	return found
}

func modelFile(name string, lines []string, found [][2]int, req *fsbridge.GrepRequest) (out []fsbridge.Match) {
	kind := make([]int, len(lines)) // 1 context, 2 match
	for _, f := range found {
		for i := max(0, f[0]-req.Before); i <= min(len(lines)-1, f[1]+req.After); i++ {
			kind[i] = max(kind[i], 1)
			if i >= f[0] && i <= f[1] {
				kind[i] = 2
			}
		}
	}
	for i, line := range lines {
		if kind[i] > 0 {
			text := strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
			out = append(out, fsbridge.Match{Path: fsbridge.Path(name), Line: int64(i + 1), Context: kind[i] == 1, Text: []byte(text)})
		}
	}
	return out
}

func drawFiles(t *rapid.T) map[string]string {
	name := rapid.SampledFrom([]string{"a", "b.c", "a-b", "d/a", "d/b", "d/e/f", "d.x", "z\xff/g"})
	line := rapid.SampledFrom([]string{"", "foo", "bar", "foo bar", "FOO", "x", "x\r", "a longer line with foo in it", "\xff foo"})
	return rapid.MapOfN(name, rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(line, 0, 12).Draw(t, "lines"), "\n") + rapid.SampledFrom([]string{"", "\n"}).Draw(t, "end")
	}), 0, 6).Draw(t, "files")
}

// TestGrepAsNaive: the pages of a grep join to what the model finds, also when
// files are read in blocks of a few bytes.
func TestGrepAsNaive(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		root := filepath.Join(dir, fmt.Sprint(n))
		files := drawFiles(rt)
		plant(t, root, files)
		plant(t, root, map[string]string{"empty/": ""})
		defer os.RemoveAll(root)
		req := fsbridge.GrepRequest{
			Path:       fsbridge.Path(root),
			Pattern:    rapid.SampledFrom([]string{"foo", "fo+", "^x$", "o b", "foo|x", "^$", ".", "[^o]$", "x\\s*foo", "bar.*foo"}).Draw(rt, "pattern"),
			IgnoreCase: rapid.Bool().Draw(rt, "case"),
			Before:     rapid.IntRange(0, 3).Draw(rt, "before"),
			After:      rapid.IntRange(0, 3).Draw(rt, "after"),
			Multiline:  rapid.IntRange(0, 3).Draw(rt, "multiline") == 0,
			Limit:      rapid.IntRange(1, 5).Draw(rt, "limit"),
		}
		if req.Multiline {
			for name := range files {
				files[name] = strings.ReplaceAll(files[name], "\r", "")
			}
			plant(t, root, files)
		}
		want, total := model(files, &req)
		s := New()
		s.block = rapid.SampledFrom([]int{8, 16, 64, blockSize}).Draw(rt, "block")
		got := pages(rt, s, req, total)
		if show(got) != show(want) {
			rt.Fatalf("got\n%swant\n%s", show(got), show(want))
		}
	})
}

// pages joins the pages of a grep.
func pages(t *rapid.T, s *Searcher, req fsbridge.GrepRequest, total int) (all []fsbridge.Match) {
	for seen := 0; ; {
		res, err := s.Grep(context.Background(), &req)
		if err != nil {
			t.Fatal(err)
		}
		if seen += res.Returned; res.Total != int64(total) || res.Returned > req.Limit || res.Count != len(res.Matches) {
			t.Fatalf("got %+v, want %d in all", res, total)
		}
		all = append(all, res.Matches...)
		if req.Offset = res.NextOffset; req.Offset == 0 {
			if seen != total {
				t.Fatalf("%d of %d", seen, total)
			}
			return all
		}
	}
}

func TestGrepModes(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"a": "x\nx\ny\n", "b/c": "x\n", "b.d": "y\n", "e": "x\n"})
	files := grepOf(t, root, fsbridge.GrepRequest{Pattern: "x", Mode: fsbridge.GrepFiles})
	if show(files.Matches) != "a:0:\nb/c:0:\ne:0:\n" || files.Total != 3 || files.Files != 3 || files.Searched != 4 {
		t.Errorf("got %+v", files)
	}
	count := grepOf(t, root, fsbridge.GrepRequest{Pattern: "x", Mode: fsbridge.GrepCount, Limit: 2})
	if len(count.Matches) != 2 || count.Matches[0].Count != 2 || count.Matches[1].Path != "b/c" || count.Total != 4 || count.NextOffset != 2 {
		t.Errorf("got %+v", count)
	}
	rest := grepOf(t, root, fsbridge.GrepRequest{Pattern: "x", Mode: fsbridge.GrepCount, Limit: 2, Offset: 2})
	if len(rest.Matches) != 1 || rest.Matches[0].Path != "e" || rest.NextOffset != 0 {
		t.Errorf("got %+v", rest)
	}
	one := grepOf(t, root, fsbridge.GrepRequest{Path: "b/c", Pattern: "X", IgnoreCase: true})
	if show(one.Matches) != "c:1:x\n" {
		t.Errorf("got %+v", one)
	}
}

func TestGrepGlob(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"a.go": "x", "a.md": "x", "d/b.go": "x", "d/e/c.txt": "x", "v/w.go": "x"})
	for glob, want := range map[string]string{
		"*.go": "a.go d/b.go v/w.go", "!*.go": "a.md d/e/c.txt", "d/**": "d/b.go d/e/c.txt", "!v": "a.go a.md d/b.go d/e/c.txt",
		"*.{md,txt}": "a.md d/e/c.txt", "d/*.go": "d/b.go", "!d/**": "a.go a.md v/w.go",
	} {
		res := grepOf(t, root, fsbridge.GrepRequest{Pattern: "x", Glob: glob, Mode: fsbridge.GrepFiles})
		var got []string
		for _, m := range res.Matches {
			got = append(got, string(m.Path))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %s", glob, got, want)
		}
	}
}

func TestGrepBinary(t *testing.T) {
	root := t.TempDir()
	late := strings.Repeat("x\n", blockSize) + "\x00\nx\n"
	plant(t, root, map[string]string{"bin": "x\n\x00", "utf16": "\xff\xfex\x00\n\x00", "late": late, "bom": "\ufeffx\n", "text": "x\n"})
	res := grepOf(t, root, fsbridge.GrepRequest{Pattern: "^x$", Mode: fsbridge.GrepCount})
	if got := show(res.Matches); got != "bom:0:\nlate:0:\ntext:0:\n" || res.Binary != 3 || res.Matches[1].Count < blockSize/2 || res.Matches[1].Count > blockSize {
		t.Errorf("got %s%+v", got, res)
	}
	if all := grepOf(t, root, fsbridge.GrepRequest{Pattern: "^x$", All: true}); all.Files != 4 || all.Binary != 0 || all.Total != blockSize+4 {
		t.Errorf("got %d files, %d binary, %d", all.Files, all.Binary, all.Total)
	}
	if one := grepOf(t, root, fsbridge.GrepRequest{Path: "bin", Pattern: "x"}); one.Total != 1 || one.Binary != 1 {
		t.Errorf("got %+v", one)
	}
}

func TestGrepLongLines(t *testing.T) {
	root := t.TempDir()
	const long = 1 << 20
	b := bytes.Repeat([]byte("é"), long/2)
	copy(b[long/2:], "needle")
	plant(t, root, map[string]string{"f": "first\n" + string(b) + "\nneedle\n"})
	for _, req := range []fsbridge.GrepRequest{{Pattern: "needle"}, {Pattern: "ne+dle"}, {Pattern: "n[e]+dle$|needle"}} {
		req.Before = 1
		res := grepOf(t, root, req)
		if res.Total != 2 || len(res.Matches) != 3 {
			t.Fatalf("%s: got %d, %d lines", req.Pattern, res.Total, len(res.Matches))
		}
		m := res.Matches[1]
		if !m.Cut || m.Line != 2 || len(m.Text) > fsbridge.LineMax || !bytes.Contains(m.Text, []byte("needle")) {
			t.Errorf("%s: line %d, %d bytes, cut %v", req.Pattern, m.Line, len(m.Text), m.Cut)
		}
	}
}

// TestGrepParts: a line that is longer than may be is searched in parts, which
// have its number.
func TestGrepParts(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"f": "x\n" + strings.Repeat("needle.", 20) + strings.Repeat(".", 60) + "needle\nx\nneedle\n"})
	s := New()
	s.block, s.longest = 16, 32
	for _, req := range []fsbridge.GrepRequest{{Pattern: "needle"}, {Pattern: "ne+dle", Before: 2, After: 1}, {Pattern: "needle$", Before: 3}} {
		req.Path = fsbridge.Path(root)
		res, err := s.Grep(t.Context(), &req)
		if err != nil || len(res.Matches) < 2 || res.Matches[len(res.Matches)-1].Line != 4 {
			t.Fatalf("%s: got %+v, %v", req.Pattern, res, err)
		}
		for i := range res.Matches[1:] {
			if res.Matches[i].Line > res.Matches[i+1].Line || res.Matches[i+1].Line-res.Matches[i].Line > 2 {
				t.Errorf("%s: got\n%s", req.Pattern, show(res.Matches))
			}
		}
	}
}

// TestGrepPageFits: a page is cut before a match that does not fit.
func TestGrepPageFits(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"f": strings.Repeat(strings.Repeat("x", 3000)+"\n", 2500)})
	seen := 0
	for offset, pages := 0, 0; ; pages++ {
		res := grepOf(t, root, fsbridge.GrepRequest{Pattern: "x", Offset: offset, After: 2})
		if size := len(fsbridge.AppendMatches(nil, res.Matches)); size > fsbridge.MaxData {
			t.Fatalf("a page of %d bytes", size)
		}
		if seen += res.Returned; res.NextOffset == 0 {
			if pages < 2 || seen != 2500 {
				t.Errorf("%d matches on %d pages", seen, pages)
			}
			return
		}
		offset = res.NextOffset
	}
}

func TestGrepLongMatch(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"f": "a\n" + strings.Repeat("x\n", 500) + "b\nc\n"})
	res := grepOf(t, root, fsbridge.GrepRequest{Pattern: "a.*b", Multiline: true, After: 1})
	last := len(res.Matches) - 1
	if res.Total != 1 || res.Returned != 1 || last != fsbridge.MatchLines || !res.Matches[last-1].Cut || res.Matches[last].Line != 503 {
		t.Errorf("got %d lines: %+v", last+1, res.Matches[last])
	}
}

func TestGrepIrregular(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"f": "x\n", "d/f": "x\n"})
	if err := unix.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"loop": ".", "d/up": "..", "link": "f", "gone": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if res := grepOf(t, root, fsbridge.GrepRequest{Pattern: "x"}); show(res.Matches) != "d/f:1:x\nf:1:x\n" || res.Denied != 0 {
		t.Errorf("got %+v", res)
	}
	// The path itself may be a link.
	if res := grepOf(t, root, fsbridge.GrepRequest{Path: "d/up", Pattern: "x"}); res.Files != 2 {
		t.Errorf("got %+v", res)
	}
	if res := grepOf(t, root, fsbridge.GrepRequest{Path: "link", Pattern: "x"}); show(res.Matches) != "link:1:x\n" {
		t.Errorf("got %+v", res)
	}
}

// TestGrepCancelled: a search of 10 GB ends when its context does.
func TestGrepCancelled(t *testing.T) {
	root := t.TempDir()
	f, err := os.Create(filepath.Join(root, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(10 << 30); err != nil {
		t.Fatal(err)
	}
	if res := grepOf(t, root, fsbridge.GrepRequest{Pattern: "x"}); res.Binary != 1 {
		t.Errorf("got %+v", res)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = New().Grep(ctx, &fsbridge.GrepRequest{Path: fsbridge.Path(root), Pattern: "x[^y]*z", All: true})
	if err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("got %v after %v", err, time.Since(began))
	}
}

// TestGrepKernel: files that say a size of 0 are read; a search from elsewhere
// does not go there.
func TestGrepKernel(t *testing.T) {
	res, err := New().Grep(t.Context(), &fsbridge.GrepRequest{Path: "/proc/self/status", Pattern: "^Pid:"})
	if err != nil || res.Total != 1 {
		t.Errorf("got %+v, %v", res, err)
	}
	res, err = New().Grep(t.Context(), &fsbridge.GrepRequest{Path: "/proc/self", Pattern: "^Pid:", Glob: "status"})
	if err != nil || res.Total < 1 || res.Matches[0].Path != "status" {
		t.Errorf("got %+v, %v", res, err)
	}
}
