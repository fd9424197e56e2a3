package fstest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"moorage/fsbridge"
)

var editCases = []testCase{
	{"Replaces", editReplaces},
	{"Keeps", editKeeps},
	{"KeepsOwner", editKeepsOwner},
	{"ThroughLinks", editLinks},
	{"DryRun", editDryRun},
	{"IfRevision", editIfRevision},
	{"NoMatch", editNoMatch},
	{"Ambiguous", editAmbiguous},
	{"Invalid", editInvalid},
	{"Refused", editRefused},
	{"TooLarge", editTooLarge},
	{"DiffCut", editDiffCut},
	{"AtOnce", editAtOnce},
	{"AgainstWrites", editAgainstWrites},
	{"Cancelled", editCancelled},
	{"Model", editModel},
}

// edit is Client.Edit of one passage.
func (e *env) edit(path fsbridge.Path, old, fresh string) (fsbridge.EditResult, string, error) {
	res, diff, err := e.Client.Edit(e.Context(), fsbridge.EditRequest{Path: path, Edits: []fsbridge.Edit{{Old: old, New: fresh}}})
	return res, string(diff), err
}

func editReplaces(e *env) {
	path := e.put("f", "one\ntwo\nthree\nfour\nfive\ntwo\n")
	res, diff, err := e.Client.Edit(e.Context(), fsbridge.EditRequest{Path: path, Edits: []fsbridge.Edit{
		{Old: "one\n", New: "1\n"}, {Old: "1\n", New: "uno\n"}, {Old: "two", New: "2", All: true},
	}})
	e.must(err)
	const now = "uno\n2\nthree\nfour\nfive\n2\n"
	want := fsbridge.EditResult{Path: path, Size: int64(len(now)), Revision: revisionOf(now), Replacements: 4, Added: 3, Removed: 3}
	if res != want || e.get(path) != now {
		e.Errorf("got %+v, want %+v; %q", res, want, e.get(path))
	}
	const wantDiff = "@@ -1,6 +1,6 @@\n-one\n-two\n+uno\n+2\n three\n four\n five\n-two\n+2\n"
	if got := string(diff); got != fmt.Sprintf("--- %s\n+++ %s\n%s", path, path, wantDiff) {
		e.Errorf("got %s", got)
	}
	e.noTemps(e.path("."))
}

// editKeeps: what is around a passage stays to the byte.
func editKeeps(e *env) {
	for name, c := range map[string]struct{ content, old, fresh, want string }{
		"CRLF":             {"a\r\nb\r\n", "a\nb\n", "a\nx\nb\n", "a\r\nx\r\nb\r\n"},
		"mixed":            {"a\nb\r\nc\n", "b\n", "x\n", "a\nx\r\nc\n"},
		"BOM":              {"\xef\xbb\xbfa\n", "a", "b", "\xef\xbb\xbfb\n"},
		"no last end":      {"a\nb", "b", "c", "a\nc"},
		"not UTF-8":        {"\xff\xfea\x80", "a", "ü", "\xff\xfeü\x80"},
		"NUL":              {"\x00a\x00", "a", "b", "\x00b\x00"},
		"to nothing":       {"a", "a", "", ""},
		"the only line":    {"a\n", "a\n", "", ""},
		"control and HTML": {"<&>\x1b[0m", "&>\x1b", "\u2028<", "<\u2028<[0m"},
	} {
		path := e.put("f", c.content)
		if res, _, err := e.edit(path, c.old, c.fresh); err != nil || e.get(path) != c.want || res.Revision != revisionOf(c.want) {
			e.Errorf("%s: got %q, %+v, %v", name, e.get(path), res, err)
		}
	}
}

