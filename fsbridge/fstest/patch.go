package fstest

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"moorage/fsbridge"
)

var patchCases = []testCase{
	{"Actions", patchActions},
	{"Keeps", patchKeeps},
	{"Moved", patchMoved},
	{"DryRun", patchDryRun},
	{"AllOrNone", patchAllOrNone},
	{"NoMatch", patchNoMatch},
	{"Exists", patchExists},
	{"SameFile", patchSameFile},
	{"Trades", patchTrades},
	{"Links", patchLinks},
	{"Invalid", patchInvalid},
	{"Refused", patchRefused},
	{"Many", patchMany},
}

func (e *env) patch(files ...fsbridge.FilePatch) (fsbridge.PatchResult, error) {
	return e.Client.Patch(e.Context(), fsbridge.PatchRequest{Path: fsbridge.Path(e.Dir), Files: files})
}

func hunks(start int64, lines ...string) []fsbridge.Hunk {
	return []fsbridge.Hunk{{Start: start, Lines: lines}}
}

// absent checks that nothing has the name.
func (e *env) absent(name string) {
	e.Helper()
	if st, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path(name)}); !errors.Is(err, fs.ErrNotExist) {
		e.Errorf("%s is there: %+v, %v", name, st, err)
	}
}

func patchActions(e *env) {
	e.put("modify", "a\nb\nc\n")
	e.put("dir/delete", "x\n")
	e.put("rename", "r\n")
	e.put("both", "1\n2\n")
	e.put("copy", "c\n")
	e.put("mode", "m\n")
	res, err := e.patch(
		fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "modify", Hunks: hunks(1, " a\n", "-b\n", "+B\n", "+BB\n", " c\n")},
		fsbridge.FilePatch{Action: fsbridge.ActionCreate, New: "new/deep/f", Mode: ptr(uint32(0o755)), Hunks: hunks(0, "+n\n")},
		fsbridge.FilePatch{Action: fsbridge.ActionCreate, New: "empty"},
		fsbridge.FilePatch{Action: fsbridge.ActionDelete, Old: "dir/delete", Hunks: hunks(1, "-x\n")},
		fsbridge.FilePatch{Action: fsbridge.ActionRename, Old: "rename", New: "renamed/f"},
		fsbridge.FilePatch{Action: fsbridge.ActionRename, Old: "both", New: "both2", Hunks: hunks(1, "-1\n", "+one\n", " 2\n")},
		fsbridge.FilePatch{Action: fsbridge.ActionCopy, Old: "copy", New: "copied", Hunks: hunks(1, " c\n", "+d\n")},
		fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "mode", Mode: ptr(uint32(0o700))},
	)
	e.must(err)
	for name, want := range map[string]string{
		"modify": "a\nB\nBB\nc\n", "new/deep/f": "n\n", "empty": "", "renamed/f": "r\n", "both2": "one\n2\n",
		"copy": "c\n", "copied": "c\nd\n", "mode": "m\n",
	} {
		if got := e.get(e.path(name)); got != want {
			e.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"dir/delete", "rename", "both"} {
		e.absent(name)
	}
	for name, mode := range map[string]uint32{"new/deep/f": 0o755, "empty": 0o644, "mode": 0o700, "dir": 0o755} {
		if st, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path(name)}); err != nil || st.Mode != mode {
			e.Errorf("%s: got %+v, %v", name, st, err)
		}
	}
	want := fsbridge.PatchedFile{Action: fsbridge.ActionModify, Old: e.path("modify"), New: e.path("modify"), Size: 9, Revision: revisionOf("a\nB\nBB\nc\n"), Added: 2, Removed: 1}
	if len(res.Files) != 8 || res.Files[0] != want || res.Files[4].Revision != revisionOf("r\n") || res.Files[3].Revision != "" || res.Files[3].Removed != 1 {
		e.Errorf("got %+v", res)
	}
	e.noTemps(e.path("."))
	e.noTemps(e.path("dir"))
}

