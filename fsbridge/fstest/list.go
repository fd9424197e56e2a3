package fstest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"moorage/fsbridge"
)

var listCases = []testCase{
	{"Order", listOrder},
	{"Hidden", listHidden},
	{"Types", listTypes},
	{"Pages", listPages},
	{"BigFolder", listBigFolder},
	{"LongNames", listLongNames},
	{"Denied", listDenied},
	{"Missing", listMissing},
	{"Invalid", listInvalid},
	{"Proc", listProc},
}

func (e *env) list(req fsbridge.ListRequest) fsbridge.ListResult {
	e.Helper()
	res, err := e.Client.List(e.Context(), req)
	e.must(err)
	return res
}

func namesOf(res fsbridge.ListResult) (names []string) {
	for _, entry := range res.Entries {
		names = append(names, string(entry.Name))
	}
	return names
}

func (e *env) wantNames(res fsbridge.ListResult, want ...string) {
	e.Helper()
	if got := namesOf(res); !slices.Equal(got, want) {
		e.Errorf("got %q, want %q", got, want)
	}
}

func listOrder(e *env) {
	for _, name := range []string{"b/y/deep/er", "b/x", "a.txt", "b.txt", "c"} {
		e.put(name, "x")
	}
	e.wantNames(e.list(fsbridge.ListRequest{Path: e.path(".")}), "a.txt", "b", "b.txt", "c")
	e.wantNames(e.list(fsbridge.ListRequest{Path: e.path("."), Depth: 1}), "a.txt", "b", "b.txt", "c")
	e.wantNames(e.list(fsbridge.ListRequest{Path: e.path("."), Depth: 2}), "a.txt", "b", "b/x", "b/y", "b.txt", "c")
	res := e.list(fsbridge.ListRequest{Path: e.path("."), Depth: 1000})
	e.wantNames(res, "a.txt", "b", "b/x", "b/y", "b/y/deep", "b/y/deep/er", "b.txt", "c")
	if res.Total != 8 || res.TotalIsMin || res.NextOffset != 0 || res.Path != fsbridge.Path(e.Dir) {
		e.Errorf("got %+v", res)
	}
	if res := e.list(fsbridge.ListRequest{Path: e.path("."), Offset: 99}); len(res.Entries) != 0 || res.Total != 4 {
		e.Errorf("beyond the end: got %+v", res)
	}
}

func listHidden(e *env) {
	for _, name := range []string{".h/in", "a", "d/.x"} {
		e.put(name, "")
	}
	e.wantNames(e.list(fsbridge.ListRequest{Path: e.path("."), Depth: 9}), "a", "d")
	e.wantNames(e.list(fsbridge.ListRequest{Path: e.path("."), Depth: 9, Hidden: true}), ".h", ".h/in", "a", "d", "d/.x")
}

func listTypes(e *env) {
	e.put("file", "12345")
	e.sh("mkdir dir && chmod 1770 dir && ln -s dir link && mkfifo fifo && touch -d @86400 dir")
	res := e.list(fsbridge.ListRequest{Path: e.path("."), Depth: 3})
	e.wantNames(res, "dir", "fifo", "file", "link")
	for i, want := range []fsbridge.Entry{
		{Type: fsbridge.TypeDirectory, Mode: 0o1770}, {Type: fsbridge.TypeFIFO},
		{Type: fsbridge.TypeFile, Size: 5, Mode: 0o644}, {Type: fsbridge.TypeSymlink, Target: "dir"},
	} {
		got := res.Entries[i]
		if got.Type != want.Type || want.Mode != 0 && got.Mode != want.Mode || want.Size != 0 && got.Size != want.Size || got.Target != want.Target {
			e.Errorf("got %+v, want %+v", got, want)
		}
	}
	if !res.Entries[0].ModTime.Equal(time.Unix(86400, 0)) {
		e.Errorf("got mtime %v", res.Entries[0].ModTime)
	}
	e.wantNames(e.list(fsbridge.ListRequest{Path: e.path("link")}))
	if dev := e.list(fsbridge.ListRequest{Path: "/dev", Limit: fsbridge.ListMax}); !slices.ContainsFunc(dev.Entries, func(n fsbridge.Entry) bool {
		return n.Name == "null" && n.Type == fsbridge.TypeCharDevice
	}) {
		e.Error("/dev/null is no character device")
	}
}