func editKeepsOwner(e *env) {
	if !e.Root {
		e.Skip("the agent is not root")
	}
	path := e.put("f", "old")
	e.sh("chown 1234:2345 f && chmod 4751 f")
	noted := e.HostDir != "" && unix.Setxattr(filepath.Join(e.HostDir, "f"), "user.note", []byte("kept"), 0) == nil
	_, _, err := e.edit(path, "old", "new")
	e.must(err)
	st, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: path})
	e.must(err)
	if st.UID != 1234 || st.GID != 2345 || st.Mode != 0o4751 {
		e.Errorf("got %d:%d %#o", st.UID, st.GID, st.Mode)
	}
	value := make([]byte, 16)
	if n, err := unix.Getxattr(filepath.Join(e.HostDir, "f"), "user.note", value); noted && (err != nil || string(value[:n]) != "kept") {
		e.Errorf("got %q, %v", value, err)
	}
}

func editLinks(e *env) {
	e.put("d/f", "old")
	e.sh("ln -s d/f link && ln -s link twice && ln -s self self && ln -s none dangling")
	_, _, err := e.edit(e.path("twice"), "old", "new")
	e.must(err)
	if e.get(e.path("d/f")) != "new" {
		e.Errorf("got %q", e.get(e.path("d/f")))
	}
	if st, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path("twice")}); err != nil || st.Type != fsbridge.TypeSymlink {
		e.Errorf("the link became %+v, %v", st, err)
	}
	_, _, err = e.edit(e.path("self"), "a", "b")
	e.fails("edit", err, syscall.ELOOP)
	_, _, err = e.edit(e.path("dangling"), "a", "b")
	if remote := e.fails("edit", err, fs.ErrNotExist); !strings.Contains(remote.Message, "symbolic link") {
		e.Errorf("got %+v", remote)
	}
}

func editDryRun(e *env) {
	path := e.put("f", "old\n")
	res, diff, err := e.Client.Edit(e.Context(), fsbridge.EditRequest{Path: path, Edits: []fsbridge.Edit{{Old: "old", New: "new"}}, DryRun: true})
	e.must(err)
	if res.Revision != revisionOf("new\n") || res.Size != 4 || !strings.Contains(string(diff), "-old\n+new\n") || e.get(path) != "old\n" {
		e.Errorf("got %+v, %s, %q", res, diff, e.get(path))
	}
	_, _, err = e.Client.Edit(e.Context(), fsbridge.EditRequest{Path: path, Edits: []fsbridge.Edit{{Old: "none", New: "new"}}, DryRun: true})
	e.fails("edit", err, fsbridge.ErrNoMatch)
}

func editIfRevision(e *env) {
	path := e.put("f", "old")
	req := fsbridge.EditRequest{Path: path, Edits: []fsbridge.Edit{{Old: "old", New: "new"}}, IfRevision: ptr(revisionOf("other"))}
	_, _, err := e.Client.Edit(e.Context(), req)
	if remote := e.fails("edit", err, fsbridge.ErrConflict); remote.Revision != revisionOf("old") || e.get(path) != "old" {
		e.Errorf("got %+v", remote)
	}
	req.IfRevision = ptr(revisionOf("old"))
	if _, _, err = e.Client.Edit(e.Context(), req); err != nil || e.get(path) != "new" {
		e.Errorf("got %v, %q", err, e.get(path))
	}
	req.IfRevision = ptr("")
	_, _, err = e.Client.Edit(e.Context(), req)
	e.fails("edit", err, fsbridge.ErrInvalid)
}

func editNoMatch(e *env) {
	path := e.put("f", "func a() {\n\treturn 1\n}\n")
	_, _, err := e.Client.Edit(e.Context(), fsbridge.EditRequest{Path: path, Edits: []fsbridge.Edit{
		{Old: "func a", New: "func b"}, {Old: "() {\n    return 1\n", New: "x"},
	}})
	remote := e.fails("edit", err, fsbridge.ErrNoMatch)
	if remote.Item != 2 || remote.Path != path || len(remote.Passages) != 1 || remote.Passages[0] != (fsbridge.Passage{Line: 1, Text: "func b() {\n\treturn 1"}) || !strings.Contains(remote.Message, "white space") {
		e.Errorf("got %+v", remote)
	}
	if got := e.get(path); got != "func a() {\n\treturn 1\n}\n" {
		e.Errorf("one edit was made: %q", got)
	}
	_, _, err = e.edit(e.path("none"), "a", "b")
	if remote := e.fails("edit", err, fs.ErrNotExist); remote.Parent != fsbridge.Path(e.Dir) {
		e.Errorf("got %+v", remote)
	}
	_, _, err = e.edit(e.path("none/f"), "a", "b")
	e.fails("edit", err, fs.ErrNotExist)
	if _, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path("none")}); !errors.Is(err, fs.ErrNotExist) {
		e.Errorf("a directory was made: %v", err)
	}
	e.noTemps(e.path("."))
}