func patchKeeps(e *env) {
	e.put("crlf", "a\r\nb\r\n\xff\r\nlast")
	_, err := e.patch(fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "crlf", Hunks: hunks(1, " a\n", "-b\n", "+x\n")})
	e.must(err)
	if got := e.get(e.path("crlf")); got != "a\r\nx\r\n\xff\r\nlast" {
		e.Errorf("got %q", got)
	}
	if !e.Root {
		return
	}
	e.put("f", "a\n")
	e.put("g", "a\n")
	e.sh("chown 1234:2345 f g && chmod 4751 f g")
	_, err = e.patch(fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "f", Hunks: hunks(1, "-a\n", "+b\n")},
		fsbridge.FilePatch{Action: fsbridge.ActionRename, Old: "g", New: "h", Hunks: hunks(1, "-a\n", "+b\n")})
	e.must(err)
	for _, name := range []string{"f", "h"} {
		if st, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path(name)}); err != nil || st.UID != 1234 || st.GID != 2345 || st.Mode != 0o4751 {
			e.Errorf("%s: got %+v, %v", name, st, err)
		}
	}
}

func patchMoved(e *env) {
	e.put("f", strings.Repeat("new\n", 40)+"a\nb\nc\n")
	res, err := e.patch(fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "f", Hunks: hunks(1, " a\n", "-b\n", "+x\n", " c\n")})
	e.must(err)
	if res.Files[0].Moved != 40 || !strings.HasSuffix(e.get(e.path("f")), "new\na\nx\nc\n") {
		e.Errorf("got %+v", res)
	}
}

func patchDryRun(e *env) {
	e.put("f", "a\n")
	req := fsbridge.PatchRequest{Path: fsbridge.Path(e.Dir), DryRun: true, Files: []fsbridge.FilePatch{
		{Action: fsbridge.ActionModify, Old: "f", Hunks: hunks(1, "-a\n", "+b\n")},
		{Action: fsbridge.ActionCreate, New: "new/dir/g", Hunks: hunks(0, "+g\n")},
		{Action: fsbridge.ActionRename, Old: "f", New: "other/h"},
	}}
	_, err := e.Client.Patch(e.Context(), req)
	e.fails("patch", err, fsbridge.ErrInvalid) // f is there twice
	req.Files = req.Files[:2]
	res, err := e.Client.Patch(e.Context(), req)
	e.must(err)
	if res.Files[0].Revision != revisionOf("b\n") || res.Files[1].Size != 2 || e.get(e.path("f")) != "a\n" {
		e.Errorf("got %+v", res)
	}
	e.absent("new")
}

// patchAllOrNone: when one file cannot be changed none is.
func patchAllOrNone(e *env) {
	e.put("f", "a\n")
	e.put("g", "x\n")
	_, err := e.patch(
		fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "f", Hunks: hunks(1, "-a\n", "+b\n")},
		fsbridge.FilePatch{Action: fsbridge.ActionCreate, New: "new/dir/h", Hunks: hunks(0, "+h\n")},
		fsbridge.FilePatch{Action: fsbridge.ActionRename, Old: "g", New: "g2"},
		fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "none", Hunks: hunks(1, "-a\n", "+b\n")},
	)
	if remote := e.fails("patch", err, fs.ErrNotExist); remote.Path != e.path("none") {
		e.Errorf("got %+v", remote)
	}
	if e.get(e.path("f")) != "a\n" || e.get(e.path("g")) != "x\n" {
		e.Errorf("got %q, %q", e.get(e.path("f")), e.get(e.path("g")))
	}
	e.absent("new")
	e.absent("g2")
	e.noTemps(e.path("."))
}

func patchNoMatch(e *env) {
	path := e.put("f", "one\ntwo\nthree\nfour\n")
	_, err := e.patch(fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "f", Hunks: append(hunks(1, "-one\n", "+1\n"), hunks(2, " two\n", "-tree\n", "+3\n")...)})
	remote := e.fails("patch", err, fsbridge.ErrNoMatch)
	if remote.Path != path || remote.Item != 2 || len(remote.Passages) == 0 || !strings.HasPrefix(remote.Passages[0].Text, "two\nthree") || !strings.Contains(remote.Message, `"tree"`) {
		e.Errorf("got %+v", remote)
	}
	_, err = e.patch(fsbridge.FilePatch{Action: fsbridge.ActionDelete, Old: "f", Hunks: hunks(1, "-one\n")})
	e.fails("patch", err, fsbridge.ErrNoMatch)
	e.put("g", "x\ny\nx\ny\n")
	_, err = e.patch(fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "g", Hunks: hunks(2, "-x\n")})
	if remote := e.fails("patch", err, fsbridge.ErrAmbiguous); remote.Count != 2 || len(remote.Passages) != 2 {
		e.Errorf("got %+v", remote)
	}
}