func listPages(e *env) {
	var all []string
	for d := range 6 {
		for f := range 5 {
			e.put(fmt.Sprintf("d%d/sub/f%d", d, f), "")
		}
	}
	e.put("top", "")
	whole := e.list(fsbridge.ListRequest{Path: e.path("."), Depth: 9})
	all = namesOf(whole)
	rapid.Check(e.T, func(rt *rapid.T) {
		limit := rapid.IntRange(1, len(all)+2).Draw(rt, "limit")
		var got []string
		for offset := 0; ; {
			res, err := e.Client.List(e.Context(), fsbridge.ListRequest{Path: e.path("."), Depth: 9, Limit: limit, Offset: offset})
			if err != nil || res.Total != len(all) || len(res.Entries) > limit {
				rt.Fatalf("got %+v, %v", res, err)
			}
			got = append(got, namesOf(res)...)
			if offset = res.NextOffset; offset == 0 {
				break
			}
		}
		if !slices.Equal(got, all) {
			rt.Fatalf("joined pages are %q, want %q", got, all)
		}
	})
}

func listBigFolder(e *env) {
	e.sh(`mkdir big small && touch small/x && i=0 && while [ $i -lt 2500 ]; do : > big/$i; i=$((i+1)); done`)
	res := e.list(fsbridge.ListRequest{Path: e.path("."), Depth: 3})
	e.wantNames(res, "big", "small", "small/x")
	if big := res.Entries[0]; !big.Omitted || big.Children != 2500 {
		e.Errorf("got %+v", big)
	}
	res = e.list(fsbridge.ListRequest{Path: e.path("big")})
	if len(res.Entries) != fsbridge.ListMax || res.Total != 2500 || res.NextOffset != fsbridge.ListMax {
		e.Errorf("got %d entries of %d, next %d", len(res.Entries), res.Total, res.NextOffset)
	}
}

// listLongNames: a page stays small enough for a frame, whatever the names are.
func listLongNames(e *env) {
	if e.HostDir == "" {
		e.Skip("made by the host")
	}
	const files, deep = 900, 10
	dir := e.HostDir
	for range deep {
		dir = filepath.Join(dir, strings.Repeat("\x01", 200))
	}
	e.must(os.MkdirAll(dir, 0o700))
	for i := range files {
		e.must(os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d", i)), nil, 0o600))
	}
	n, pages := 0, 1
	for offset := 0; ; pages++ {
		res := e.list(fsbridge.ListRequest{Path: e.path("."), Depth: deep + 1, Offset: offset})
		n += len(res.Entries)
		if offset = res.NextOffset; offset == 0 {
			break
		}
	}
	if n != files+deep || pages < 2 {
		e.Errorf("got %d entries in %d pages", n, pages)
	}
}

func listDenied(e *env) {
	if e.Root {
		return // root may read all; package files has a test with another user
	}
	e.put("d/f", "")
	e.sh("chmod 0 d")
	res := e.list(fsbridge.ListRequest{Path: e.path("."), Depth: 2})
	e.wantNames(res, "d")
	if res.Denied != 1 || !res.Entries[0].Omitted {
		e.Errorf("got %+v", res)
	}
	_, err := e.Client.List(e.Context(), fsbridge.ListRequest{Path: e.path("d")})
	e.fails("list", err, fs.ErrPermission)
}

func listMissing(e *env) {
	e.put("docs/f", "")
	_, err := e.Client.List(e.Context(), fsbridge.ListRequest{Path: e.path("doc")})
	if remote := e.fails("list", err, fs.ErrNotExist); remote.Parent != fsbridge.Path(e.Dir) || fmt.Sprint(remote.Close) != "[docs]" {
		e.Errorf("got %+v", remote)
	}
}

func listInvalid(e *env) {
	for _, req := range []fsbridge.ListRequest{{Depth: -1}, {Limit: -1}, {Offset: -1}} {
		req.Path = e.path(".")
		_, err := e.Client.List(e.Context(), req)
		e.fails("list", err, fsbridge.ErrInvalid)
	}
}

// listProc: a tree that changes while it is listed.
func listProc(e *env) {
	res, err := e.Client.List(e.Context(), fsbridge.ListRequest{Path: "/proc", Depth: 3})
	if err != nil {
		e.Skip("no /proc")
	}
	if len(res.Entries) == 0 || res.Total < len(res.Entries) {
		e.Errorf("got %d of %d", len(res.Entries), res.Total)
	}
}
