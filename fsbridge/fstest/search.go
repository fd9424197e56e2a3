package fstest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"moorage/fsbridge"
)

var searchCases = []testCase{
	{"Glob", globPatterns},
	{"GlobNewest", globNewest},
	{"GlobTypes", globTypes},
	{"GlobIgnored", globIgnored},
	{"GlobErrors", globErrors},
	{"Grep", grepContent},
	{"GrepOptions", grepOptions},
	{"GrepModes", grepModes},
	{"GrepContext", grepContext},
	{"GrepPages", grepPages},
	{"GrepIgnored", grepIgnored},
	{"GrepBinary", grepBinary},
	{"GrepIrregular", grepIrregular},
	{"GrepLongLine", grepLongLine},
	{"GrepHuge", grepHuge},
	{"GrepErrors", grepErrors},
	{"Denied", searchDenied},
	{"NotUTF8", searchNotUTF8},
	{"Changing", searchChanging},
	{"Cancel", searchCancel},
	{"ManyAtOnce", searchManyAtOnce},
}

func (e *env) glob(req fsbridge.GlobRequest) fsbridge.GlobResult {
	e.Helper()
	if req.Path == "" {
		req.Path = e.path(".")
	}
	res, err := e.Client.Glob(e.Context(), req)
	e.must(err)
	return res
}

func (e *env) grep(req fsbridge.GrepRequest) fsbridge.GrepResult {
	e.Helper()
	if req.Path == "" {
		req.Path = e.path(".")
	}
	res, err := e.Client.Grep(e.Context(), req)
	e.must(err)
	return res
}

// wantGlob checks which names a pattern finds, in any order.
func (e *env) wantGlob(req fsbridge.GlobRequest, want ...string) {
	e.Helper()
	res := e.glob(req)
	var got []string
	for _, entry := range res.Entries {
		got = append(got, string(entry.Name))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) || res.Total != len(want) {
		e.Errorf("%s: got %q of %d, want %q", req.Pattern, got, res.Total, want)
	}
}

// lines writes matches as grep -n does.
func lines(matches []fsbridge.Match) string {
	var b strings.Builder
	for _, m := range matches {
		sign := ':'
		if m.Context {
			sign = '-'
		}
		fmt.Fprintf(&b, "%s%c%d%c%s\n", m.Path, sign, m.Line, sign, m.Text)
	}
	return b.String()
}

func (e *env) wantLines(req fsbridge.GrepRequest, want string) fsbridge.GrepResult {
	e.Helper()
	res := e.grep(req)
	if got := lines(res.Matches); got != want {
		e.Errorf("%q: got\n%swant\n%s", req.Pattern, got, want)
	}
	return res
}

func globPatterns(e *env) {
	for _, name := range []string{"main.go", "src/a.go", "src/b/c.go", "src/b/d.md", ".hidden/x.go"} {
		e.put(name, "x")
	}
	e.wantGlob(fsbridge.GlobRequest{Pattern: "*.go"}, ".hidden/x.go", "main.go", "src/a.go", "src/b/c.go")
	e.wantGlob(fsbridge.GlobRequest{Pattern: "src/*.go"}, "src/a.go")
	e.wantGlob(fsbridge.GlobRequest{Pattern: "src/**"}, "src/a.go", "src/b", "src/b/c.go", "src/b/d.md")
	e.wantGlob(fsbridge.GlobRequest{Pattern: "**/b/*.{go,md}"}, "src/b/c.go", "src/b/d.md")
	e.wantGlob(fsbridge.GlobRequest{Pattern: e.Dir + "/src/[a]*"}, "src/a.go")
	e.wantGlob(fsbridge.GlobRequest{Pattern: "b/"}, "src/b")
	e.wantGlob(fsbridge.GlobRequest{Pattern: "*.go", Path: e.path("src/b")}, "c.go")
	e.wantGlob(fsbridge.GlobRequest{Pattern: "nothing"})
}

func globNewest(e *env) {
	e.sh("for i in 1 2 3 4 5; do : > f$i; touch -d @$i f$i; done; touch -d @3 f1")
	res := e.glob(fsbridge.GlobRequest{Pattern: "f?", Limit: 4})
	var got []string
	for _, entry := range res.Entries {
		got = append(got, string(entry.Name))
	}
	if want := []string{"f5", "f4", "f1", "f3"}; !slices.Equal(got, want) || res.Total != 5 || res.TotalIsMin {
		e.Errorf("got %q of %d", got, res.Total)
	}
	if first := res.Entries[0]; !first.ModTime.Equal(time.Unix(5, 0)) || first.Type != fsbridge.TypeFile {
		e.Errorf("got %+v", first)
	}
}