func editAmbiguous(e *env) {
	path := e.put("f", strings.Repeat("x\nsame\n", 30))
	_, _, err := e.edit(path, "same", "other")
	remote := e.fails("edit", err, fsbridge.ErrAmbiguous)
	if remote.Count != 30 || remote.Item != 1 || len(remote.Passages) != fsbridge.PassagesMax || remote.Passages[1] != (fsbridge.Passage{Line: 4, Text: "same"}) {
		e.Errorf("got %+v", remote)
	}
}

func editInvalid(e *env) {
	path := e.put("f", "a")
	for _, edits := range [][]fsbridge.Edit{nil, make([]fsbridge.Edit, fsbridge.EditsMax+1), {{Old: "", New: "x"}}, {{Old: "a", New: "a"}}, {{Old: "\xff", New: "a"}}} {
		_, _, err := e.Client.Edit(e.Context(), fsbridge.EditRequest{Path: path, Edits: edits})
		if !errors.Is(err, fsbridge.ErrInvalid) || e.get(path) != "a" {
			e.Errorf("%+.60v: got %v", edits, err)
		}
	}
}

func editRefused(e *env) {
	_, _, err := e.edit(fsbridge.Path(e.Dir), "a", "b")
	e.fails("edit", err, syscall.EISDIR)
	e.put("f", "x")
	_, _, err = e.edit(e.path("f/below"), "a", "b")
	e.fails("edit", err, syscall.ENOTDIR)
	_, _, err = e.edit("/proc/self/status", "Name", "x")
	e.fails("edit", err, fsbridge.ErrIrregular)
	e.sh("mkfifo fifo")
	_, _, err = e.edit(e.path("fifo"), "a", "b")
	e.fails("edit", err, fsbridge.ErrIrregular)
}

func editTooLarge(e *env) {
	path := e.path("f")
	_, err := e.Client.WriteFrom(e.Context(), fsbridge.WriteRequest{Path: path}, strings.NewReader("needle"+strings.Repeat("x\n", fsbridge.ChangeMax/2)))
	e.must(err)
	_, _, err = e.edit(path, "needle", "x")
	e.fails("edit", err, fsbridge.ErrTooLarge)
	_, err = e.Client.WriteFrom(e.Context(), fsbridge.WriteRequest{Path: path}, strings.NewReader("needle"+strings.Repeat("x\n", fsbridge.ChangeMax/2-3)))
	e.must(err)
	if res, _, err := e.edit(path, "needle", "y"); err != nil || res.Size != fsbridge.ChangeMax-5 {
		e.Errorf("got %+v, %v", res, err)
	}
	_, _, err = e.Client.Edit(e.Context(), fsbridge.EditRequest{Path: path, Edits: []fsbridge.Edit{{Old: "x", New: "xyz", All: true}}})
	e.fails("edit", err, fsbridge.ErrTooLarge)
	_, _, err = e.edit(path, "no such line\nat all in it\n", "y")
	e.fails("edit", err, fsbridge.ErrNoMatch)
	e.noTemps(e.path("."))
}

func editDiffCut(e *env) {
	path := e.put("f", strings.Repeat("a line\n", 10_000))
	res, diff, err := e.Client.Edit(e.Context(), fsbridge.EditRequest{Path: path, Edits: []fsbridge.Edit{{Old: "line", New: "row", All: true}}, MaxDiff: 1000})
	e.must(err)
	if !res.DiffCut || len(diff) > 1000 || len(diff) < 900 || diff[len(diff)-1] != '\n' || res.Added != 10_000 || res.Replacements != 10_000 {
		e.Errorf("got %+v, %d bytes", res, len(diff))
	}
}

