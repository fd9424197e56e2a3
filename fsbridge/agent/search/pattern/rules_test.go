package pattern

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// ignored is what git does with Rules: a file below an ignored directory is.
func ignored(r *Rules, path string, dir bool) bool {
	for i := range len(path) {
		if path[i] == '/' && ignored(r, path[:i], true) {
			return true
		}
	}
	says, found := r.Match(path, filepath.Base(path), dir)
	return says && found
}

// TestRules has what git check-ignore 2.39 says.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		rules   string
		ignored string
		not     string
	}{
		{"a", "a d/a a/b", "ab b"},
		{"*.o", "x.o d/x.o .o", "x.oo o"},
		{"/a", "a a/b", "d/a"},
		{"d/", "d/ d/x e/d/", "e/d"},
		{"d/e", "d/e d/e/f", "x/d/e"},
		{"*.o\n!k.o", "x.o", "k.o d/k.o"},
		{"!k.o\n*.o", "k.o", ""},
		{"d/*\n!d/k", "d/x", "d/k d/"},
		{"d/**", "d/x d/y/z", "d d/ e/d/x"},
		{"**/a", "a d/a d/e/a", "ba"},
		{"d/**/a", "d/a d/x/a d/x/y/a", "a e/d/a"},
		{"a**", "a ab abc", "ba"},
		{"d/**x", "d/x d/yx", "d/e/x"},
		{"[!a]b", "bb cb", "ab b"},
		{"[^a]b", "bb", "ab"},
		{"[]a]", "] a", "b"},
		{"[a-c]x[[:digit:]]", "bx1", "dx1 bxx"},
		{"d[!x]e", "dye", "d/e dxe"},
		{"[a", "", "[a a"},
		{`a\`, "", `a a\`},
		{"?", "a b", "ab"},
		{"d?e", "dxe", "d/e"},
		{`\#x`, "#x", "x"},
		{"#x", "", "#x"},
		{`\!x`, "!x", "x"},
		{`a\*`, "a*", "ab"},
		{"{a,b}", "{a,b}", "a b"},
		{"{*}", "{x}", "x"},
		{"a  ", "a", ""},
		{`a\ `, "a_", "a"},
		{"a\r\nb", "a b", ""},
		{"\ufeffa", "a", ""},
		{"\n\n  a", "__a", "a"},
		{"*", "a d/a", ""},
		{"**", "a d/a", ""},
		{"/*\n!/d", "a e/x", "d d/x"},
		{"/", "", "a d/"},
		{"a/\n!a", "", "a a/ a/x"},
	} {
		r := ParseRules(c.rules)
		check := func(list string, want bool) {
			for path := range strings.FieldsSeq(list) {
				path = strings.ReplaceAll(path, "_", " ")
				name, dir := strings.CutSuffix(path, "/")
				if got := ignored(r, name, dir); got != want {
					t.Errorf("%q: %q: got %v", c.rules, path, got)
				}
			}
		}
		check(c.ignored, true)
		check(c.not, false)
	}
}

// drawRules makes a .gitignore of what may be in one. Not a**/b: git takes the
// a for itself before it looks at the rest as a pattern, against gitignore(5).
func drawRules(t *rapid.T) string {
	part := rapid.SampledFrom([]string{"a", "b", "ab", "x.o", "*", "**", "*.o", "a*", "*b", "?", "[ab]", "[!a]", "[!x].o", "a?",
		`\a`, "[[:alpha:]]", "**b", "{a,b}", " a", "a ", `a\ `, "[]a]", "*a*"})
	line := rapid.Custom(func(t *rapid.T) string {
		parts := rapid.SliceOfN(part, 1, 3).Draw(t, "parts")
		return rapid.SampledFrom([]string{"", "", "!"}).Draw(t, "not") + rapid.SampledFrom([]string{"", "/"}).Draw(t, "root") +
			strings.Join(parts, "/") + rapid.SampledFrom([]string{"", "/"}).Draw(t, "dir")
	})
	return strings.Join(rapid.SliceOfN(line, 1, 4).Draw(t, "lines"), "\n")
}

// TestRulesAsGit compares with git where it is installed; TestRules has the same
// cases for where it is not.
func TestRulesAsGit(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Log("git is not installed")
		return
	}
	root := t.TempDir()
	if out, err := exec.Command(git, "init", "-q", root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	paths := makeTree(t, root)
	rapid.Check(t, func(rt *rapid.T) {
		rules := drawRules(rt)
		want := gitIgnores(rt, git, root, rules, paths)
		r := ParseRules(rules)
		for path, dir := range paths {
			if got := ignored(r, path, dir); got != want[path] {
				rt.Fatalf("%q: %q: got %v", rules, path, got)
			}
		}
	})
}

// makeTree makes directories and files of a few names, three deep. It returns
// which are directories.
func makeTree(t *testing.T, root string) map[string]bool {
	t.Helper()
	dirs, files := []string{"a", "b", "ab"}, []string{"x.o", "ax", "k", " a", "{a,b}"}
	paths := map[string]bool{}
	var fill func(at string, depth int)
	fill = func(at string, depth int) {
		for _, name := range files {
			paths[filepath.Join(at, name)] = false
			if err := os.WriteFile(filepath.Join(root, at, name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range dirs[:min(len(dirs), depth)] {
			sub := filepath.Join(at, name)
			paths[sub] = true
			if err := os.Mkdir(filepath.Join(root, sub), 0o755); err != nil {
				t.Fatal(err)
			}
			fill(sub, depth-1)
		}
	}
	fill("", 3)
	return paths
}

func gitIgnores(t *rapid.T, git, root, rules string, paths map[string]bool) map[string]bool {
	if err := os.WriteFile(filepath.Join(root, ".gitignore"), []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	var in bytes.Buffer
	for path := range paths {
		in.WriteString(path + "\x00")
	}
	cmd := exec.Command(git, "-C", root, "-c", "core.excludesFile=/dev/null", "check-ignore", "--no-index", "-z", "--stdin")
	cmd.Stdin = &in
	out, err := cmd.Output()
	if exit, ok := err.(*exec.ExitError); err != nil && (!ok || exit.ExitCode() != 1) {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for path := range strings.SplitSeq(string(out), "\x00") {
		found[path] = true
	}
	return found
}
