package tools

import (
	"fmt"
	"strings"
	"testing"

	"moorage/fsbridge"
	"moorage/sandbox"
)

// TestReadTailIsWhole: a tail that does not fit says what was left out, and the
// call for it; joined they are what was asked for.
func TestReadTailIsWhole(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	var all strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&all, "line %d of some thirty bytes\n", i+1)
	}
	lines := strings.SplitAfter(all.String(), "\n")[:3000]
	l.call(t, "fs_write", args{"path": "f", "content": all.String()})
	for _, numbers := range []bool{false, true} {
		r := l.call(t, "fs_read", args{"path": "f", "tail": 2500, "line_numbers": numbers})
		first := int(r.Facts["first_line"].(float64))
		r.wants(t, args{"truncated": true, "last_line": 3000, "total_lines": 3000})
		want := strings.Join(lines[first-1:], "")
		if numbers {
			want = ""
			for i := first; i <= 3000; i++ {
				want += fmt.Sprintf("%6d\t%s", i, lines[i-1])
			}
		}
		r.body(t, want)
		if n := len(want); n > ResultChars || n < ResultChars-100 {
			t.Errorf("%d bytes", n)
		}
		has(t, r.text(), fmt.Sprintf("lines 501 to %d were asked for too: fs_read with offset 501 and limit %d", first-1, first-501))
	}
	r := l.call(t, "fs_read", args{"path": "f", "tail": 3, "line_numbers": true})
	r.wants(t, args{"truncated": false, "first_line": 2998})
	r.body(t, "  2998\t"+lines[2997]+"  2999\t"+lines[2998]+"  3000\t"+lines[2999])

	long := strings.Repeat("0123456789é", 5000)
	l.call(t, "fs_write", args{"path": "long", "content": "x\n" + long})
	for _, numbers := range []bool{false, true} {
		r = l.call(t, "fs_read", args{"path": "long", "tail": 1, "line_numbers": numbers})
		r.wants(t, args{"truncated": true, "first_line": 2, "last_line": 2})
		body := strings.TrimPrefix(r.Content[0].Text, "     2\t")
		if !strings.HasSuffix(long, body) || len(body) < ResultChars-50 || len(r.Content[0].Text) > ResultChars {
			t.Errorf("%d bytes", len(body))
		}
		var off, n int
		_, call, _ := strings.Cut(r.text(), "what is before it: fs_read with ")
		if _, err := fmt.Sscanf(call, "byte_offset %d and byte_limit %d", &off, &n); err != nil {
			t.Fatal(err, r.text())
		}
		before := l.call(t, "fs_read", args{"path": "long", "byte_offset": off, "byte_limit": n}).Content[0].Text
		if off != 2 || before+body != long {
			t.Errorf("from %d: %d and %d bytes are not %d", off, len(before), len(body), len(long))
		}
	}

	var got strings.Builder // forwards, numbered
	for next := any(1); next != nil; {
		r := l.call(t, "fs_read", args{"path": "f", "offset": next, "line_numbers": true})
		for line := range strings.Lines(r.Content[0].Text) {
			got.WriteString(line[7:])
		}
		next = r.Facts["next_offset"]
	}
	if got.String() != all.String() {
		t.Errorf("numbered slices join to %d bytes, want %d", got.Len(), all.Len())
	}
}

func TestReadTailUncounted(t *testing.T) {
	res := fsbridge.ReadResult{Path: "/f", Size: 1 << 30, TotalLines: -1, FirstByte: 500, NextByte: 1 << 30, HeadCut: true, PrevByte: 100}
	f := factsOfRead(res, where{}, "text/plain")
	if got := f.skipped(res, 9); !f.Truncated || got != "bytes 500 to 1073741823, the end of a file of 1073741824 bytes; the lines before: fs_read with byte_offset 100 and byte_limit 400" {
		t.Errorf("%v, %q", f.Truncated, got)
	}
}
