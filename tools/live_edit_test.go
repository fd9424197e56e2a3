package tools

import (
	"fmt"
	"strings"
	"testing"

	"moorage/sandbox"
)

func TestEditing(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	r := l.call(t, "fs_write", args{"path": "a.txt", "content": "one\ntwo\nthree\ntwo\n"})
	first := r.Facts["revision"]
	r = l.call(t, "fs_edit", args{"path": "a.txt", "edits": []args{{"old_text": "one", "new_text": "ONE"}, {"old_text": "two", "new_text": "2", "replace_all": true}}, "dry_run": true})
	r.wants(t, args{"path": "/data/a.txt", "replacements": 3, "dry_run": true, "truncated": false, "lines_added": 3, "lines_removed": 3})
	has(t, r.Content[0].Text, "--- ", "+++ ", "@@ -1,4 +1,4 @@", "-one\n", "+ONE\n", "-two\n", "+2\n", " three\n")
	has(t, r.text(), "3 replacements in /data/a.txt would be made; this was a dry run and nothing was written")
	l.call(t, "fs_read", args{"path": "a.txt"}).body(t, "one\ntwo\nthree\ntwo\n")

	has(t, l.fails(t, "fs_edit", args{"path": "a.txt", "edits": []args{{"old_text": "two", "new_text": "2"}}}),
		"invalid_argument: edit /data/a.txt: ", "2 ", "set replace_all", "\n     2: two", "\n     4: two")
	has(t, l.fails(t, "fs_edit", args{"path": "a.txt", "edits": []args{{"old_text": "one", "new_text": "1"}, {"old_text": "threee", "new_text": "3"}}}),
		"not_found: edit /data/a.txt: ", "\n     3: three")
	l.call(t, "fs_read", args{"path": "a.txt"}).body(t, "one\ntwo\nthree\ntwo\n") // none of them

	r = l.call(t, "fs_edit", args{"path": "a.txt", "edits": []args{{"old_text": "one\n", "new_text": ""}}, "if_revision": first})
	r.wants(t, args{"replacements": 1, "size": 14})
	has(t, l.fails(t, "fs_edit", args{"path": "a.txt", "edits": []args{{"old_text": "three", "new_text": "3"}}, "if_revision": first}),
		"conflict: /data/a.txt has changed: its revision is now "+r.Facts["revision"].(string))

	l.call(t, "fs_write", args{"path": "dos.txt", "content": "\ufeffa\r\nb\r\nc"})
	l.call(t, "fs_edit", args{"path": "dos.txt", "edits": []args{{"old_text": "a\nb\n", "new_text": "x\ny\nz\n"}}})
	l.call(t, "fs_read", args{"path": "dos.txt"}).body(t, "\ufeffx\r\ny\r\nz\r\nc")

	for want, a := range map[string]args{
		"edits.0.new_text: got ":                           {"path": "a.txt", "edits": []args{{"old_text": "two", "new_text": "two"}}},
		"edits.0.old_text: got \"\", takes a string of at": {"path": "a.txt", "edits": []args{{"old_text": "", "new_text": "two"}}},
		"edits: got [], takes an array of objects with old_text, new_text, replace_all, 1 to 200 of them": {"path": "a.txt", "edits": []args{}},
		"edits.0.new_text is missing":                          {"path": "a.txt", "edits": []args{{"old_text": "two"}}},
		"unknown parameter \"old_text\"":                       {"path": "a.txt", "old_text": "x", "new_text": "y"},
		"List it with fs_list":                                 {"path": "/etc", "edits": []args{{"old_text": "a", "new_text": "b"}}},
		"not_found: edit /data/b.txt: no such file":            {"path": "b.txt", "edits": []args{{"old_text": "a", "new_text": "b"}}},
		"unsupported: ":                                        {"path": "/dev/null", "edits": []args{{"old_text": "a", "new_text": "b"}}},
		"invalid_argument: if_revision: got \"\", takes a str": {"path": "a.txt", "if_revision": "", "edits": []args{{"old_text": "two", "new_text": "x"}}},
		"too_large: edits have ":                               {"path": "a.txt", "edits": []args{{"old_text": "two", "new_text": strings.Repeat("x", contentMax)}}},
	} {
		has(t, l.fails(t, "fs_edit", a), want)
	}
	// A long diff is cut, and the edit whole.
	l.call(t, "exec", args{"command": "yes line | head -20000 > long"})
	r = l.call(t, "fs_edit", args{"path": "long", "edits": []args{{"old_text": "line", "new_text": "row", "replace_all": true}}})
	r.wants(t, args{"replacements": 20000, "truncated": true, "size": 80000})
	if n := len(r.text()); n > ResultChars+1000 {
		t.Errorf("%d characters", n)
	}
}

