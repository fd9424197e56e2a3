package agent_test

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"moorage/fsbridge"
)

func BenchmarkPing(b *testing.B) {
	c := connect(b, newAgent(b), b.TempDir())
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Ping(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead4KiB(b *testing.B) {
	dir := b.TempDir()
	c := connect(b, newAgent(b), dir)
	path := fsbridge.Path(filepath.Join(dir, "f"))
	if _, err := c.Write(b.Context(), fsbridge.WriteRequest{Path: path}, bytes.Repeat([]byte("0123456789abcde\n"), 256)); err != nil {
		b.Fatal(err)
	}
	time.Sleep(3 * time.Second) // a file that was just written has its revision computed each time
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, err := c.Read(b.Context(), fsbridge.ReadRequest{Path: path, Limit: 2000, Text: true}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrite4KiB(b *testing.B) {
	dir := b.TempDir()
	c := connect(b, newAgent(b), dir)
	content := bytes.Repeat([]byte("0123456789abcde\n"), 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(b.Context(), fsbridge.WriteRequest{Path: "f"}, content); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEdit4KiB(b *testing.B) {
	dir := b.TempDir()
	c := connect(b, newAgent(b), dir)
	content := append(bytes.Repeat([]byte("0123456789abcde\n"), 256), "here\n"...)
	if _, err := c.Write(b.Context(), fsbridge.WriteRequest{Path: "f"}, content); err != nil {
		b.Fatal(err)
	}
	edits := []fsbridge.Edit{{Old: "here\n", New: "there\n"}}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.Edit(b.Context(), fsbridge.EditRequest{Path: "f", Edits: edits}); err != nil {
			b.Fatal(err)
		}
		edits[0].Old, edits[0].New = edits[0].New, edits[0].Old
	}
}

func BenchmarkExecTrue(b *testing.B) {
	c := connect(b, newAgent(b), b.TempDir())
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.Exec(b.Context(), fsbridge.ExecRequest{Argv: []string{"true"}, Wait: fsbridge.WaitMax}, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFollow is one line to a command and its answer.
func BenchmarkFollow(b *testing.B) {
	c := connect(b, newAgent(b), b.TempDir())
	p, _, err := c.Exec(b.Context(), fsbridge.ExecRequest{Argv: []string{"cat"}, StdinOpen: true}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		req := fsbridge.FollowRequest{ProcessID: p.ProcessID, WaitFor: "^line$", Wait: fsbridge.WaitMax}
		if res, _, err := c.Follow(b.Context(), req, []byte("line\n")); err != nil || !res.Matched || res.StdoutHead != 5 {
			b.Fatal(res, err)
		}
	}
}

func BenchmarkReadTo100MB(b *testing.B) {
	dir := b.TempDir()
	c := connect(b, newAgent(b), dir)
	const size = 100 << 20
	if _, err := c.Write(b.Context(), fsbridge.WriteRequest{Path: "f"}, make([]byte, size)); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		if n, err := c.ReadTo(b.Context(), "f", 0, -1, io.Discard); n != size || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkSlices100MB(b *testing.B) {
	dir := b.TempDir()
	c := connect(b, newAgent(b), dir)
	const size = 100 << 20
	if _, err := c.Write(b.Context(), fsbridge.WriteRequest{Path: "f"}, make([]byte, size)); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		for off := int64(0); off < size; {
			res, _, _, err := c.Read(b.Context(), fsbridge.ReadRequest{Path: "f", Bytes: true, ByteOffset: off})
			if err != nil {
				b.Fatal(err)
			}
			off = res.NextByte
		}
	}
}

func BenchmarkList100(b *testing.B) {
	dir := b.TempDir()
	c := connect(b, newAgent(b), dir)
	for i := range 100 {
		if _, err := c.Write(b.Context(), fsbridge.WriteRequest{Path: fsbridge.Path(fmt.Sprintf("f%d", i))}, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.List(b.Context(), fsbridge.ListRequest{Path: "."}); err != nil {
			b.Fatal(err)
		}
	}
}