func globTypes(e *env) {
	e.sh("mkdir d && ln -s . d/loop && mkfifo d/pipe && echo 12345 > d/file && chmod 640 d/file")
	for _, entry := range e.glob(fsbridge.GlobRequest{Pattern: "**"}).Entries {
		want := map[fsbridge.Path]fsbridge.Entry{
			"d": {Type: fsbridge.TypeDirectory}, "d/loop": {Type: fsbridge.TypeSymlink, Target: "."},
			"d/pipe": {Type: fsbridge.TypeFIFO}, "d/file": {Type: fsbridge.TypeFile, Size: 6, Mode: 0o640},
		}[entry.Name]
		if entry.Type != want.Type || entry.Target != want.Target || want.Mode > 0 && (entry.Mode != want.Mode || entry.Size != want.Size) {
			e.Errorf("got %+v, want %+v", entry, want)
		}
	}
	e.wantGlob(fsbridge.GlobRequest{Pattern: "**"}, "d", "d/file", "d/loop", "d/pipe")
}

func globIgnored(e *env) {
	for _, name := range []string{".git/config", "node_modules/m/i.js", "a.js", "sub/b.log", "sub/keep.log"} {
		e.put(name, "x")
	}
	e.put(".gitignore", "node_modules/\n*.log\n")
	e.put("sub/.gitignore", "!keep.log\n")
	e.wantGlob(fsbridge.GlobRequest{Pattern: "*.{js,log}"}, "a.js", "sub/keep.log")
	e.wantGlob(fsbridge.GlobRequest{Pattern: "*.log", Path: e.path("sub")}, "keep.log")
	e.wantGlob(fsbridge.GlobRequest{Pattern: "*.{js,log}", All: true}, "a.js", "node_modules/m/i.js", "sub/b.log", "sub/keep.log")
	e.wantGlob(fsbridge.GlobRequest{Pattern: "config", All: true}, ".git/config")
}

func globErrors(e *env) {
	e.put("docs/f", "")
	for pattern, want := range map[string]string{"": "empty", "[a": "not closed", "{a": "not closed", "../x": "..", "/elsewhere/*": "not below"} {
		_, err := e.Client.Glob(e.Context(), fsbridge.GlobRequest{Path: e.path("."), Pattern: pattern})
		if remote := e.fails("glob", err, fsbridge.ErrInvalid); !strings.Contains(remote.Message, want) {
			e.Errorf("%q: got %q", pattern, remote.Message)
		}
	}
	_, err := e.Client.Glob(e.Context(), fsbridge.GlobRequest{Path: e.path("."), Pattern: "x", Limit: -1})
	e.fails("glob", err, fsbridge.ErrInvalid)
	_, err = e.Client.Glob(e.Context(), fsbridge.GlobRequest{Path: e.path("doc"), Pattern: "x"})
	if remote := e.fails("glob", err, fs.ErrNotExist); fmt.Sprint(remote.Close) != "[docs]" {
		e.Errorf("got %+v", remote)
	}
}

func grepContent(e *env) {
	e.put("b.txt", "one\ntwo\nthree\n")
	e.put("a/c.txt", "two\r\nno\r\ntwo two")
	res := e.wantLines(fsbridge.GrepRequest{Pattern: "t[w]o$"}, "a/c.txt:1:two\na/c.txt:3:two two\nb.txt:2:two\n")
	if res.Total != 3 || res.Files != 2 || res.Searched != 2 || res.Returned != 3 || res.NextOffset != 0 || res.Path != fsbridge.Path(e.Dir) {
		e.Errorf("got %+v", res)
	}
	res = e.wantLines(fsbridge.GrepRequest{Path: e.path("a/c.txt"), Pattern: "no"}, "c.txt:2:no\n")
	if res.Path != e.path("a/c.txt") {
		e.Errorf("got %+v", res)
	}
	e.wantLines(fsbridge.GrepRequest{Pattern: "four"}, "")
}

