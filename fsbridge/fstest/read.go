package fstest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"moorage/fsbridge"
)

var readCases = []testCase{
	{"Whole", readWhole},
	{"Lines", readLines},
	{"Tail", readTail},
	{"TailCut", readTailCut},
	{"Bytes", readBytes},
	{"InsideCharacter", readInsideCharacter},
	{"CutAtLine", readCutAtLine},
	{"CutInsideLine", readCutInsideLine},
	{"Binary", readBinary},
	{"Image", readImage},
	{"Head", readHead},
	{"Revision", readRevision},
	{"Missing", readMissing},
	{"Irregular", readIrregular},
	{"Invalid", readInvalid},
	{"Proc", readProc},
	{"Sys", readSys},
	{"Fetch", readFetch},
}

func revisionOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:16])
}

func readWhole(e *env) {
	before := time.Now().Add(-time.Minute)
	content := "one\ntwo\r\nthree"
	path := e.put("f", content)
	res, body := e.read(fsbridge.ReadRequest{Path: path, Text: true})
	if body != content {
		e.Errorf("got %q, want %q", body, content)
	}
	if res.ModTime.Before(before) || res.ModTime.After(time.Now().Add(time.Minute)) {
		e.Errorf("got mtime %v", res.ModTime)
	}
	res.ModTime = time.Time{}
	want := fsbridge.ReadResult{
		Path: path, Size: 14, Revision: revisionOf(content), FirstLine: 1, LastLine: 3, TotalLines: 3,
		NextByte: 14, Mode: 0o644,
	}
	if res != want {
		e.Errorf("got %+v, want %+v", res, want)
	}
	res, body = e.read(fsbridge.ReadRequest{Path: e.put("empty", ""), Text: true})
	if body != "" || res.TotalLines != 0 || res.FirstLine != 0 || res.Truncated || res.Revision != revisionOf("") {
		e.Errorf("empty file: got %q, %+v", body, res)
	}
}

func readLines(e *env) {
	path := e.put("f", "1\n2\n3\r\n\n5\n6")
	for _, c := range []struct {
		offset, limit     int64
		body              string
		first, last, next int64
		firstByte         int64
		truncated         bool
	}{
		{0, 0, "1\n2\n3\r\n\n5\n6", 1, 6, 0, 0, false},
		{1, 1, "1\n", 1, 1, 2, 0, true},
		{2, 2, "2\n3\r\n", 2, 3, 4, 2, true},
		{4, 1, "\n", 4, 4, 5, 7, true},
		{5, 1, "5\n", 5, 5, 6, 8, true},
		{6, 1, "6", 6, 6, 0, 10, false},
		{5, 100, "5\n6", 5, 6, 0, 8, false},
		{7, 1, "", 0, 0, 0, 11, false},
		{1000, 0, "", 0, 0, 0, 11, false},
	} {
		res, body := e.read(fsbridge.ReadRequest{Path: path, Offset: c.offset, Limit: c.limit, Text: true})
		if body != c.body || res.FirstLine != c.first || res.LastLine != c.last || res.NextOffset != c.next ||
			res.FirstByte != c.firstByte || res.Truncated != c.truncated || res.TotalLines != 6 {
			e.Errorf("offset %d limit %d: got %q, %+v", c.offset, c.limit, body, res)
		}
	}
}

func readTail(e *env) {
	path := e.put("f", "1\n2\n3\n4")
	for _, c := range []struct {
		tail       int64
		max        int
		body       string
		first, end int64
	}{
		{1, 0, "4", 4, 4}, {2, 0, "3\n4", 3, 4}, {4, 0, "1\n2\n3\n4", 1, 4}, {100, 0, "1\n2\n3\n4", 1, 4},
		{3, 4, "3\n4", 3, 4}, {4, 6, "2\n3\n4", 2, 4}, {4, 7, "1\n2\n3\n4", 1, 4},
	} {
		res, body := e.read(fsbridge.ReadRequest{Path: path, Tail: c.tail, MaxBytes: c.max, Text: true})
		if body != c.body || res.FirstLine != c.first || res.LastLine != c.end || res.Truncated {
			e.Errorf("tail %d of at most %d bytes: got %q, %+v", c.tail, c.max, body, res)
		}
	}
	if _, body := e.read(fsbridge.ReadRequest{Path: e.put("nl", "a\n\nb\n"), Tail: 2, Text: true}); body != "\nb\n" {
		e.Errorf("got %q", body)
	}
	if _, body := e.read(fsbridge.ReadRequest{Path: e.put("empty", ""), Tail: 2, Text: true}); body != "" {
		e.Errorf("got %q", body)
	}
	long := strings.Repeat("0123456789é", 200_000)
	res, body := e.read(fsbridge.ReadRequest{Path: e.put("long", "x\n"+long+"\nend\n"), Tail: 2, Text: true})
	if !strings.HasSuffix(body, "\nend\n") && body != "end\n" || res.NextByte != res.Size {
		e.Errorf("got %d bytes, %+v", len(body), res)
	}
	if _, body = e.read(fsbridge.ReadRequest{Path: e.put("line", long), Tail: 1, Text: true}); !strings.HasSuffix(long, body) ||
		len(body) < fsbridge.BodyMax-4 {
		e.Errorf("got %d bytes", len(body))
	}
}

