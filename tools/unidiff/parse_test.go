package unidiff

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"moorage/fsbridge"
)

func mode(m uint32) *uint32 { return &m }

func TestParse(t *testing.T) {
	change := []fsbridge.Hunk{{Start: 1, Lines: []string{" a\n", "-b\n", "+c\n"}}}
	for name, c := range map[string]struct {
		text string
		want []fsbridge.FilePatch
	}{
		"git": {
			"diff --git a/x/y.go b/x/y.go\nindex 1..2 100644\n--- a/x/y.go\n+++ b/x/y.go\n@@ -1,2 +1,2 @@ func\n a\n-b\n+c\n",
			[]fsbridge.FilePatch{{Action: "modify", Old: "x/y.go", New: "x/y.go", Hunks: change}},
		},
		"plain": {
			"--- x\t2026-01-01 00:00:00\n+++ x\t2026-01-02 00:00:00\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n",
			[]fsbridge.FilePatch{{Action: "modify", Old: "x", New: "x", Hunks: change}},
		},
		"prefixes": {
			"Here it is:\n\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n",
			[]fsbridge.FilePatch{{Action: "modify", Old: "x", New: "x", Hunks: change}},
		},
		"a directory named b": {
			"--- b/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n",
			[]fsbridge.FilePatch{{Action: "modify", Old: "b/x", New: "b/x", Hunks: change}},
		},
		"absolute": {
			"--- /data/x\n+++ /data/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n",
			[]fsbridge.FilePatch{{Action: "modify", Old: "/data/x", New: "/data/x", Hunks: change}},
		},
		"all of it with CR LF": {
			"--- a/x\r\n+++ b/x\r\n@@ -1,2 +1,2 @@\r\n a\r\n-b\r\n+c\r\n",
			[]fsbridge.FilePatch{{Action: "modify", Old: "x", New: "x", Hunks: change}},
		},
		"all of it with CR LF but the last": {
			"diff --git a/x b/y\r\nrename from x\r\nrename to y\r\n--- a/x\r\n+++ b/y\r\n@@ -1,2 +1,2 @@\r\n a\r\n-b\r\n+c",
			[]fsbridge.FilePatch{{Action: "rename", Old: "x", New: "y", Hunks: change}},
		},
		"lines with CR LF": {
			"--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\r\n-b\r\n+c\r\n",
			[]fsbridge.FilePatch{{Action: "modify", Old: "x", New: "x", Hunks: []fsbridge.Hunk{
				{Start: 1, Lines: []string{" a\r\n", "-b\r\n", "+c\r\n"}},
			}}},
		},
		"wrong counts": {
			"--- a/x\n+++ b/x\n@@ -1,9 +1,1 @@\n a\n-b\n+c\n\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n a\n-b\n+c\n",
			[]fsbridge.FilePatch{
				{Action: "modify", Old: "x", New: "x", Hunks: change},
				{Action: "modify", Old: "y", New: "y", Hunks: change},
			},
		},
		"no numbers": {
			"--- a/x\n+++ b/x\n@@ func main() {\n a\n-b\n+c\n@@\n-d\n+e\n",
			[]fsbridge.FilePatch{{Action: "modify", Old: "x", New: "x", Hunks: []fsbridge.Hunk{
				{Start: 0, Lines: change[0].Lines}, {Start: 0, Lines: []string{"-d\n", "+e\n"}},
			}}},
		},
		"empty context line": {
			"--- a/x\n+++ b/x\n@@ -3,3 +3,3 @@\n a\n\n-b\n+c\n",
			[]fsbridge.FilePatch{{Action: "modify", Old: "x", New: "x", Hunks: []fsbridge.Hunk{
				{Start: 3, Lines: []string{" a\n", " \n", "-b\n", "+c\n"}},
			}}},
		},
		"a removed line that looks like a header": {
			"--- a/x\n+++ b/x\n@@ -1,2 +1,1 @@\n a\n--- b\n",
			[]fsbridge.FilePatch{{Action: "modify", Old: "x", New: "x", Hunks: []fsbridge.Hunk{
				{Start: 1, Lines: []string{" a\n", "--- b\n"}},
			}}},
		},
		"no newline, CRLF": {
			"--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\r\n-b\n\\ No newline at end of file\n+c\n\\ No newline at end of file\n",
			[]fsbridge.FilePatch{{Action: "modify", Old: "x", New: "x", Hunks: []fsbridge.Hunk{
				{Start: 1, Lines: []string{" a\r\n", "-b", "+c"}},
			}}},
		},
		"last line cut": {
			"--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c",
			[]fsbridge.FilePatch{{Action: "modify", Old: "x", New: "x", Hunks: change}},
		},
		"fence": {
			"```diff\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n```\n",
			[]fsbridge.FilePatch{{Action: "modify", Old: "x", New: "x", Hunks: change}},
		},
		"create and delete": {
			"--- /dev/null\n+++ b/new\n@@ -0,0 +1,2 @@\n+a\n+b\n--- a/old\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n",
			[]fsbridge.FilePatch{
				{Action: "create", New: "new", Hunks: []fsbridge.Hunk{{Lines: []string{"+a\n", "+b\n"}}}},
				{Action: "delete", Old: "old", Hunks: []fsbridge.Hunk{{Start: 1, Lines: []string{"-a\n"}}}},
			},
		},
		"rename, modes, empty files": {
			"diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n" +
				"diff --git a/s b/s\nold mode 100644\nnew mode 100755\n" +
				"diff --git a/e b/e\nnew file mode 100755\nindex 0..0\n" +
				"diff --git \"a/t\\303\\244\" \"b/t\\303\\244\"\ndeleted file mode 100644\nindex 0..0\n",
			[]fsbridge.FilePatch{
				{Action: "rename", Old: "x", New: "y"},
				{Action: "modify", Old: "s", New: "s", Mode: mode(0o755)},
				{Action: "create", New: "e", Mode: mode(0o755)},
				{Action: "delete", Old: "tä"},
			},
		},
	} {
		got, err := Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "names no file",
		"hello\nworld\n":               "names no file",
		"@@ -1 +1 @@\n-a\n+b\n":        "without file header",
		"*** Begin Patch\n":            "another format",
		"--- a\n+++ b\n@@ -1 +1 @@\nx": "line 4: a line of a hunk begins with a space, + or -",
		"diff --git a/x b/x\nBinary files a/x and b/x differ\n":                                 "x: binary changes",
		"diff --git a/x b/x\nindex 1..2\n":                                                      "x: there is no hunk",
		"diff --git a/x b/x\nnew file mode 120000\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+t\n": "symbolic links",
		"--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\n b\n":                                           "no changes",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// FuzzParse: whatever is taken is within the limits and well formed.
func FuzzParse(f *testing.F) {
	f.Add("--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n")
	f.Add("diff --git a/x b/y\nrename from x\nrename to y\n@@\n-\n")
	f.Add("```\n--- /dev/null\n+++ \"b/\\303\"\n@@ -0,0 +1 @@\n+\n\\ No newline at end of file\n```")
	f.Fuzz(func(t *testing.T, text string) {
		files, err := Parse(text)
		if err != nil {
			return
		}
		for _, p := range files {
			if p.Old == "" && p.New == "" {
				t.Errorf("a file without a name in %q", text)
			}
			for _, h := range p.Hunks {
				if h.Start < 0 || len(h.Lines) == 0 {
					t.Errorf("hunk %+v", h)
				}
				for _, l := range h.Lines {
					if l == "" || !strings.ContainsRune(" +-", rune(l[0])) || strings.Count(l, "\n") > 1 {
						t.Errorf("line %q", l)
					}
				}
			}
		}
	})
}