// editAtOnce: of edits at once none is lost, with a revision or without.
func editAtOnce(e *env) {
	const n = 16
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d.\n", i)
	}
	path := e.put("f", b.String())
	parallel(n, func(i int) {
		if _, _, err := e.edit(path, fmt.Sprintf("line %d.", i), fmt.Sprintf("done %d.", i)); err != nil {
			e.Error(err)
		}
	})
	if got, want := e.get(path), strings.ReplaceAll(b.String(), "line", "done"); got != want {
		e.Errorf("got %q", got)
	}
	var won atomic.Int32
	revision := revisionOf(e.get(path))
	parallel(n, func(i int) {
		req := fsbridge.EditRequest{Path: path, IfRevision: &revision, Edits: []fsbridge.Edit{{Old: "done 0.", New: fmt.Sprintf("won %d.", i)}}}
		if _, _, err := e.Client.Edit(e.Context(), req); err == nil {
			won.Add(1)
		} else if !errors.Is(err, fsbridge.ErrConflict) {
			e.Error(err)
		}
	})
	if won.Load() != 1 {
		e.Errorf("%d edits of one revision were made", won.Load())
	}
	e.noTemps(e.path("."))
}

// editAgainstWrites: edits and appends of one file take turns.
func editAgainstWrites(e *env) {
	const n = 20
	var todo, done strings.Builder
	for i := range n {
		fmt.Fprintf(&todo, "todo %d.\n", i)
		fmt.Fprintf(&done, "done %d.\n", i)
	}
	path := e.put("f", todo.String())
	var wg sync.WaitGroup
	wg.Go(func() {
		for range n {
			if _, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path, Append: true}, []byte("more\n")); err != nil {
				e.Error(err)
			}
		}
	})
	for i := range n {
		if _, _, err := e.edit(path, fmt.Sprintf("todo %d.", i), fmt.Sprintf("done %d.", i)); err != nil {
			e.Error(err)
		}
	}
	wg.Wait()
	if got := e.get(path); got != done.String()+strings.Repeat("more\n", n) {
		e.Errorf("got %q", got)
	}
}

func editCancelled(e *env) {
	path := e.put("f", "old")
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	if _, _, err := e.Client.Edit(ctx, fsbridge.EditRequest{Path: path, Edits: []fsbridge.Edit{{Old: "old", New: "new"}}}); !errors.Is(err, context.Canceled) || e.get(path) != "old" {
		e.Errorf("got %v, %q", err, e.get(path))
	}
}

// editModel: edits do what the strings package does.
func editModel(e *env) {
	line := rapid.SampledFrom([]string{"a\n", "b\n", "ab\n", "\n", "é\n", "b"})
	rapid.Check(e.T, func(t *rapid.T) {
		content := strings.Join(rapid.SliceOfN(line, 1, 10).Draw(t, "content"), "")
		from := rapid.IntRange(0, len(content)-1).Draw(t, "from")
		old := content[from:rapid.IntRange(from+1, len(content)).Draw(t, "to")]
		edit := fsbridge.Edit{Old: strings.ToValidUTF8(old, ""), New: strings.Join(rapid.SliceOfN(line, 0, 3).Draw(t, "new"), ""), All: rapid.Bool().Draw(t, "all")}
		if edit.Old == "" || edit.Old == edit.New {
			return
		}
		path := e.put("model", content)
		res, _, err := e.Client.Edit(e.Context(), fsbridge.EditRequest{Path: path, Edits: []fsbridge.Edit{edit}})
		want, count := strings.ReplaceAll(content, edit.Old, edit.New), strings.Count(content, edit.Old)
		if !edit.All && strings.Index(content, edit.Old) != strings.LastIndex(content, edit.Old) {
			if want = content; !errors.Is(err, fsbridge.ErrAmbiguous) {
				t.Fatalf("got %v", err)
			}
		} else if err != nil || res.Replacements != count || res.Revision != revisionOf(want) {
			t.Fatalf("got %+v, %v", res, err)
		}
		if got := e.get(path); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}