func TestPatching(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "fs_write", args{"path": "src/a", "content": "0\n1\n2\n3\n"})
	l.call(t, "fs_write", args{"path": "src/old", "content": "x\n"})
	l.call(t, "fs_write", args{"path": "src/gone", "content": "bye\n"})
	patch := "--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n" +
		"--- /dev/null\n+++ b/deep/new\n@@ -0,0 +1 @@\n+hi\n" +
		"--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-bye\n" +
		"diff --git a/old b/sub/new\nsimilarity index 100%\nrename from old\nrename to sub/new\n"
	r := l.call(t, "fs_patch", args{"path": "src", "patch": patch, "dry_run": true})
	r.wants(t, args{"dry_run": true})
	has(t, r.text(), "modify /data/src/a  +1 -1  (found up to 1 line away)", "create /data/src/deep/new  +1 -0", "delete /data/src/gone", "rename /data/src/old to /data/src/sub/new", "nothing was written")
	l.call(t, "fs_read", args{"path": "src/a"}).body(t, "0\n1\n2\n3\n")

	bad := strings.Replace(patch, "-bye", "-other", 1)
	has(t, l.fails(t, "fs_patch", args{"path": "src", "patch": bad}), "conflict: patch /data/src/gone: ", "Read the file again")
	l.call(t, "fs_read", args{"path": "src/a"}).body(t, "0\n1\n2\n3\n") // all or none
	l.call(t, "fs_stat", args{"path": "src/old"})
	has(t, l.fails(t, "fs_stat", args{"path": "src/deep"}), "not_found: ")

	r = l.call(t, "fs_patch", args{"path": "/data/src", "patch": patch})
	files := r.Facts["files"].([]any)
	if len(files) != 4 || files[3].(map[string]any)["old_path"] != "/data/src/old" || files[0].(map[string]any)["moved"] != 1.0 {
		t.Errorf("%s", r.raw)
	}
	l.call(t, "fs_read", args{"path": "src/a"}).body(t, "0\n1\ntwo\n3\n")
	l.call(t, "fs_read", args{"path": "src/deep/new"}).body(t, "hi\n")
	l.call(t, "fs_read", args{"path": "src/sub/new"}).body(t, "x\n")
	for _, gone := range []string{"src/gone", "src/old"} {
		has(t, l.fails(t, "fs_stat", args{"path": gone}), "not_found: ")
	}
	has(t, l.fails(t, "fs_patch", args{"path": "src", "patch": patch}), "patch /data/src/")
	has(t, l.fails(t, "fs_patch", args{"patch": "hello"}), "invalid_argument: patch: it names no file", "takes a unified diff")
	has(t, l.fails(t, "fs_patch", args{"patch": "--- a/nix\n+++ b/nix\n@@ -1 +1 @@\n-a\n+b\n"}), "not_found: patch /data/nix: no such file")
	has(t, l.fails(t, "fs_patch", args{"patch": "--- /dev/null\n+++ b/src/a\n@@ -0,0 +1 @@\n+b\n"}), "already_exists: patch /data/src/a: ")
	l.call(t, "fs_read", args{"path": "src/a"}).body(t, "0\n1\ntwo\n3\n")
}

