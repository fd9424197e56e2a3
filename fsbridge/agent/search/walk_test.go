package search

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"moorage/fsbridge"
)

func globOf(t testing.TB, root string, req fsbridge.GlobRequest) fsbridge.GlobResult {
	t.Helper()
	req.Path = fsbridge.Path(filepath.Join(root, string(req.Path)))
	res, err := New().Glob(t.Context(), &req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func names(res fsbridge.GlobResult) (all []string) {
	for _, e := range res.Entries {
		all = append(all, string(e.Name))
	}
	return all
}

func TestGlobNewestFirst(t *testing.T) {
	root := t.TempDir()
	for i, name := range []string{"b", "d/c", "a", "d/a"} {
		plant(t, root, map[string]string{name: "12345"})
		if err := os.Chtimes(filepath.Join(root, name), time.Time{}, time.Unix(int64(1000+i/2), 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a", filepath.Join(root, "d", "l")); err != nil {
		t.Fatal(err)
	}
	res := globOf(t, root, fsbridge.GlobRequest{Pattern: "?"})
	if got := strings.Join(names(res), " "); got != "d/l d d/a a b d/c" && got != "d d/l d/a a b d/c" && got != "d d/l a d/a b d/c" && got != "d/l d a d/a b d/c" {
		t.Errorf("got %s", got)
	}
	if i := slices.Index(names(res), "d/l"); res.Entries[i].Type != fsbridge.TypeSymlink || res.Entries[i].Target != "a" {
		t.Errorf("got %+v", res.Entries[i])
	}
	res = globOf(t, root, fsbridge.GlobRequest{Pattern: "[abc]", Limit: 2})
	if got := strings.Join(names(res), " "); got != "a d/a" && got != "d/a a" || res.Total != 4 || res.Entries[0].Size != 5 {
		t.Errorf("got %s: %+v", got, res)
	}
}

// TestGlobAsNaive holds a glob against a plain walk with doublestar.
func TestGlobAsNaive(t *testing.T) {
	root := t.TempDir()
	files := map[string]string{"empty/": ""}
	for _, d := range []string{"", "a/", "b/", "a/b/", "a/a/b/", "ab/c/", "b/\xff/"} {
		for _, f := range []string{"x.go", "y.md", "a", "ab.go"} {
			if d+f != "a" && d+f != "a/a" {
				files[d+f] = ""
			}
		}
	}
	plant(t, root, files)
	part := rapid.SampledFrom([]string{"a", "b", "**", "*", "*.go", "?", "a*", "[!a]*", "{a,x.go}", "{*.md,a}"})
	rapid.Check(t, func(rt *rapid.T) {
		parts := rapid.SliceOfN(part, 1, 4).Draw(rt, "pattern")
		pattern := strings.Join(parts, "/")
		full := pattern
		if len(parts) == 1 {
			full = "**/" + pattern
		}
		if parts[len(parts)-1] == "**" {
			full += "/*"
		}
		var want []string
		filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			rel, _ := filepath.Rel(root, path)
			if err == nil && rel != "." && doublestar.MatchUnvalidated(full, rel) {
				want = append(want, rel)
			}
			return err
		})
		limit := rapid.IntRange(1, 40).Draw(rt, "limit")
		res, err := New().Glob(t.Context(), &fsbridge.GlobRequest{Path: fsbridge.Path(root), Pattern: pattern, Limit: limit})
		if err != nil {
			rt.Fatal(err)
		}
		got := names(res)
		slices.Sort(got)
		slices.Sort(want)
		if res.Total != len(want) || len(got) != min(limit, len(want)) || limit >= len(want) && !slices.Equal(got, want) {
			rt.Fatalf("%s: got %q, want %q", pattern, got, want)
		}
	})
}

// TestIgnored: rules of several files, as git has them.
func TestIgnored(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{
		".git/info/exclude": "secret\n", ".git/config": "", ".gitignore": "*.o\nbuild/\n/top\n!keep.o\n",
		"d/.gitignore": "!x.o\n/only\n*.tmp\n", "a.o": "", "keep.o": "", "build/f": "", "top": "", "secret": "", "f": "",
		"d/x.o": "", "d/y.o": "", "d/only": "", "d/e/only": "", "d/e/f.tmp": "", "d/top": "", "d/secret": "",
		"sub/.git": "gitdir: elsewhere", "sub/z.o": "", "many/.gitignore": "no*\n",
	})
	for i := range 3000 { // more than are read at a time
		plant(t, root, map[string]string{fmt.Sprintf("many/no%d", i): ""})
	}
	check := func(path, want string, all bool) {
		t.Helper()
		var got []string
		for _, name := range names(globOf(t, root, fsbridge.GlobRequest{Path: fsbridge.Path(path), Pattern: "**", All: all})) {
			if st, err := os.Stat(filepath.Join(root, path, name)); err == nil && !st.IsDir() && !strings.HasSuffix(name, ".gitignore") {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	check("", "d/e/only d/top d/x.o f keep.o sub/z.o", false)
	check("d", "e/only top x.o", false)
	check("d/e", "only", false)
	check("sub", "z.o", false)
	check("build", "f", false)
	check("d", "e/f.tmp e/only only secret top x.o y.o", true)
}

// TestIgnoredAsGit compares a tree of .gitignore files with git, where it is
// installed.
func TestIgnoredAsGit(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Log("git is not installed")
		return
	}
	root := t.TempDir()
	if out, err := exec.Command(git, "init", "-q", root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files := map[string]string{}
	dirs := []string{"", "a/", "b/", "a/b/", "a/b/a/", "b/c/"}
	for _, d := range dirs {
		for _, f := range []string{"x", "y.o", "ab", "z.o"} {
			files[d+f] = ""
		}
	}
	plant(t, root, files)
	line := rapid.SampledFrom([]string{"*.o", "!y.o", "a", "/a", "b/", "!b/", "a/b", "**/a", "a/**", "*", "!a*", "!*/", "/x", "!x", "[a-y]*", "b/*", "!b/c"})
	rapid.Check(t, func(rt *rapid.T) {
		for _, d := range dirs {
			os.Remove(filepath.Join(root, d, ".gitignore"))
			if rapid.IntRange(0, 2).Draw(rt, "has") == 0 {
				rules := strings.Join(rapid.SliceOfN(line, 1, 3).Draw(rt, d), "\n")
				plant(t, root, map[string]string{d + ".gitignore": rules})
			}
		}
		want := gitFiles(rt, git, root)
		var got []string
		res, err := New().Grep(t.Context(), &fsbridge.GrepRequest{Path: fsbridge.Path(root), Pattern: "x"})
		if err != nil {
			rt.Fatal(err)
		}
		glob, err := New().Glob(t.Context(), &fsbridge.GlobRequest{Path: fsbridge.Path(root), Pattern: "**"})
		if err != nil {
			rt.Fatal(err)
		}
		for _, e := range glob.Entries {
			if e.Type == fsbridge.TypeFile {
				got = append(got, string(e.Name))
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) || res.Searched != len(want) {
			rt.Fatalf("got %q and %d searched, want %q", got, res.Searched, want)
		}
	})
}

// gitFiles are those that git does not ignore.
func gitFiles(t *rapid.T, git, root string) []string {
	cmd := exec.Command(git, "-C", root, "-c", "core.excludesFile=/dev/null", "ls-files", "-z", "--others", "--exclude-standard")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	files := strings.Split(string(bytes.TrimSuffix(out, []byte{0})), "\x00")
	files = slices.DeleteFunc(files, func(f string) bool { return f == "" })
	slices.Sort(files)
	return files
}

// TestDenied searches as a user who may not read all. Root may, so as root the
// test's thread, and only that walks, takes another user's rights on files.
func TestDenied(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"open/f": "x", "closed/f": "x", "open/secret": "x"})
	modes := map[string]os.FileMode{"closed": 0, "open/secret": 0, "": 0o755, "..": 0o755}
	for name, mode := range modes {
		if err := os.Chmod(filepath.Join(root, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	defer os.Chmod(filepath.Join(root, "closed"), 0o755)
	s := New()
	s.helpers = make(chan struct{}) // no one helps
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if os.Geteuid() == 0 {
		if err := unix.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer unix.Setfsuid(0)
	}
	res, err := s.Grep(t.Context(), &fsbridge.GrepRequest{Path: fsbridge.Path(root), Pattern: "x"})
	if err != nil || res.Denied != 2 || show(res.Matches) != "open/f:1:x\n" {
		t.Errorf("got %+v, %v", res, err)
	}
	glob, err := s.Glob(t.Context(), &fsbridge.GlobRequest{Path: fsbridge.Path(root), Pattern: "**"})
	if err != nil || glob.Denied != 1 || glob.Total != 4 {
		t.Errorf("got %+v, %v", glob, err)
	}
}

// TestVanishing: nodes that come and go while they are searched are no error.
func TestVanishing(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"stays": "x\n"})
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			d := filepath.Join(root, fmt.Sprint("d", i%7))
			os.MkdirAll(filepath.Join(d, "e"), 0o755)
			for j := range 20 {
				os.WriteFile(filepath.Join(d, "e", fmt.Sprint(j)), []byte("x\n"), 0o644)
			}
			os.RemoveAll(d)
			os.Symlink("..", d)
			os.Remove(d)
		}
	})
	for range 200 {
		res := grepOf(t, root, fsbridge.GrepRequest{Pattern: "x", After: 1})
		if res.Denied != 0 || len(res.Matches) == 0 || res.Matches[len(res.Matches)-1].Path != "stays" {
			t.Errorf("got %+v", res)
			break
		}
		if glob := globOf(t, root, fsbridge.GlobRequest{Pattern: "**"}); glob.Denied != 0 || glob.Total == 0 {
			t.Errorf("got %+v", glob)
			break
		}
	}
	close(done)
	wg.Wait()
}

// TestDeepAndWide: a tree deeper than a path may be long, with more directories
// on the way than are kept open. No descriptor is left.
func TestDeepAndWide(t *testing.T) {
	root := t.TempDir()
	before := descriptors(t)
	at, err := unix.Open(root, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	const depth = 100
	for range depth {
		for _, name := range []string{strings.Repeat("d", 10), "side"} {
			if err := unix.Mkdirat(at, name, 0o755); err != nil {
				t.Fatal(err)
			}
			plant(t, fmt.Sprintf("/proc/self/fd/%d", at), map[string]string{name + "/f": "x\n"})
		}
		next, err := unix.Openat(at, strings.Repeat("d", 10), unix.O_DIRECTORY|unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(at)
		at = next
	}
	unix.Close(at)
	if res := grepOf(t, root, fsbridge.GrepRequest{Pattern: "x"}); res.Files != 2*depth || res.Denied != 0 {
		t.Errorf("%d files, %d denied", res.Files, res.Denied)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, there were %d", after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestSearchMax: a walk that has seen enough ends, and says so.
func TestSearchMax(t *testing.T) {
	root := sources(t, 3000, 10)
	w, err := newWalk(t.Context(), root, false)
	if err != nil {
		t.Fatal(err)
	}
	w.limit = 500
	g, err := newGlob(&fsbridge.GlobRequest{Path: fsbridge.Path(root), Pattern: "**"})
	if err != nil {
		t.Fatal(err)
	}
	if err := New().visitAll(w, func() visitor { return globber{g} }); err != nil {
		t.Fatal(err)
	}
	if !w.cut.Load() || g.total < 400 || g.total > 1500 {
		t.Errorf("cut %v, %d found", w.cut.Load(), g.total)
	}
}

type panicker struct{}

func (panicker) enters(string) bool                     { return true }
func (panicker) wants(string, byte, func() string) bool { return true }
func (panicker) close()                                 {}
func (panicker) visit(*dir, name, byte)                 { panic("in a worker") }

// TestPanic: a panic in any worker is one of the caller's.
func TestPanic(t *testing.T) {
	w, err := newWalk(t.Context(), sources(t, 200, 10), false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if p := recover(); p != "in a worker" {
			t.Errorf("got %v", p)
		}
	}()
	New().visitAll(w, func() visitor { return panicker{} })
}

func TestErrors(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"docs/f": "x"})
	at := func(name string) fsbridge.Path { return fsbridge.Path(filepath.Join(root, name)) }
	for _, c := range []struct {
		req  fsbridge.GrepRequest
		want string
	}{
		{fsbridge.GrepRequest{Path: at(""), Pattern: "a("}, "missing closing"},
		{fsbridge.GrepRequest{Path: at(""), Pattern: "x", Mode: "all"}, "content, files or count"},
		{fsbridge.GrepRequest{Path: at(""), Pattern: "x", Glob: "[a"}, "glob"},
		{fsbridge.GrepRequest{Path: at(""), Pattern: "x", Before: fsbridge.ContextMax + 1}, "0 to 50"},
		{fsbridge.GrepRequest{Path: at(""), Pattern: "x", Offset: -1}, "offset -1"},
		{fsbridge.GrepRequest{Path: at(""), Pattern: strings.Repeat("x", fsbridge.PatternMax+1)}, "16384"},
		{fsbridge.GrepRequest{Path: at("doc"), Pattern: "x"}, "no such file"},
	} {
		if _, err := New().Grep(t.Context(), &c.req); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want one of %q", err, c.want)
		}
	}
	_, err := New().Glob(t.Context(), &fsbridge.GlobRequest{Path: at("docs/f"), Pattern: "x"})
	if err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("got %v", err)
	}
}