func patchExists(e *env) {
	e.put("f", "a\n")
	e.put("g", "a\n")
	e.sh("ln -s none dangling")
	for _, f := range []fsbridge.FilePatch{
		{Action: fsbridge.ActionCreate, New: "f", Hunks: hunks(0, "+x\n")},
		{Action: fsbridge.ActionCreate, New: "dangling", Hunks: hunks(0, "+x\n")},
		{Action: fsbridge.ActionCreate, New: "."},
		{Action: fsbridge.ActionRename, Old: "g", New: "f"},
		{Action: fsbridge.ActionCopy, Old: "g", New: "f"},
	} {
		_, err := e.patch(f)
		if remote := e.fails("patch", err, fs.ErrExist); remote.Path != e.path(string(f.New)) {
			e.Errorf("%+v: got %+v", f, remote)
		}
	}
}

// patchSameFile: a file that is there twice, also by another name, is refused.
func patchSameFile(e *env) {
	e.put("d/f", "a\n")
	e.sh("ln -s d/f link && ln -s d dir")
	for _, other := range []string{"d/f", "link", "dir/f"} {
		_, err := e.patch(
			fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "d/f", Hunks: hunks(1, "-a\n", "+b\n")},
			fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: fsbridge.Path(other), Hunks: hunks(1, " a\n", "+c\n")},
		)
		if remote := e.fails("patch", err, fsbridge.ErrInvalid); !strings.Contains(remote.Message, "twice") {
			e.Errorf("got %+v", remote)
		}
	}
	_, err := e.patch(
		fsbridge.FilePatch{Action: fsbridge.ActionCreate, New: "new/f", Hunks: hunks(0, "+1\n")},
		fsbridge.FilePatch{Action: fsbridge.ActionCreate, New: "new/../new/f", Hunks: hunks(0, "+2\n")},
	)
	e.fails("patch", err, fsbridge.ErrInvalid)
	if e.get(e.path("d/f")) != "a\n" {
		e.Errorf("got %q", e.get(e.path("d/f")))
	}
	e.absent("new")
}

// patchTrades: a name from which a file goes away may get another.
func patchTrades(e *env) {
	e.put("a", "old a\n")
	e.put("b", "old b\n")
	_, err := e.patch(
		fsbridge.FilePatch{Action: fsbridge.ActionCreate, New: "a", Hunks: hunks(0, "+new a\n")},
		fsbridge.FilePatch{Action: fsbridge.ActionRename, Old: "a", New: "b"},
		fsbridge.FilePatch{Action: fsbridge.ActionDelete, Old: "b", Hunks: hunks(1, "-old b\n")},
		fsbridge.FilePatch{Action: fsbridge.ActionCopy, Old: "a", New: "c"},
	)
	e.must(err)
	if a, b, c := e.get(e.path("a")), e.get(e.path("b")), e.get(e.path("c")); a != "new a\n" || b != "old a\n" || c != "old a\n" {
		e.Errorf("got %q, %q, %q", a, b, c)
	}
	_, err = e.patch(
		fsbridge.FilePatch{Action: fsbridge.ActionRename, Old: "a", New: "b"},
		fsbridge.FilePatch{Action: fsbridge.ActionRename, Old: "b", New: "a"},
	)
	e.fails("patch", err, fsbridge.ErrInvalid)
	e.noTemps(e.path("."))
}

func patchLinks(e *env) {
	e.put("d/f", "a\n")
	e.sh("ln -s d/f link && ln d/f hard")
	_, err := e.patch(fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "link", Hunks: hunks(1, "-a\n", "+b\n")})
	e.must(err)
	if st, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path("link")}); err != nil || st.Type != fsbridge.TypeSymlink || e.get(e.path("d/f")) != "b\n" {
		e.Errorf("got %+v, %v", st, err)
	}
	if got := e.get(e.path("hard")); got != "a\n" {
		e.Errorf("the other name has %q", got)
	}
	e.sh("ln hard other")
	_, err = e.patch(
		fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "hard", Hunks: hunks(1, "-a\n", "+1\n")},
		fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "other", Hunks: hunks(1, "-a\n", "+2\n")},
	)
	if err != nil || e.get(e.path("hard")) != "1\n" || e.get(e.path("other")) != "2\n" {
		e.Errorf("two names of one file: %v, %q, %q", err, e.get(e.path("hard")), e.get(e.path("other")))
	}
	_, err = e.patch(fsbridge.FilePatch{Action: fsbridge.ActionDelete, Old: "link", Hunks: hunks(1, "-b\n")})
	e.fails("patch", err, fsbridge.ErrIrregular)
	_, err = e.patch(fsbridge.FilePatch{Action: fsbridge.ActionRename, Old: "link", New: "other"})
	e.fails("patch", err, fsbridge.ErrIrregular)
}

