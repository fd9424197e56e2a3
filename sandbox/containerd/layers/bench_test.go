package layers

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// many makes n files of 1 KiB in directories of 100.
func many(b *testing.B, dir string, from, n int, content string) {
	b.Helper()
	for i := from; i < from+n; i++ {
		d := filepath.Join(dir, fmt.Sprintf("d%d", i/100))
		os.Mkdir(d, 0o755)
		if err := os.WriteFile(filepath.Join(d, fmt.Sprintf("f%d", i)), []byte(strings.Repeat(content, 1024)), 0o644); err != nil {
			b.Fatal(err)
		}
	}
}

func changes(b *testing.B, from, to *Stack, o Options, want int) {
	b.Helper()
	n := 0
	if err := Changes(context.Background(), from, to, o, func(Change) error { n++; return nil }); err != nil || n != want {
		b.Fatalf("%d changes, %v; want %d", n, err, want)
	}
}

func BenchmarkChanges(b *testing.B) {
	base, same, other := b.TempDir(), b.TempDir(), b.TempDir()
	many(b, base, 0, 10_000, "a")
	many(b, same, 0, 10_000, "a")
	many(b, other, 0, 10_000, "b")
	empty := openStack(b, b.TempDir())
	x, y, z := openStack(b, base), openStack(b, same), openStack(b, other)
	for name, c := range map[string]struct {
		from, to *Stack
		want     int
	}{"added": {empty, x, 10_100}, "equal": {x, y, 0}, "modified": {x, z, 10_000}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				changes(b, c.from, c.to, Options{}, c.want)
			}
		})
	}
}

func BenchmarkMerge(b *testing.B) {
	var own []string
	for i := range 16 {
		dir := b.TempDir()
		many(b, dir, i*625, 625, "a")
		many(b, dir, 0, 10, "b")
		own = append(own, dir)
	}
	below := openStack(b, b.TempDir())
	for b.Loop() {
		b.StopTimer()
		dst, err := os.MkdirTemp(b.TempDir(), "")
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := Merge(context.Background(), dst, own, below); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		os.RemoveAll(dst)
		b.StartTimer()
	}
}

func BenchmarkWriteTar(b *testing.B) {
	dir := b.TempDir()
	many(b, dir, 0, 10_000, "a")
	for b.Loop() {
		if err := WriteTar(context.Background(), io.Discard, dir, TarOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
