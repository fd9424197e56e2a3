package tools

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"strings"
	"testing"

	"moorage/sandbox"
)

type args = map[string]any

// wants checks facts of a result, by name.
func (r toolResult) wants(t testing.TB, facts args) {
	t.Helper()
	if r.IsError {
		t.Fatalf("%s", r.raw)
	}
	for name, want := range facts {
		got := r.Facts[name]
		if n, ok := got.(float64); ok && n == float64(int64(n)) {
			got = int64(n)
		}
		if got := fmt.Sprint(got); got != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v, in %.600s", name, got, want, r.raw)
		}
	}
}

// body checks that the first content item is exactly want.
func (r toolResult) body(t testing.TB, want string) {
	t.Helper()
	if r.IsError || len(r.Content) == 0 || r.Content[0].Text != want {
		t.Errorf("body of %.600s\nis not %.300q", r.raw, want)
	}
}

// has checks that the text of a result or error has each part.
func has(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%.600s\nlacks %q", text, p)
		}
	}
}

// TestMainJob is the whole of a bot's session.
func TestMainJob(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	r := l.call(t, "create_container", args{"container_id": "main", "env": args{"GREETING": "hi"}, "limits": args{"memory_mb": 256, "cpus": 0.5, "pids": 100}})
	r.wants(t, args{"container_id": "main", "image": sandbox.BaseImage, "created": true, "started": true, "state": "running", "data_mounts": "[/data /app]"})
	has(t, r.text(), "Container main is made and running", "/data and /app")
	r = l.call(t, "create_container", args{"container_id": "main", "env": args{"GREETING": "hi"}, "limits": args{"memory_mb": 256, "cpus": 0.5, "pids": 100}})
	r.wants(t, args{"created": false, "started": false})
	has(t, l.fails(t, "create_container", args{"container_id": "main", "image": "other:1"}), "already_exists: ", "image")

	l.call(t, "fs_write", args{"path": "src/hello.txt", "content": "line one\nline two\n"}).wants(t, args{"path": "/data/src/hello.txt", "size": 18, "created": true, "container_id": "main"})
	l.call(t, "fs_read", args{"path": "/app/src/hello.txt"}).body(t, "line one\nline two\n")
	r = l.call(t, "exec", args{"command": "echo $GREETING from $(pwd); echo oops >&2; exit 3"})
	r.wants(t, args{"exit_code": 3, "state": "exited", "stdout_bytes": 14, "stderr_bytes": 5, "truncated": false})
	r.body(t, "hi from /data\n")
	has(t, r.text(), "stderr:\noops\n", "[exit code 3]")

	r = l.call(t, "list_containers", "{}")
	has(t, r.text(), "main  running", "256 MiB", "0.5 CPUs", "current", "uses ")
	var listed struct {
		Containers []containerFacts
	}
	facts, _ := json.Marshal(r.Facts)
	if err := json.Unmarshal(facts, &listed); err != nil || len(listed.Containers) != 1 || !listed.Containers[0].Current ||
		listed.Containers[0].Usage == nil || listed.Containers[0].SnapshotKey == "" || listed.Containers[0].CreatedAt.IsZero() {
		t.Errorf("%v %s", err, facts)
	}

	l.call(t, "stop_container", args{"container_id": "main", "grace_seconds": 0}).wants(t, args{"state": "stopped", "was_running": true})
	l.call(t, "stop_container", args{"container_id": "main"}).wants(t, args{"was_running": false})
	r = l.call(t, "fs_read", args{"path": "src/hello.txt"})
	r.wants(t, args{"started": true})
	has(t, r.text(), "[started container main]")
	r.body(t, "line one\nline two\n")

	l.call(t, "delete_container", args{"container_id": "main"}).wants(t, args{"deleted": true, "data_deleted": false})
	has(t, l.fails(t, "delete_container", args{"container_id": "main"}), `not_found: container "main" does not exist`)
	r = l.call(t, "fs_read", args{"path": "src/hello.txt"}) // in a new container, with the same data
	r.wants(t, args{"container_created": true, "started": true})
	has(t, r.text(), "[made container ", "as you had none]")
	r.body(t, "line one\nline two\n")
}