// readTailCut: a tail that does not fit says so, and where the rest is.
func readTailCut(e *env) {
	path := e.put("f", "1\n2\n3\n4")
	for _, c := range []struct {
		tail int64
		max  int
		cut  bool
		prev int64
	}{{3, 5, false, 0}, {4, 7, false, 0}, {100, 7, false, 0}, {3, 4, true, 2}, {4, 4, true, 0}, {100, 6, true, 0}, {2, 1, true, 2}} {
		res, body := e.read(fsbridge.ReadRequest{Path: path, Tail: c.tail, MaxBytes: c.max})
		if c.max == 1 { // only part of what is before fits
			c.prev = 5
		}
		if res.HeadCut != c.cut || res.InLine || res.PrevByte != c.prev || !strings.HasSuffix("1\n2\n3\n4", body) {
			e.Errorf("tail %d of at most %d bytes: got %q, %+v", c.tail, c.max, body, res)
		}
	}
	line := strings.Repeat("0123456789é", 10) // 120 bytes
	path = e.put("long", "x\n"+line+"\n")
	res, body := e.read(fsbridge.ReadRequest{Path: path, Tail: 1, MaxBytes: 50, Text: true})
	if !res.HeadCut || !res.InLine || res.FirstLine != 2 || res.LastLine != 2 || !strings.HasSuffix(line+"\n", body) || len(body) < 46 {
		e.Errorf("got %q, %+v", body, res)
	}
	if res, body = e.read(fsbridge.ReadRequest{Path: path, Tail: 1, MaxBytes: 121, Text: true}); res.HeadCut || body != line+"\n" {
		e.Errorf("got %q, %+v", body, res)
	}
	if res, _ := e.read(fsbridge.ReadRequest{Path: e.put("b", "x\n"+line+"\x00\n"), Tail: 1, MaxBytes: 50, Text: true}); res.HeadCut || !res.Binary {
		e.Errorf("got %+v", res)
	}
}

func readBytes(e *env) {
	path := e.put("f", "0123456789")
	for _, c := range []struct {
		offset, limit int64
		body          string
		truncated     bool
	}{
		{0, 0, "0123456789", false}, {0, 3, "012", true}, {7, 3, "789", false}, {7, 100, "789", false},
		{9, 1, "9", false}, {10, 1, "", false}, {1 << 40, 1, "", false},
	} {
		res, body := e.read(fsbridge.ReadRequest{Path: path, Bytes: true, ByteOffset: c.offset, ByteLimit: c.limit})
		if body != c.body || res.FirstByte != c.offset || res.Truncated != c.truncated || res.FirstLine != 0 || res.NextOffset != 0 {
			e.Errorf("from %d at most %d: got %q, %+v", c.offset, c.limit, body, res)
		}
	}
	big := strings.Repeat("x", fsbridge.BodyMax+10)
	res, body := e.read(fsbridge.ReadRequest{Path: e.put("big", big), Bytes: true})
	if len(body) != fsbridge.BodyMax || !res.Truncated {
		e.Errorf("got %d bytes, %+v", len(body), res)
	}
}