func grepOptions(e *env) {
	e.put("f", "Foo(bar)\nfoo.bar\nend\n")
	e.put("g.md", "foo.bar\n")
	e.wantLines(fsbridge.GrepRequest{Pattern: "foo", Glob: "f"}, "f:2:foo.bar\n")
	e.wantLines(fsbridge.GrepRequest{Pattern: "foo", Glob: "!*.md"}, "f:2:foo.bar\n")
	e.wantLines(fsbridge.GrepRequest{Pattern: "FOO", IgnoreCase: true, Glob: "f"}, "f:1:Foo(bar)\nf:2:foo.bar\n")
	e.wantLines(fsbridge.GrepRequest{Pattern: "o(b", Fixed: true}, "f:1:Foo(bar)\n")
	e.wantLines(fsbridge.GrepRequest{Pattern: "foo.bar", Fixed: true, Glob: "*.{md,go}"}, "g.md:1:foo.bar\n")
	res := e.wantLines(fsbridge.GrepRequest{Pattern: `\).*bar$`, Multiline: true}, "f:1:Foo(bar)\nf:2:foo.bar\n")
	if res.Total != 1 || res.Returned != 1 {
		e.Errorf("got %+v", res)
	}
}

func grepModes(e *env) {
	e.put("a", "x\nx\n")
	e.put("b", "y\n")
	e.put("c", "x\n")
	res := e.grep(fsbridge.GrepRequest{Pattern: "x", Mode: fsbridge.GrepFiles})
	if len(res.Matches) != 2 || res.Matches[0].Path != "a" || res.Matches[1].Path != "c" || res.Files != 2 {
		e.Errorf("got %+v", res)
	}
	res = e.grep(fsbridge.GrepRequest{Pattern: "x", Mode: fsbridge.GrepCount, Limit: 1})
	if len(res.Matches) != 1 || res.Matches[0].Count != 2 || res.Total != 3 || res.NextOffset != 1 {
		e.Errorf("got %+v", res)
	}
}

func grepContext(e *env) {
	e.put("f", "1\n2\nx\n4\n5\n6\n7\nx\nx\n10\n")
	e.wantLines(fsbridge.GrepRequest{Pattern: "x", Before: 1, After: 1}, "f-2-2\nf:3:x\nf-4-4\nf-7-7\nf:8:x\nf:9:x\nf-10-10\n")
	e.wantLines(fsbridge.GrepRequest{Pattern: "x", Before: 50, Limit: 1}, "f-1-1\nf-2-2\nf:3:x\n")
	e.wantLines(fsbridge.GrepRequest{Pattern: "x", Before: 9, After: 2, Offset: 1}, "f-6-6\nf-7-7\nf:8:x\nf:9:x\nf-10-10\n")
}

func grepPages(e *env) {
	for i := range 12 {
		e.put(fmt.Sprintf("d%d/f", i%5)+fmt.Sprint(i), strings.Repeat("x\ny\n", i))
	}
	whole := lines(e.grep(fsbridge.GrepRequest{Pattern: "x", After: 1}).Matches)
	rapid.Check(e.T, func(rt *rapid.T) {
		req := fsbridge.GrepRequest{Path: e.path("."), Pattern: "x", After: 1, Limit: rapid.IntRange(1, 70).Draw(rt, "limit")}
		var got strings.Builder
		for {
			res, err := e.Client.Grep(e.Context(), req)
			if err != nil || res.Total != 66 || res.Returned > req.Limit {
				rt.Fatalf("got %+v, %v", res, err)
			}
			got.WriteString(lines(res.Matches))
			if req.Offset = res.NextOffset; req.Offset == 0 {
				break
			}
		}
		if got.String() != whole {
			rt.Fatalf("joined pages are\n%swant\n%s", got.String(), whole)
		}
	})
}

func grepIgnored(e *env) {
	for _, name := range []string{".git/HEAD", "vendor/x", "a.txt", "b.tmp"} {
		e.put(name, "needle\n")
	}
	e.put(".gitignore", "/vendor\n*.tmp\n")
	e.wantLines(fsbridge.GrepRequest{Pattern: "needle"}, "a.txt:1:needle\n")
	e.wantLines(fsbridge.GrepRequest{Pattern: "needle", Path: e.path("b.tmp")}, "b.tmp:1:needle\n")
	e.wantLines(fsbridge.GrepRequest{Pattern: "needle", All: true},
		".git/HEAD:1:needle\na.txt:1:needle\nb.tmp:1:needle\nvendor/x:1:needle\n")
}