// TestForeignIsUnknown: another bot's container answers as none.
func TestForeignIsUnknown(t *testing.T) {
	l := newLive(t, sandbox.Options{NoAutoCreate: true})
	l.call(t, "create_container", args{"container_id": "secret"})
	other := l.another(t, "other")
	for tool, a := range map[string]args{
		"fs_read": {"path": "x"}, "fs_write": {"path": "x", "content": ""}, "fs_list": {}, "fs_stat": {"path": "x"},
		"exec": {"command": "id"}, "stop_container": {}, "delete_container": {}, "list_containers": {},
		"fs_edit": {"path": "x", "edits": []args{{"old_text": "a", "new_text": "b"}}}, "fs_grep": {"pattern": "x"}, "fs_glob": {"pattern": "x"},
		"fs_patch": {"patch": "--- a\n+++ a\n@@ -1 +1 @@\n-a\n+b\n"}, "fs_mkdir": {"path": "x"}, "fs_delete": {"path": "x"},
		"fs_move": {"source": "x", "destination": "y"}, "process": {"action": "list"},
	} {
		a["container_id"] = "secret"
		foreign := other.fails(t, tool, a)
		a["container_id"] = "nosuch"
		if unknown := other.fails(t, tool, a); strings.Replace(foreign, "secret", "nosuch", 1) != unknown || !strings.HasPrefix(foreign, "not_found: ") {
			t.Errorf("%s: %q and %q", tool, foreign, unknown)
		}
	}
	if r := other.call(t, "list_containers", "{}"); fmt.Sprint(r.Facts["containers"]) != "[]" {
		t.Errorf("%s", r.raw)
	}
	has(t, other.fails(t, "fs_list", "{}"), "not_found: you have no container. Make one with create_container.")
	has(t, other.fails(t, "fs_list", args{"container_id": "../x"}), `invalid_argument: container_id: got "../x", takes 1 to 63`)
	has(t, other.fails(t, "create_container", args{"container_id": "Große"}), `invalid_argument: container_id: got `)
	// The same id is free for another bot.
	other.call(t, "create_container", args{"container_id": "secret"}).wants(t, args{"created": true})
}

func TestReading(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, "line %d\n", i+1)
	}
	whole := b.String()
	l.call(t, "fs_write", args{"path": "big.txt", "content": whole}).wants(t, args{"size": len(whole)})

	r := l.call(t, "fs_read", args{"path": "big.txt"})
	r.wants(t, args{"first_line": 1, "last_line": 2000, "truncated": true, "next_offset": 2001, "size": len(whole), "mime_type": "text/plain; charset=utf-8"})
	has(t, r.Content[len(r.Content)-1].Text, "lines 1 to 2000 of a file of ", "the rest: fs_read with offset 2001")
	l.call(t, "fs_read", args{"path": "big.txt", "offset": 10, "limit": 2}).body(t, "line 10\nline 11\n")
	l.call(t, "fs_read", args{"path": "big.txt", "tail": 2}).body(t, "line 4999\nline 5000\n")
	l.call(t, "fs_read", args{"path": "big.txt", "offset": 3, "limit": 2, "line_numbers": true}).body(t, "     3\tline 3\n     4\tline 4\n")
	l.call(t, "fs_read", args{"path": "big.txt", "byte_offset": 5, "byte_limit": 8}).body(t, "1\nline 2")
	r = l.call(t, "fs_read", args{"path": "big.txt", "byte_limit": 5})
	r.wants(t, args{"truncated": true, "next_byte_offset": 5})
	has(t, r.text(), "the rest: fs_read with byte_offset 5")
	r = l.call(t, "fs_read", args{"path": "big.txt", "offset": 9999})
	r.body(t, "")
	has(t, r.text(), "nothing there: the file has ")

	// Slices by lines joined are the file.
	joined, offset := "", 1
	for offset > 0 {
		r := l.call(t, "fs_read", args{"path": "big.txt", "offset": offset, "limit": 777})
		joined += r.Content[0].Text
		next, _ := r.Facts["next_offset"].(float64)
		offset = int(next)
	}
	if joined != whole {
		t.Errorf("slices joined have %d bytes, the file %d", len(joined), len(whole))
	}

	l.call(t, "fs_write", args{"path": "empty", "content": ""})
	r = l.call(t, "fs_read", args{"path": "empty"})
	r.body(t, "")
	has(t, r.text(), "the file is empty")
	for _, bad := range []args{
		{"tail": 1, "offset": 1}, {"byte_offset": 1, "limit": 1}, {"encoding": "base64", "tail": 1}, {"line_numbers": true, "byte_limit": 5},
	} {
		bad["path"] = "big.txt"
		has(t, l.fails(t, "fs_read", bad), "invalid_argument: ", " not go with ", "Read by lines or by bytes.")
	}
	has(t, l.fails(t, "fs_read", args{"path": "bgi.txt"}), "not_found: read /data/bgi.txt: no such file or directory. The nearest directory that exists is /data, which has big.txt")
	has(t, l.fails(t, "fs_read", args{"path": "/etc"}), "invalid_argument: ", "List it with fs_list")
	has(t, l.fails(t, "fs_read", args{"path": "/dev/zero"}), "unsupported: ", "Only regular files")
	has(t, l.fails(t, "fs_read", args{"path": "a\x00b"}), `invalid_argument: path: got "a\x00b", takes a path without NUL`)
	if r := l.call(t, "fs_read", args{"path": "/proc/self/status"}); !strings.Contains(r.text(), "Name:") {
		t.Errorf("%s", r.raw)
	}
}

