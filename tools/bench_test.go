package tools

import (
	"fmt"
	"strings"
	"testing"

	"moorage/sandbox"
)

// The floor: a tool that does nothing, on the same loop.
func BenchmarkNoop(b *testing.B) {
	s := newBench(b)
	c := dial(b, s.Server, "bot")
	benchmark(b, c, callLine(1, "noop", "{}"))
}

func BenchmarkEcho4K(b *testing.B) {
	s := newBench(b)
	c := dial(b, s.Server, "bot")
	benchmark(b, c, callLine(1, "echo", args{"text": strings.Repeat("line of text\n", 315)}))
}

func BenchmarkRead4K(b *testing.B) {
	l := newLive(b, sandbox.Options{})
	l.call(b, "fs_write", args{"path": "f", "content": strings.Repeat("line of text\n", 315)})
	benchmark(b, l.testClient, callLine(1, "fs_read", args{"path": "f"}))
}

func BenchmarkWrite4K(b *testing.B) {
	l := newLive(b, sandbox.Options{})
	benchmark(b, l.testClient, callLine(1, "fs_write", args{"path": "f", "content": strings.Repeat("line of text\n", 315)}))
}

func BenchmarkExecTrue(b *testing.B) {
	l := newLive(b, sandbox.Options{})
	benchmark(b, l.testClient, callLine(1, "exec", args{"argv": []string{"true"}}))
}

func benchmark(b *testing.B, c *testClient, line string) {
	for b.Loop() {
		c.send(b, line)
		if a, err := c.r.ReadSlice('\n'); err != nil || strings.Contains(string(a[:min(len(a), 300)]), "isError") {
			b.Fatalf("%s %v", a, err)
		}
	}
}

func BenchmarkList100(b *testing.B) {
	l := newLive(b, sandbox.Options{})
	for i := range 100 {
		l.call(b, "fs_write", args{"path": fmt.Sprintf("dir/file%03d", i), "content": "x"})
	}
	benchmark(b, l.testClient, callLine(1, "fs_list", args{"path": "dir"}))
}