func readInsideCharacter(e *env) {
	path := e.put("f", "aé€😀z") // characters at 0 1 3 6 10
	for offset, want := range map[int64]string{
		2: "1, the next at byte 3", 4: "3, the next at byte 6", 5: "3, the next at byte 6",
		7: "6, the next at byte 10", 9: "6, the next at byte 10",
	} {
		_, _, _, err := e.Client.Read(e.Context(), fsbridge.ReadRequest{Path: path, Bytes: true, ByteOffset: offset, Text: true})
		if remote := e.fails("read", err, fsbridge.ErrInvalid); !strings.Contains(remote.Message, want) {
			e.Errorf("at %d: got %q", offset, remote.Message)
		}
	}
	for _, c := range []struct {
		offset, limit int64
		body          string
	}{
		{0, 4, "aé"}, {1, 4, "é"}, {0, 5, "aé"}, {0, 6, "aé€"}, {6, 1, "😀"}, {3, 0, "€😀z"},
		{0, 1, "a"}, {0, 2, "a"}, {0, 3, "aé"}, {1, 1, "é"}, {1, 2, "é"}, {3, 2, "€"}, {6, 3, "😀"}, {10, 1, "z"},
	} {
		res, body := e.read(fsbridge.ReadRequest{Path: path, Bytes: true, ByteOffset: c.offset, ByteLimit: c.limit, Text: true})
		if body != c.body || res.NextByte != c.offset+int64(len(c.body)) {
			e.Errorf("from %d at most %d: got %q, %+v", c.offset, c.limit, body, res)
		}
	}
	for limit := int64(1); limit <= 3; limit++ {
		res, body := e.read(fsbridge.ReadRequest{Path: e.put("b", "abcdefghij"), Bytes: true, ByteLimit: limit, Text: true})
		if body != "abc"[:limit] || res.NextByte != limit || !res.Truncated {
			e.Errorf("at most %d: got %q, %+v", limit, body, res)
		}
	}
	for _, part := range []string{"\xe2\x82", "\xe2\x82x", "\xf0\x9f\x98"} {
		if res, body := e.read(fsbridge.ReadRequest{Path: e.put("b", part), Bytes: true, ByteLimit: 1, Text: true}); !res.Binary || body != "" {
			e.Errorf("%q: got %q, %+v", part, body, res)
		}
	}
	if _, body := e.read(fsbridge.ReadRequest{Path: path, Bytes: true, ByteOffset: 2, ByteLimit: 1}); body != "\xa9" {
		e.Errorf("not as text: got %q", body)
	}
}

func readCutAtLine(e *env) {
	path := e.put("f", "first\nsecond\nthird\n")
	res, body := e.read(fsbridge.ReadRequest{Path: path, MaxBytes: 15, Text: true})
	if body != "first\nsecond\n" || !res.Truncated || res.LastLine != 2 || res.NextOffset != 3 || res.NextByte != 13 {
		e.Errorf("got %q, %+v", body, res)
	}
	res, body = e.read(fsbridge.ReadRequest{Path: path, ByteOffset: res.NextByte, Text: true})
	if body != "third\n" || res.Truncated || res.FirstLine != 0 {
		e.Errorf("got %q, %+v", body, res)
	}
}

func readCutInsideLine(e *env) {
	path := e.put("f", "äöü äöü\nend\n")
	res, body := e.read(fsbridge.ReadRequest{Path: path, MaxBytes: 5, Text: true})
	if body != "äö" || !res.Truncated || res.FirstLine != 1 || res.LastLine != 1 || res.NextOffset != 0 || res.NextByte != 4 {
		e.Errorf("got %q, %+v", body, res)
	}
	res, body = e.read(fsbridge.ReadRequest{Path: path, ByteOffset: res.NextByte, Limit: 1, Text: true})
	if body != "ü äöü\n" || !res.Truncated {
		e.Errorf("got %q, %+v", body, res)
	}
}

func readBinary(e *env) {
	for _, content := range []string{"text\x00", "\xff\xfe", strings.Repeat("x", 600) + "\xc3", "\xed\xa0\x80"} {
		path := e.put("f", content)
		res, head, body, err := e.Client.Read(e.Context(), fsbridge.ReadRequest{Path: path, Text: true})
		e.must(err)
		if !res.Binary || len(body) > 0 || string(head) != content[:min(len(content), fsbridge.HeadBytes)] || res.Revision != revisionOf(content) {
			e.Errorf("%.20q: got %+v, head %q, body %q", content, res, head, body)
		}
		if res, body := e.read(fsbridge.ReadRequest{Path: path}); body != content || res.Binary {
			e.Errorf("not as text: got %q", body)
		}
	}
}