// TestOneLongLine is cut and can be read on by bytes.
func TestOneLongLine(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	whole := strings.Repeat("äbc", 40_000)
	l.call(t, "fs_write", args{"path": "long", "content": whole})
	joined, a := "", args{"path": "long"}
	for range 20 {
		r := l.call(t, "fs_read", a)
		if n := len(r.Content[0].Text); n > ResultChars {
			t.Fatalf("%d characters", n)
		}
		joined += r.Content[0].Text
		next, ok := r.Facts["next_byte_offset"].(float64)
		if !ok {
			break
		}
		has(t, r.text(), fmt.Sprintf("the rest: fs_read with byte_offset %d", int(next)))
		a = args{"path": "long", "byte_offset": int(next)}
	}
	if joined != whole {
		t.Errorf("slices joined have %d bytes, the file %d", len(joined), len(whole))
	}
}

func TestBinaryFilesAndImages(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	data := []byte("PK\x03\x04\x00\xff\xfe binary")
	l.call(t, "fs_write", args{"path": "x.zip", "content": base64.StdEncoding.EncodeToString(data), "encoding": "base64"}).wants(t, args{"size": len(data)})
	has(t, l.fails(t, "fs_read", args{"path": "x.zip"}), "unsupported: /data/x.zip is not text: application/zip, 14 bytes. Read it with encoding base64")
	l.call(t, "fs_read", args{"path": "x.zip", "encoding": "base64"}).body(t, base64.StdEncoding.EncodeToString(data))
	l.call(t, "fs_read", args{"path": "x.zip", "encoding": "base64", "byte_offset": 4, "byte_limit": 3}).body(t, base64.StdEncoding.EncodeToString(data[4:7]))
	has(t, l.fails(t, "fs_write", args{"path": "y", "content": "no base64!", "encoding": "base64"}), "invalid_argument: content: got ", "standard base64")

	small := picture(t, 4)
	l.call(t, "fs_write", args{"path": "a.bin", "content": base64.StdEncoding.EncodeToString(small), "encoding": "base64"})
	r := l.call(t, "fs_read", args{"path": "a.bin"})
	r.wants(t, args{"mime_type": "image/png", "size": len(small), "truncated": false})
	if c := r.Content[0]; c.Type != "image" || c.MimeType != "image/png" || c.Data != base64.StdEncoding.EncodeToString(small) {
		t.Errorf("%s", r.raw)
	}
	large := picture(t, 560)
	if len(large) <= imageMax {
		t.Fatalf("the picture has only %d bytes", len(large))
	}
	l.call(t, "fs_write", args{"path": "b.png", "content": base64.StdEncoding.EncodeToString(large), "encoding": "base64"})
	has(t, l.fails(t, "fs_read", args{"path": "b.png"}), "unsupported: /data/b.png is not text: image/png", "make a smaller one")
	r = l.call(t, "fs_read", args{"path": "b.png", "encoding": "base64", "byte_limit": 640_000})
	r.wants(t, args{"truncated": true, "next_byte_offset": 640_000})
	if len(r.raw) > ResultMax {
		t.Errorf("a result of %d bytes", len(r.raw))
	}
	// Text that JSON makes six times as long is cut to what fits.
	l.call(t, "exec", args{"command": `awk 'BEGIN{for(i=0;i<600000;i++) printf "<"}' > lt`})
	r = l.call(t, "fs_read", args{"path": "lt", "byte_limit": 600_000})
	if len(r.raw) > ResultMax || r.Facts["truncated"] != true || int(r.Facts["next_byte_offset"].(float64)) != len(r.Content[0].Text) {
		t.Errorf("a result of %d bytes, %v", len(r.raw), r.Facts)
	}
}