func TestDirectoriesMovesAndDeletions(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "fs_mkdir", args{"path": "a/b/c", "mode": "0700"}).wants(t, args{"created": true, "path": "/data/a/b/c"})
	l.call(t, "fs_mkdir", args{"path": "a/b/c"}).wants(t, args{"created": false})
	l.call(t, "fs_stat", args{"path": "a/b/c"}).wants(t, args{"mode": "0700", "type": "directory"})
	l.call(t, "fs_write", args{"path": "a/f", "content": "f"})
	has(t, l.fails(t, "fs_mkdir", args{"path": "a/f"}), ": mkdir /data/a/f: ")
	has(t, l.fails(t, "fs_mkdir", args{"path": "x", "mode": "rwx"}), `invalid_argument: mode: got "rwx", takes an octal mode`)

	l.call(t, "fs_move", args{"source": "a/f", "destination": "new/dir/g"}).wants(t, args{"source": "/data/a/f", "destination": "/data/new/dir/g", "replaced": false})
	l.call(t, "fs_write", args{"path": "h", "content": "h"})
	has(t, l.fails(t, "fs_move", args{"source": "h", "destination": "new/dir/g"}), "already_exists: move /data/", "overwrite")
	l.call(t, "fs_move", args{"source": "h", "destination": "new/dir/g", "overwrite": true}).wants(t, args{"replaced": true})
	l.call(t, "fs_read", args{"path": "new/dir/g"}).body(t, "h")
	l.call(t, "fs_move", args{"source": "new", "destination": "/srv/new"}) // to another file system
	l.call(t, "fs_read", args{"path": "/srv/new/dir/g"}).body(t, "h")
	has(t, l.fails(t, "fs_stat", args{"path": "new"}), "not_found: ")
	has(t, l.fails(t, "fs_move", args{"source": "nix", "destination": "x"}), "not_found: move /data/nix: no such file")
	has(t, l.fails(t, "fs_move", args{"source": "a", "destination": "a/b/x"}), "invalid_argument: ")

	has(t, l.fails(t, "fs_delete", args{"path": "a"}), ": delete /data/a: ", "recursive")
	r := l.call(t, "fs_delete", args{"path": "a", "recursive": true})
	r.wants(t, args{"deleted": true, "count": 3})
	has(t, r.text(), "Deleted /data/a and the 2 entries in it.")
	l.call(t, "fs_delete", args{"path": "a"}).wants(t, args{"deleted": false, "count": 0})
	for _, mount := range []string{"/", "/data", "/app", "/proc", "/dev"} {
		has(t, l.fails(t, "fs_delete", args{"path": mount, "recursive": true}), "permission_denied: delete "+mount)
	}
	l.call(t, "exec", args{"command": "mkdir t; echo keep > t/f; ln -s t l"})
	l.call(t, "fs_delete", args{"path": "l", "recursive": true}).wants(t, args{"deleted": true, "count": 1})
	l.call(t, "fs_read", args{"path": "t/f"}).body(t, "keep\n")
	for tool, bad := range map[string]args{"fs_mkdir": {"path": ""}, "fs_delete": {"path": ""}, "fs_move": {"source": "", "destination": "x"}} {
		has(t, l.fails(t, tool, bad), "invalid_argument: ", "a path that is not empty")
	}
}

func TestSearching(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "exec", args{"command": `mkdir -p src/deep .git build; echo 'Hello World' > src/a.go; printf 'x\nneedle one\ny\n' > src/deep/b.go; printf 'needle two\nneedle three\n' > src/deep/c.txt
		printf 'needle\000bin' > src/bin; echo needle > .git/config; echo needle > build/out; echo build/ > .gitignore; touch -d '2020-01-01' src/a.go; printf 'func a(\n\tb int,\n)\n' > src/m.go`})
	r := l.call(t, "fs_glob", args{"pattern": "*.go"})
	r.wants(t, args{"total": 3, "returned": 3, "truncated": false, "path": "/data"})
	if lines := strings.Split(r.Content[0].Text, "\n"); len(lines) != 3 || lines[2] != "/data/src/a.go" {
		t.Errorf("%q", lines)
	}
	has(t, r.text(), "[3 of 3 paths]")
	r = l.call(t, "fs_glob", args{"pattern": "**/*.{go,txt}", "path": "src", "limit": 2})
	r.wants(t, args{"total": 4, "returned": 2, "truncated": true, "path": "/data/src"})
	l.call(t, "fs_glob", args{"pattern": "deep/*", "path": "src"}).wants(t, args{"total": 2})
	l.call(t, "fs_glob", args{"pattern": "**/out"}).wants(t, args{"total": 0})
	l.call(t, "fs_glob", args{"pattern": "**/out", "all": true}).wants(t, args{"total": 1})
	has(t, l.fails(t, "fs_glob", args{"pattern": "[a"}), "invalid_argument: ")
	has(t, l.fails(t, "fs_glob", args{"pattern": "*", "path": "nix"}), "not_found: glob /data/nix: ")

	r = l.call(t, "fs_grep", args{"pattern": "needle"})
	r.wants(t, args{"matches": 3, "files": 2, "returned": 3, "truncated": false, "binary_skipped": 1})
	r.body(t, "/data/src/deep/b.go\n2:needle one\n\n/data/src/deep/c.txt\n1:needle two\n2:needle three")
	has(t, r.text(), "3 matches in 2 files", "1 binary file left out")
	l.call(t, "fs_grep", args{"pattern": "needle", "all": true}).wants(t, args{"files": 5})
	l.call(t, "fs_grep", args{"pattern": "needle", "mode": "files"}).body(t, "/data/src/deep/b.go\n/data/src/deep/c.txt")
	l.call(t, "fs_grep", args{"pattern": "needle", "mode": "count"}).body(t, "/data/src/deep/b.go: 1\n/data/src/deep/c.txt: 2")
	l.call(t, "fs_grep", args{"pattern": "needle", "glob": "*.txt", "mode": "content"}).wants(t, args{"matches": 2, "files": 1})
	l.call(t, "fs_grep", args{"pattern": "needle", "glob": "!*.txt"}).wants(t, args{"matches": 1})
	l.call(t, "fs_grep", args{"pattern": "needle", "path": "src/deep/b.go", "before": 1, "after": 1}).body(t, "/data/src/deep/b.go\n1-x\n2:needle one\n3-y")
	l.call(t, "fs_grep", args{"pattern": "hello", "ignore_case": true}).wants(t, args{"matches": 1})
	l.call(t, "fs_grep", args{"pattern": "func a(", "fixed": true}).wants(t, args{"matches": 1})
	l.call(t, "fs_grep", args{"pattern": `a\(.*b int`, "multiline": true}).wants(t, args{"matches": 1})
	r = l.call(t, "fs_grep", args{"pattern": "needle", "limit": 1})
	r.wants(t, args{"matches": 3, "returned": 1, "truncated": true, "next_offset": 1})
	has(t, r.text(), "match 1 to 1 of 3; 3 matches in 2 files; the rest: fs_grep with offset 1")
	l.call(t, "fs_grep", args{"pattern": "needle", "offset": 1, "limit": 5}).body(t, "/data/src/deep/c.txt\n1:needle two\n2:needle three")
	has(t, l.call(t, "fs_grep", args{"pattern": "needle", "offset": 7}).text(), "nothing from offset 7 on")
	r = l.call(t, "fs_grep", args{"pattern": "no such thing"})
	r.wants(t, args{"matches": 0})
	has(t, r.text(), "no match in ", " below /data")
	has(t, l.fails(t, "fs_grep", args{"pattern": "a(b"}), "invalid_argument: ", "missing closing )")
	has(t, l.fails(t, "fs_grep", args{"pattern": "a(?=b)"}), "invalid_argument: ")
	has(t, l.fails(t, "fs_grep", args{"pattern": "x", "mode": "lines", "before": 51}), `mode: got "lines", takes one of content, files, count`, "before: got 51, takes an integer from 0 to 50")
	has(t, l.fails(t, "fs_grep", args{"pattern": "x", "path": "nix"}), "not_found: grep /data/nix: ")
}

