package fstest

import (
	"io/fs"
	"strings"
	"time"

	"moorage/fsbridge"
)

var statCases = []testCase{
	{"File", statFile},
	{"Types", statTypes},
	{"Missing", statMissing},
}

func (e *env) stat(name string) fsbridge.StatResult {
	e.Helper()
	res, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path(name)})
	e.must(err)
	return res
}

func statFile(e *env) {
	content := strings.Repeat("text\n", 200)
	path := e.put("f", content)
	res, head, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: path, Head: true})
	e.must(err)
	if res.Type != fsbridge.TypeFile || res.Size != 1000 || res.Mode != 0o644 || res.Revision != revisionOf(content) ||
		string(head) != content[:fsbridge.HeadBytes] || time.Since(res.ModTime).Abs() > time.Hour {
		e.Errorf("got %+v, head of %d bytes", res, len(head))
	}
	if _, head, err = e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: path}); err != nil || len(head) > 0 {
		e.Errorf("got head %q, %v", head, err)
	}
	e.put("empty", "")
	if res := e.stat("empty"); res.Revision != revisionOf("") {
		e.Errorf("got %+v", res)
	}
	_, err = e.Client.WriteFrom(e.Context(), fsbridge.WriteRequest{Path: e.path("big")}, newPattern(fsbridge.RevisionMax+1))
	e.must(err)
	if res := e.stat("big"); res.Revision != "" || res.Size != fsbridge.RevisionMax+1 {
		e.Errorf("got %+v", res)
	}
}

func statTypes(e *env) {
	e.sh("mkdir dir && ln -s nowhere link && mkfifo fifo && touch -d @99999999999 far && chmod 2750 dir")
	for name, want := range map[string]string{"dir": fsbridge.TypeDirectory, "link": fsbridge.TypeSymlink, "fifo": fsbridge.TypeFIFO} {
		if res := e.stat(name); res.Type != want || res.Revision != "" {
			e.Errorf("%s: got %+v", name, res)
		}
	}
	if res := e.stat("link"); res.Target != "nowhere" {
		e.Errorf("got %+v", res)
	}
	if res := e.stat("dir"); res.Mode != 0o2750 {
		e.Errorf("got %+v", res)
	}
	if res := e.stat("far"); res.ModTime.Year() < 2100 {
		e.Errorf("got %+v", res)
	}
	for path, want := range map[fsbridge.Path]string{"/dev/null": fsbridge.TypeCharDevice, "/": fsbridge.TypeDirectory} {
		if res, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: path, Head: true}); err != nil || res.Type != want {
			e.Errorf("%s: got %+v, %v", path, res, err)
		}
	}
}

func statMissing(e *env) {
	e.put("notes.md", "")
	_, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path("notes")})
	if remote := e.fails("stat", err, fs.ErrNotExist); len(remote.Close) != 1 || remote.Close[0] != "notes.md" {
		e.Errorf("got %+v", remote)
	}
}