// picture is a PNG of noise.
func picture(t *testing.T, size int) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, size, size))
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range m.Pix {
		m.Pix[i] = byte(rng.Uint32())
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWriting(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	r := l.call(t, "fs_write", args{"path": "deep/er/f", "content": "one", "mode": "0751", "if_revision": ""})
	r.wants(t, args{"created": true, "size": 3})
	first := r.Facts["revision"].(string)
	has(t, r.text(), "Created /data/deep/er/f, now 3 bytes, revision "+first)
	has(t, l.fails(t, "fs_write", args{"path": "deep/er/f", "content": "x", "if_revision": ""}), "conflict: /data/deep/er/f has changed: its revision is now "+first)
	r = l.call(t, "fs_write", args{"path": "deep/er/f", "content": "two", "if_revision": first})
	r.wants(t, args{"created": false})
	second := r.Facts["revision"].(string)
	has(t, l.fails(t, "fs_write", args{"path": "deep/er/f", "content": "x", "if_revision": first}), "conflict: ", "its revision is now "+second, "Read it again")
	has(t, l.fails(t, "fs_write", args{"path": "deep/er/g", "content": "x", "if_revision": first}), "conflict: /data/deep/er/g does not exist")
	r = l.call(t, "fs_write", args{"path": "deep/er/f", "content": " three", "append": true})
	r.wants(t, args{"size": 9, "created": false})
	has(t, r.text(), "Appended to ")
	l.call(t, "fs_stat", args{"path": "deep/er/f"}).wants(t, args{"mode": "0751", "size": 9, "type": "file", "revision": r.Facts["revision"]})
	has(t, l.fails(t, "fs_write", args{"path": "big", "content": strings.Repeat("a", contentMax+1)}), "too_large: content has 2097153 bytes, at most 2097152", "append true")
	l.call(t, "fs_write", args{"path": "big", "content": strings.Repeat("a", contentMax)}).wants(t, args{"size": contentMax})
	has(t, l.fails(t, "fs_write", args{"path": "/proc/x", "content": "x"}), ": write /proc/x: ")
	has(t, l.fails(t, "fs_write", args{"path": "deep/er/f/g", "content": "x"}), "invalid_argument: ", "A part of the path is a file")
	has(t, l.fails(t, "fs_write", args{"path": "deep", "content": "x"}), "invalid_argument: ")
}

// TestOddNames are listed harmlessly, and reached by what is listed.
func TestOddNames(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "exec", args{"command": `mkdir odd; cd odd; printf a > "$(printf 'new\nline')"; printf b > "$(printf 'bad\377byte')"; printf c > "$(printf '\033[31mred')"; printf d > '"quoted"'; ln -s "$(printf 'to\nthere')" link; printf e > ' space'; printf f > 'ä'`}).wants(t, args{"exit_code": 0})
	r := l.call(t, "fs_list", args{"path": "odd"})
	r.wants(t, args{"total": 7, "truncated": false, "path": "/data/odd"})
	names := map[string]string{`"new\nline"`: "a", `"bad\xffbyte"`: "b", `"\x1b[31mred"`: "c", `"\"quoted\""`: "d", `" space"`: "e", `ä`: "f"}
	for shown, content := range names {
		has(t, r.Content[0].Text, " "+shown)
		path := "odd/" + shown
		if shown[0] == '"' {
			path = `"odd/` + shown[1:]
		}
		read := l.call(t, "fs_read", args{"path": path})
		read.body(t, content)
		again := l.call(t, "fs_read", args{"path": read.Facts["path"]})
		again.body(t, content)
	}
	has(t, r.Content[0].Text, `link -> "to\nthere"`)
	if n := strings.Count(r.Content[0].Text, "\n"); n != 6 || strings.ContainsAny(r.Content[0].Text, "\x1b") {
		t.Errorf("%q", r.Content[0].Text)
	}
	has(t, l.fails(t, "fs_read", args{"path": `"odd/\x1b[31mgreen"`}), `not_found: read "/data/odd/\x1b[31mgreen": `)
}