func patchInvalid(e *env) {
	e.put("f", "a\n")
	for _, f := range []fsbridge.FilePatch{
		{},
		{Action: "unknown", Old: "f"},
		{Action: fsbridge.ActionModify, Old: "f"},
		{Action: fsbridge.ActionModify, Old: "f", New: "g", Hunks: hunks(1, "-a\n")},
		{Action: fsbridge.ActionCreate, Old: "f", New: "g"},
		{Action: fsbridge.ActionDelete, New: "f"},
		{Action: fsbridge.ActionRename, Old: "f"},
		{Action: fsbridge.ActionCreate, New: "g", Hunks: hunks(1, " a\n", "+b\n")},
		{Action: fsbridge.ActionCreate, New: "g", Mode: ptr(uint32(0o10000))},
		{Action: fsbridge.ActionModify, Old: "f", Hunks: hunks(1, "a\n")},
		{Action: fsbridge.ActionModify, Old: "f", Hunks: hunks(1, "+\xff\n")},
	} {
		if _, err := e.patch(f); !errors.Is(err, fsbridge.ErrInvalid) {
			e.Errorf("%+v: got %v", f, err)
		}
	}
	if _, err := e.patch(); !errors.Is(err, fsbridge.ErrInvalid) {
		e.Errorf("got %v", err)
	}
	if _, err := e.patch(make([]fsbridge.FilePatch, fsbridge.PatchFilesMax+1)...); !errors.Is(err, fsbridge.ErrInvalid) {
		e.Errorf("got %v", err)
	}
}

func patchRefused(e *env) {
	e.put("f", "a\n")
	for name, target := range map[fsbridge.Path]error{".": syscall.EISDIR, "f/g": syscall.ENOTDIR, "/proc/self/status": fsbridge.ErrIrregular} {
		_, err := e.patch(fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: name, Hunks: hunks(1, "-a\n")})
		e.fails("patch", err, target)
	}
	_, err := e.patch(fsbridge.FilePatch{Action: fsbridge.ActionCreate, New: "/proc/none/f"})
	e.fails("patch", err, fs.ErrPermission)
	e.sh("mkfifo fifo && ln -s self self")
	_, err = e.patch(fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "fifo", Hunks: hunks(1, "-a\n")})
	e.fails("patch", err, fsbridge.ErrIrregular)
	_, err = e.patch(fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "self", Hunks: hunks(1, "-a\n")})
	e.fails("patch", err, syscall.ELOOP)
}

// patchMany: patches of the same files at once, in another order each, are all
// made, and each whole.
func patchMany(e *env) {
	const n = 20
	for i := range n {
		e.put(fmt.Sprintf("f%d", i), "0\n")
	}
	parallel(4, func(worker int) {
		for range 5 {
			for done := false; !done; {
				old := e.get(e.path("f0"))
				fresh := fmt.Sprintf("%d-%s", worker, old)
				var files []fsbridge.FilePatch
				for i := range n {
					name := fsbridge.Path(fmt.Sprintf("f%d", (i*7+worker)%n))
					files = append(files, fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: name, Hunks: hunks(1, "-"+old, "+"+fresh)})
				}
				_, err := e.patch(files...)
				if done = err == nil; !done && !errors.Is(err, fsbridge.ErrNoMatch) {
					e.Error(err)
					return
				}
			}
		}
	})
	want := e.get(e.path("f0"))
	if strings.Count(want, "-") != 20 {
		e.Errorf("got %q", want)
	}
	for i := range n {
		if got := e.get(e.path(fmt.Sprintf("f%d", i))); got != want {
			e.Errorf("f%d is %q, f0 is %q", i, got, want)
		}
	}
	e.noTemps(e.path("."))
}
