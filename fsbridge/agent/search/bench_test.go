package search

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"moorage/fsbridge"
)

// sources makes a tree of n files of about 4 KiB of text, 50 in a directory. One
// in 100 has a needle.
func sources(tb testing.TB, n, size int) string {
	tb.Helper()
	root := tb.TempDir()
	line := "func handler(ctx context.Context, req *Request) error { return errors.New(\"x\") }\n"
	body := strings.Repeat(line, size/len(line)+1)[:size]
	for i := range n {
		dir := filepath.Join(root, fmt.Sprintf("pkg%d", i/500), fmt.Sprintf("sub%d", i/50%10))
		if i%50 == 0 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				tb.Fatal(err)
			}
		}
		content := body
		if i%100 == 0 {
			content += "the needle_in_hay is here\n"
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file%d.go", i)), []byte(content), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	return root
}

func BenchmarkGlob100000(b *testing.B) {
	root := sources(b, 100_000, 10)
	s := New()
	b.ReportAllocs()
	for b.Loop() {
		res, err := s.Glob(b.Context(), &fsbridge.GlobRequest{Path: fsbridge.Path(root), Pattern: "**/*.go", Limit: 200})
		if err != nil || res.Total != 100_000 {
			b.Fatal(res.Total, err)
		}
	}
}

// runNative runs a program that searches the same tree, for comparison.
func runNative(b *testing.B, argv ...string) {
	b.Helper()
	path, err := exec.LookPath(argv[0])
	if err != nil {
		b.Skip(err)
	}
	for b.Loop() {
		if out, err := exec.Command(path, argv[1:]...).Output(); err != nil || len(out) == 0 {
			b.Fatal(err)
		}
	}
}

func BenchmarkNativeFiles100000(b *testing.B) {
	runNative(b, "rg", "--files", "--hidden", "-g", "*.go", sources(b, 100_000, 10))
}