func readImage(e *env) {
	for _, magic := range []string{"\x89PNG\r\n\x1a\n", "\xff\xd8\xff\xe0", "GIF89a", "RIFF\x10\x00\x00\x00WEBPVP8 "} {
		image := magic + strings.Repeat("\x00\xff\n", 300)
		path := e.put("f", image)
		res, head, body, err := e.Client.Read(e.Context(), fsbridge.ReadRequest{Path: path, Text: true, Limit: 1, ImageMax: 1 << 20})
		e.must(err)
		if !res.Binary || string(body) != image || string(head) != image[:fsbridge.HeadBytes] || res.Truncated {
			e.Errorf("%q: got %+v, %d bytes", magic, res, len(body))
		}
		res, body2 := e.read(fsbridge.ReadRequest{Path: path, Text: true, ImageMax: 100})
		if !res.Binary || body2 != "" {
			e.Errorf("%q over the limit: got %+v, %d bytes", magic, res, len(body2))
		}
	}
	whole := "\x89PNG\r\n\x1a\n" + strings.Repeat("\x00", 1_000_000-8)
	res, body := e.read(fsbridge.ReadRequest{Path: e.put("big", whole), Text: true, ImageMax: 1_000_000})
	if body != whole || !res.Binary {
		e.Errorf("got %d bytes of 1000000, %+v", len(body), res)
	}
}

func readHead(e *env) {
	content := "#!/bin/sh\n" + strings.Repeat("line\n", 1000)
	path := e.put("f", content)
	for _, req := range []fsbridge.ReadRequest{
		{Offset: 500, Limit: 2}, {Tail: 1}, {Bytes: true, ByteOffset: 3000, ByteLimit: 5}, {Limit: 200},
	} {
		req.Path, req.Text = path, true
		_, head, body, err := e.Client.Read(e.Context(), req)
		e.must(err)
		if string(head) != content[:fsbridge.HeadBytes] || len(body) == 0 {
			e.Errorf("%+v: got head %.20q of %d bytes, body of %d", req, head, len(head), len(body))
		}
	}
}

func readRevision(e *env) {
	path := e.put("f", "old")
	old, _ := e.read(fsbridge.ReadRequest{Path: path})
	part, _ := e.read(fsbridge.ReadRequest{Path: path, Bytes: true, ByteOffset: 1})
	e.put("f", "new")
	changed, _ := e.read(fsbridge.ReadRequest{Path: path})
	if old.Revision != revisionOf("old") || part.Revision != old.Revision || changed.Revision != revisionOf("new") {
		e.Errorf("got %q, %q, then %q", old.Revision, part.Revision, changed.Revision)
	}
	path = e.path("big")
	_, err := e.Client.WriteFrom(e.Context(), fsbridge.WriteRequest{Path: path}, newPattern(fsbridge.RevisionMax+1))
	e.must(err)
	if res, _ := e.read(fsbridge.ReadRequest{Path: path, Limit: 1}); res.Revision != "" || res.TotalLines != -1 {
		e.Errorf("over RevisionMax: got %+v", res)
	}
}

func readMissing(e *env) {
	e.put("src/Server.go", "")
	e.put("src/sevrer_test.go", "")
	e.put("src/unrelated", "")
	_, _, _, err := e.Client.Read(e.Context(), fsbridge.ReadRequest{Path: e.path("src/server.go")})
	remote := e.fails("read", err, fs.ErrNotExist)
	if remote.Parent != e.path("src") || len(remote.Close) == 0 || remote.Close[0] != "Server.go" || remote.Path != e.path("src/server.go") {
		e.Errorf("got %+v", remote)
	}
	_, _, _, err = e.Client.Read(e.Context(), fsbridge.ReadRequest{Path: e.path("scr/deep/x")})
	if remote := e.fails("read", err, fs.ErrNotExist); remote.Parent != fsbridge.Path(e.Dir) || fmt.Sprint(remote.Close) != "[src]" {
		e.Errorf("got %+v", remote)
	}
	if !errorsIs(err, syscall.ENOENT) {
		e.Errorf("%v is not ENOENT", err)
	}
}

func readIrregular(e *env) {
	e.must(ignore(e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: e.path("d/f")}, nil)))
	_, _, _, err := e.Client.Read(e.Context(), fsbridge.ReadRequest{Path: e.path("d")})
	e.fails("read", err, syscall.EISDIR)
	e.sh("mkfifo fifo; ln -s fifo link")
	for _, path := range []fsbridge.Path{e.path("fifo"), e.path("link"), "/dev/zero", "/dev/null", "/dev/ptmx"} {
		_, _, _, err := e.Client.Read(e.Context(), fsbridge.ReadRequest{Path: path})
		e.fails("read", err, fsbridge.ErrIrregular)
		_, err = e.Client.ReadTo(e.Context(), path, 0, 1, &bytes.Buffer{})
		e.fails("fetch", err, fsbridge.ErrIrregular)
	}
}

