package fstest

import (
	"io/fs"
	"strings"
	"syscall"

	"moorage/fsbridge"
)

var pathCases = []testCase{
	{"Relative", pathsRelative},
	{"DotDot", pathsDotDot},
	{"AbsoluteLink", pathsAbsoluteLink},
	{"LinkThroughLinkedDirectory", pathsLinkedDirectory},
	{"Loop", pathsLoop},
	{"Names", pathsNames},
	{"TooLong", pathsTooLong},
	{"FileAsDirectory", pathsFileAsDirectory},
}

// pathsRelative: a relative path starts in the data directory, which may be
// another than the test's.
func pathsRelative(e *env) {
	name := "fstest-relative-" + strings.ReplaceAll(e.Dir, "/", "-")
	res, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: fsbridge.Path(name)}, []byte("x"))
	e.must(err)
	if !strings.HasPrefix(string(res.Path), "/") || !strings.HasSuffix(string(res.Path), "/"+name) {
		e.Errorf("got path %q", res.Path)
	}
	if got := e.get(fsbridge.Path("./sub/../" + name)); got != "x" {
		e.Errorf("got %q", got)
	}
	dir := strings.TrimSuffix(string(res.Path), "/"+name)
	list, err := e.Client.List(e.Context(), fsbridge.ListRequest{})
	e.must(err)
	if string(list.Path) != dir {
		e.Errorf("the empty path is %q, want %q", list.Path, dir)
	}
	if e.Shell {
		e.exec(fsbridge.ExecRequest{Argv: []string{"rm", name}, Wait: fsbridge.WaitMax}, "")
	}
}

func pathsDotDot(e *env) {
	e.put("a/f", "x")
	res, body := e.read(fsbridge.ReadRequest{Path: fsbridge.Path(e.Dir + "/none/../a//./f")})
	if body != "x" || res.Path != e.path("a/f") {
		e.Errorf("got %q, %+v", body, res)
	}
	if _, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: "/../../.."}); err != nil {
		e.Error(err)
	}
}

func pathsAbsoluteLink(e *env) {
	target := e.put("real/f", "x")
	e.sh("ln -s " + string(target) + " link && ln -s " + e.Dir + "/real dir")
	for _, name := range []string{"link", "dir/f"} {
		if res, body := e.read(fsbridge.ReadRequest{Path: e.path(name)}); body != "x" || res.Path != e.path(name) {
			e.Errorf("%s: got %q, %+v", name, body, res)
		}
		e.put(name, "y")
		if got := e.get(target); got != "y" {
			e.Errorf("wrote through %s: the target is %q", name, got)
		}
		e.put(name, "x")
	}
	st, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path("link")})
	e.must(err)
	if st.Type != fsbridge.TypeSymlink || st.Target != target {
		e.Errorf("the link became %+v", st)
	}
}

// pathsLinkedDirectory: a relative link in a directory that is reached through a
// link starts where the directory is, not where the path says.
func pathsLinkedDirectory(e *env) {
	e.sh("mkdir -p deep/er && ln -s deep/er short && ln -s ../file deep/er/up")
	e.put("short/up", "x")
	if got := e.get(e.path("deep/file")); got != "x" {
		e.Errorf("got %q", got)
	}
	if _, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path("file")}); !errorsIs(err, fs.ErrNotExist) {
		e.Errorf("the link was resolved as text: %v", err)
	}
}

func pathsLoop(e *env) {
	e.sh("ln -s b a && ln -s a b && ln -s self self")
	for _, name := range []string{"a", "self", "a/f"} {
		_, _, _, err := e.Client.Read(e.Context(), fsbridge.ReadRequest{Path: e.path(name)})
		e.fails("read", err, syscall.ELOOP)
		_, err = e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: e.path(name)}, nil)
		e.fails("write", err, syscall.ELOOP)
	}
	if _, err := e.Client.List(e.Context(), fsbridge.ListRequest{Path: e.path("."), Depth: 10}); err != nil {
		e.Error(err)
	}
}

func pathsNames(e *env) {
	names := []string{"new\nline", "not utf-8 \xff\xfe", " ", "-rf", "\x01\x1b[31m", "a\\b", `"quoted"`, "ünïcödé", "<&>", strings.Repeat("n", 255)}
	for _, name := range names {
		path := fsbridge.Path(e.Dir + "/names/" + name)
		res, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path}, []byte(name))
		e.must(err)
		if res.Path != path {
			e.Errorf("got path %q, want %q", res.Path, path)
		}
		if got := e.get(path); got != name {
			e.Errorf("%q: got %q", name, got)
		}
		if st, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: path}); err != nil || st.Path != path {
			e.Errorf("%q: got %+v, %v", name, st, err)
		}
	}
	list, err := e.Client.List(e.Context(), fsbridge.ListRequest{Path: e.path("names"), Hidden: true})
	e.must(err)
	found := make(map[string]bool)
	for _, entry := range list.Entries {
		found[string(entry.Name)] = true
	}
	for _, name := range names {
		if !found[name] {
			e.Errorf("%q is not in the list", name)
		}
	}
	_, _, _, err = e.Client.Read(e.Context(), fsbridge.ReadRequest{Path: e.path("names/not utf-8 \xff")})
	if remote := e.fails("read", err, fs.ErrNotExist); len(remote.Close) == 0 || remote.Close[0] != "not utf-8 \xff\xfe" {
		e.Errorf("got %+v", remote)
	}
}

func pathsTooLong(e *env) {
	for _, path := range []fsbridge.Path{e.path(strings.Repeat("x", 256)), e.path(strings.Repeat("d/", 3000) + "f")} {
		_, _, _, err := e.Client.Read(e.Context(), fsbridge.ReadRequest{Path: path})
		e.fails("read", err, syscall.ENAMETOOLONG)
		_, err = e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path}, nil)
		e.fails("write", err, syscall.ENAMETOOLONG)
	}
}

func pathsFileAsDirectory(e *env) {
	e.put("f", "x")
	_, _, _, err := e.Client.Read(e.Context(), fsbridge.ReadRequest{Path: e.path("f/below")})
	e.fails("read", err, syscall.ENOTDIR)
	_, err = e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: e.path("f/below")}, nil)
	e.fails("write", err, syscall.ENOTDIR)
	_, err = e.Client.List(e.Context(), fsbridge.ListRequest{Path: e.path("f")})
	e.fails("list", err, syscall.ENOTDIR)
}