func grepBinary(e *env) {
	e.put("bin", "needle\n\x00\x01")
	e.put("text", "needle\n")
	if res := e.wantLines(fsbridge.GrepRequest{Pattern: "needle"}, "text:1:needle\n"); res.Binary != 1 {
		e.Errorf("got %+v", res)
	}
	e.wantLines(fsbridge.GrepRequest{Pattern: "needle", All: true}, "bin:1:needle\ntext:1:needle\n")
	if res := e.wantLines(fsbridge.GrepRequest{Pattern: "needle", Path: e.path("bin")}, "bin:1:needle\n"); res.Binary != 1 {
		e.Errorf("got %+v", res)
	}
}

func grepIrregular(e *env) {
	e.sh("mkdir d && echo x > d/f && mkfifo d/pipe && ln -s . d/loop && ln -s /dev/zero d/zero && ln -s f d/link")
	if res := e.wantLines(fsbridge.GrepRequest{Pattern: "x"}, "d/f:1:x\n"); res.Denied != 0 || res.Searched != 1 {
		e.Errorf("got %+v", res)
	}
	e.wantLines(fsbridge.GrepRequest{Pattern: "x", Path: e.path("d/link")}, "link:1:x\n")
	_, err := e.Client.Grep(e.Context(), fsbridge.GrepRequest{Pattern: "x", Path: e.path("d/pipe")})
	e.fails("grep", err, fsbridge.ErrIrregular)
	_, err = e.Client.Grep(e.Context(), fsbridge.GrepRequest{Pattern: "x", Path: "/dev/null"})
	e.fails("grep", err, fsbridge.ErrIrregular)
	if res := e.grep(fsbridge.GrepRequest{Pattern: "^Name:", Path: "/proc/self/status"}); res.Total != 1 {
		e.Errorf("got %+v", res)
	}
}

func grepLongLine(e *env) {
	e.put("f", "short\n"+strings.Repeat("y", 10<<20)+"needle"+strings.Repeat("y", 100)+"\nneedle\n")
	res := e.grep(fsbridge.GrepRequest{Pattern: "ne+dle", Before: 1})
	if res.Total != 2 || len(res.Matches) != 3 {
		e.Fatalf("got %d, %d lines", res.Total, len(res.Matches))
	}
	m := res.Matches[1]
	if !m.Cut || m.Line != 2 || len(m.Text) != fsbridge.LineMax || !strings.Contains(string(m.Text), "needle") {
		e.Errorf("line %d of %d bytes", m.Line, len(m.Text))
	}
}

// grepHuge: what a file of 10 GB holds in its beginning is found out at once if
// that is asked for, or that it is binary.
func grepHuge(e *env) {
	e.sh("truncate -s 10000000000 sparse")
	if res := e.grep(fsbridge.GrepRequest{Pattern: "x"}); res.Binary != 1 {
		e.Errorf("got %+v", res)
	}
	e.sh("echo needle > sparse && truncate -s 10000000000 sparse")
	res := e.grep(fsbridge.GrepRequest{Pattern: "needle", All: true, Mode: fsbridge.GrepFiles})
	if len(res.Matches) != 1 || res.Matches[0].Path != "sparse" {
		e.Errorf("got %+v", res)
	}
}

func grepErrors(e *env) {
	e.put("docs/f", "")
	for _, c := range []struct {
		req  fsbridge.GrepRequest
		want string
	}{
		{fsbridge.GrepRequest{Pattern: "a("}, "missing closing )"},
		{fsbridge.GrepRequest{Pattern: ""}, "empty"},
		{fsbridge.GrepRequest{Pattern: "(?=a)"}, "look-ahead"},
		{fsbridge.GrepRequest{Pattern: `(a)\1`}, "references"},
		{fsbridge.GrepRequest{Pattern: `a\nb`}, "multiline"},
		{fsbridge.GrepRequest{Pattern: strings.Repeat(".{1000}", 500)}, "too large"},
		{fsbridge.GrepRequest{Pattern: strings.Repeat("a", fsbridge.PatternMax+1)}, "16384"},
		{fsbridge.GrepRequest{Pattern: "a", Mode: "lines"}, "content, files or count"},
		{fsbridge.GrepRequest{Pattern: "a", Glob: "{a"}, "glob"},
		{fsbridge.GrepRequest{Pattern: "a", Before: -1}, "0 to 50"},
		{fsbridge.GrepRequest{Pattern: "a", After: 51}, "0 to 50"},
		{fsbridge.GrepRequest{Pattern: "a", Limit: -1}, "limit is -1"},
		{fsbridge.GrepRequest{Pattern: "a", Offset: -1}, "offset -1"},
	} {
		c.req.Path = e.path(".")
		_, err := e.Client.Grep(e.Context(), c.req)
		if remote := e.fails("grep", err, fsbridge.ErrInvalid); !strings.Contains(remote.Message, c.want) {
			e.Errorf("%.40q: got %q, want one of %q", c.req.Pattern, remote.Message, c.want)
		}
	}
	_, err := e.Client.Grep(e.Context(), fsbridge.GrepRequest{Path: e.path("doc"), Pattern: "x"})
	if remote := e.fails("grep", err, fs.ErrNotExist); fmt.Sprint(remote.Close) != "[docs]" {
		e.Errorf("got %+v", remote)
	}
}