func readInvalid(e *env) {
	path := e.put("f", "x")
	for _, req := range []fsbridge.ReadRequest{
		{Offset: -1}, {Limit: -1}, {Tail: -1}, {Bytes: true, ByteOffset: -1}, {Bytes: true, ByteLimit: -1}, {MaxBytes: -1},
		{ImageMax: -1}, {Tail: 1, Offset: 1}, {Tail: 1, Bytes: true}, {Tail: 1, ByteOffset: 1}, {Bytes: true, Offset: 1},
		{Bytes: true, Limit: 1}, {Offset: 2, ByteOffset: 1},
	} {
		req.Path = path
		_, _, _, err := e.Client.Read(e.Context(), req)
		e.fails("read", err, fsbridge.ErrInvalid)
	}
	_, _, _, err := e.Client.Read(e.Context(), fsbridge.ReadRequest{Path: "a\x00b"})
	if !errorsIs(err, fsbridge.ErrInvalid) || e.Client.Err() != nil {
		e.Errorf("got %v", err)
	}
	_, err = e.Client.ReadTo(e.Context(), path, -1, 1, &bytes.Buffer{})
	e.fails("fetch", err, fsbridge.ErrInvalid)
}

func readProc(e *env) {
	if _, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: "/proc/self/status"}); err != nil {
		e.Skip("no /proc")
	}
	res, body := e.read(fsbridge.ReadRequest{Path: "/proc/self/status", Text: true})
	if !strings.HasPrefix(body, "Name:") || res.Size != 0 || res.Truncated || res.TotalLines != res.LastLine {
		e.Errorf("got %.40q, %+v", body, res)
	}
	res, body = e.read(fsbridge.ReadRequest{Path: "/proc/self/status", Offset: 2, Limit: 1, Text: true})
	if !strings.HasPrefix(body, "Umask:") || !res.Truncated || res.NextOffset != 3 {
		e.Errorf("got %.40q, %+v", body, res)
	}
	if _, body = e.read(fsbridge.ReadRequest{Path: "/proc/self/status", Tail: 1, Text: true}); !strings.HasPrefix(body, "nonvoluntary") {
		e.Errorf("got %.40q", body)
	}
	if e.Root { // the first page is mapped nowhere
		for _, req := range []fsbridge.ReadRequest{{}, {Bytes: true}, {Tail: 1}} {
			req.Path, req.Text = "/proc/self/mem", true
			_, _, _, err := e.Client.Read(e.Context(), req)
			e.fails("read", err, fsbridge.ErrIrregular)
		}
		_, err := e.Client.ReadTo(e.Context(), "/proc/self/mem", 0, 1, &bytes.Buffer{})
		e.fails("fetch", err, fsbridge.ErrIrregular)
	}
	if got := e.get("/proc/self/status"); !strings.HasPrefix(got, "Name:") {
		e.Errorf("got %.40q", got)
	}
}

func readSys(e *env) {
	const path = "/sys/devices/system/cpu/online"
	if _, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: path}); err != nil {
		e.Skip("no /sys")
	}
	for _, req := range []fsbridge.ReadRequest{{}, {Tail: 1}, {Bytes: true}, {Offset: 1, Limit: 1}} {
		req.Path, req.Text = path, true
		if res, body := e.read(req); !strings.HasPrefix(body, "0") || !strings.HasSuffix(body, "\n") || res.Truncated {
			e.Errorf("%+v: got %q, %+v", req, body, res)
		}
	}
}

func readFetch(e *env) {
	path := e.put("f", "0123456789")
	for _, c := range []struct {
		offset, n int64
		want      string
	}{{0, -1, "0123456789"}, {3, 4, "3456"}, {8, 100, "89"}, {10, -1, ""}, {0, 0, ""}, {99, 1, ""}} {
		var b bytes.Buffer
		n, err := e.Client.ReadTo(e.Context(), path, c.offset, c.n, &b)
		e.must(err)
		if b.String() != c.want || n != int64(len(c.want)) {
			e.Errorf("%d bytes from %d: got %q, %d", c.n, c.offset, b.String(), n)
		}
	}
	_, err := e.Client.ReadTo(e.Context(), e.path("none"), 0, -1, &bytes.Buffer{})
	e.fails("fetch", err, fs.ErrNotExist)
	if _, err := e.Client.ReadTo(e.Context(), e.put("big", strings.Repeat("x", 4<<20)), 0, -1, brokenWriter{}); !errorsIs(err, errBroken) {
		e.Errorf("got %v, want the writer's error", err)
	}
	e.must(e.Client.Ping(e.Context()))
}