// TestLongGrep: pages fit a result, and joined they are the whole.
func TestLongGrep(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "exec", args{"command": `i=0; while [ $i -lt 1500 ]; do echo "match $i of a rather long line that goes on and on and on"; i=$((i+1)); done > long; awk 'BEGIN{for(i=0;i<1000000;i++) printf "z"; print " match"}' > wide`})
	var all []string
	for offset := 0; ; {
		r := l.call(t, "fs_grep", args{"pattern": "match", "path": "long", "limit": 2000, "offset": offset})
		if n := len(r.text()); n > ResultChars {
			t.Fatalf("%d characters", n)
		}
		all = append(all, strings.Split(r.Content[0].Text, "\n")[1:]...)
		next, ok := r.Facts["next_offset"].(float64)
		if !ok {
			break
		}
		offset = int(next)
	}
	if len(all) != 1500 || !strings.HasPrefix(all[1499], "1500:match 1499 ") {
		t.Errorf("%d lines, the last %q", len(all), all[max(0, len(all)-1):])
	}
	r := l.call(t, "fs_grep", args{"pattern": "match", "path": "wide"})
	has(t, r.Content[0].Text, "/data/wide\n1:", " match [part of a longer line]")
	if n := len(r.text()); n > 5000 {
		t.Errorf("%d characters of one long line", n)
	}
	l.call(t, "exec", args{"command": `printf 'match \033[31m\tred\r\nmatch \377\n' > odd`})
	r = l.call(t, "fs_grep", args{"pattern": "match", "path": "odd"})
	has(t, r.Content[0].Text, `1:match \x1b[31m`+"\tred", `2:match \xff`)
	if strings.ContainsAny(r.Content[0].Text, "\x1b\r") {
		t.Errorf("%q", r.Content[0].Text)
	}
	l.call(t, "fs_glob", args{"pattern": "*", "limit": 2000}).wants(t, args{"total": 3})
	l.call(t, "exec", args{"command": `mkdir many; cd many; i=0; while [ $i -lt 2100 ]; do : > a_rather_long_name_of_a_file_$i; i=$((i+1)); done`})
	r = l.call(t, "fs_glob", args{"pattern": "many/*", "limit": 2000})
	if n := len(r.text()); n > ResultChars || r.Facts["truncated"] != true {
		t.Errorf("%d characters, %v", n, r.Facts)
	}
	has(t, r.text(), fmt.Sprintf("%v of 2100 paths; a narrower pattern", r.Facts["returned"]))
}