func TestListing(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "exec", args{"command": `mkdir many; cd many; i=0; while [ $i -lt 450 ]; do : > f$i; i=$((i+1)); done; : > .hidden; mkdir -p sub/below; : > sub/below/x; chmod 4755 f0; chmod 1777 sub`}).wants(t, args{"exit_code": 0})
	r := l.call(t, "fs_list", args{"path": "many"})
	r.wants(t, args{"total": 452, "returned": 200, "truncated": true, "next_offset": 200})
	has(t, r.text(), "entries 1 to 200 of 452 entries in /data/many; the rest: fs_list with offset 200", "-rwsr-xr-x ", " .hidden\n")
	var joined []string
	for offset := 0; ; {
		r := l.call(t, "fs_list", args{"path": "many", "offset": offset, "limit": 100, "depth": 3, "hidden": false})
		joined = append(joined, strings.Split(r.Content[0].Text, "\n")...)
		next, ok := r.Facts["next_offset"].(float64)
		if !ok {
			break
		}
		offset = int(next)
	}
	if len(joined) != 453 || !strings.HasPrefix(joined[len(joined)-3], "drwxrwxrwt ") || !strings.HasSuffix(joined[len(joined)-1], " sub/below/x") {
		t.Errorf("%d entries, the last %q", len(joined), joined[max(0, len(joined)-3):])
	}
	l.call(t, "exec", args{"command": `mkdir none`})
	has(t, l.call(t, "fs_list", args{"path": "none"}).text(), "[0 entries in /data/none]")
	l.call(t, "fs_list", "{}").wants(t, args{"path": "/data"})
	r = l.call(t, "fs_list", args{"path": "many", "limit": 2000, "depth": 64})
	if n := len(r.Content[0].Text); n > ResultChars {
		t.Errorf("%d characters", n)
	}
	has(t, l.fails(t, "fs_list", args{"path": "many/f1"}), "invalid_argument: ")
}

func TestStat(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "exec", args{"command": `ln -s /nowhere l; mkfifo p; printf '#!/bin/sh\n' > s.sh`})
	l.call(t, "fs_stat", args{"path": "l"}).wants(t, args{"type": "symlink", "link_target": "/nowhere", "path": "/data/l"})
	l.call(t, "fs_stat", args{"path": "p"}).wants(t, args{"type": "fifo"})
	l.call(t, "fs_stat", args{"path": "/"}).wants(t, args{"type": "directory", "path": "/"})
	r := l.call(t, "fs_stat", args{"path": "s.sh"})
	r.wants(t, args{"type": "file", "uid": 0, "mime_type": "text/x-shellscript", "size": 10})
	has(t, r.text(), "path: /data/s.sh\ntype: file\nsize: 10\nmode: 0644\nowner: 0:0\nmtime: 20", "revision: ")
	has(t, l.fails(t, "fs_read", args{"path": "p"}), "unsupported: ")
}