func searchDenied(e *env) {
	if e.Root {
		return // root may read all; package search has a test with another user
	}
	e.put("d/f", "x")
	e.put("f", "x")
	e.sh("chmod 0 d f")
	if res := e.grep(fsbridge.GrepRequest{Pattern: "x"}); res.Denied != 2 || res.Total != 0 {
		e.Errorf("got %+v", res)
	}
	if res := e.glob(fsbridge.GlobRequest{Pattern: "**"}); res.Denied != 1 || res.Total != 2 {
		e.Errorf("got %+v", res)
	}
}

func searchNotUTF8(e *env) {
	e.put("d\xff/f\xfe", "a\xff needle\n")
	e.wantLines(fsbridge.GrepRequest{Pattern: "needle"}, "d\xff/f\xfe:1:a\xff needle\n")
	e.wantGlob(fsbridge.GlobRequest{Pattern: "f*"}, "d\xff/f\xfe")
	e.wantLines(fsbridge.GrepRequest{Pattern: "needle", Path: e.path("d\xff")}, "f\xfe:1:a\xff needle\n")
}

// searchChanging: a tree that changes while it is searched.
func searchChanging(e *env) {
	e.put("stays", "needle\n")
	ctx, cancel := context.WithCancel(e.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			e.Client.Exec(ctx, e.command("for i in 1 2 3 4 5; do mkdir -p d$i/e && echo needle > d$i/e/f; done; rm -rf d?; : > f; rm f"), nil)
		}
	}()
	for range 50 {
		res := e.grep(fsbridge.GrepRequest{Pattern: "needle", After: 1})
		if n := len(res.Matches); n == 0 || res.Matches[n-1].Path != "stays" || res.Denied > 0 {
			e.Errorf("got %+v", res)
		}
		e.glob(fsbridge.GlobRequest{Pattern: "**"})
	}
	cancel()
	<-done
}

// searchCancel: searches that would take minutes end when they are cancelled,
// and hold up nothing then.
func searchCancel(e *env) {
	e.sh("truncate -s 10000000000 sparse")
	late := time.Duration(math.MaxInt64)
	for try := 0; try < 5 && late > prompt; try++ { // others may have the machine for themselves for a while
		late = min(late, e.cancelSearches())
	}
	if late > prompt {
		e.Errorf("cancelled searches returned %v late", late)
	}
	start := time.Now()
	e.put("f", "x")
	if d := time.Since(start); d > 2*time.Second {
		e.Errorf("a write after cancelled searches took %v", d)
	}
}

// cancelSearches cancels 20 long searches and tells how late the last returned.
func (e *env) cancelSearches() (late time.Duration) {
	ctx, cancel := context.WithTimeout(e.Context(), 100*time.Millisecond)
	defer cancel()
	deadline, _ := ctx.Deadline()
	parallel(20, func(i int) {
		pattern := []string{"x", "x[^y]*z", "(?i)[^a]{200}xyz"}[i%3]
		_, err := e.Client.Grep(ctx, fsbridge.GrepRequest{Path: e.path("."), Pattern: pattern, All: true, Multiline: i%2 == 0})
		if !errors.Is(err, context.DeadlineExceeded) {
			e.Errorf("got %v", err)
		}
	})
	return time.Since(deadline)
}

func searchManyAtOnce(e *env) {
	for i := range 50 {
		e.put(fmt.Sprintf("d%d/f", i), "needle\n")
	}
	parallel(100, func(i int) {
		if i%2 == 0 {
			if res, err := e.Client.Grep(e.Context(), fsbridge.GrepRequest{Path: e.path("."), Pattern: "needle"}); err != nil || res.Total != 50 {
				e.Errorf("got %+v, %v", res, err)
			}
			return
		}
		if res, err := e.Client.Glob(e.Context(), fsbridge.GlobRequest{Path: e.path("."), Pattern: "f"}); err != nil || res.Total != 50 {
			e.Errorf("got %+v, %v", res, err)
		}
	})
}
