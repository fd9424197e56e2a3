package search

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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

func benchGrep(b *testing.B, req fsbridge.GrepRequest, want int64) {
	b.Helper()
	root := sources(b, 5000, 4000)
	s := New()
	req.Path = fsbridge.Path(root)
	b.ReportAllocs()
	for b.Loop() {
		res, err := s.Grep(b.Context(), &req)
		if err != nil || res.Total < want || res.Total > want*2 {
			b.Fatal(res.Total, err)
		}
	}
}

func BenchmarkGrep5000(b *testing.B) {
	benchGrep(b, fsbridge.GrepRequest{Pattern: "needle_in_hay", Limit: 200}, 50)
}
func BenchmarkGrepFold5000(b *testing.B) {
	benchGrep(b, fsbridge.GrepRequest{Pattern: "NEEDLE_in_hay", IgnoreCase: true, Limit: 200}, 50)
}
func BenchmarkGrepRegexp5000(b *testing.B) {
	benchGrep(b, fsbridge.GrepRequest{Pattern: `the\s+\w+_in_hay\b`, Limit: 200}, 50)
}
func BenchmarkGrepNoNeedle5000(b *testing.B) {
	benchGrep(b, fsbridge.GrepRequest{Pattern: `[a-z]+_[a-z]+_[a-z]+`, Limit: 200}, 50)
}
func BenchmarkGrepAll5000(b *testing.B) {
	benchGrep(b, fsbridge.GrepRequest{Pattern: `handler|needle`, Limit: 200}, 5000*40)
}
func BenchmarkNativeGrep5000(b *testing.B) {
	runNative(b, "rg", "-n", "--hidden", "needle_in_hay", sources(b, 5000, 4000))
}
func BenchmarkNativeGrepNoNeedle5000(b *testing.B) {
	runNative(b, "rg", "-n", "--hidden", "[a-z]+_[a-z]+_[a-z]+", sources(b, 5000, 4000))
}

// BenchmarkGrepAgainstRg takes turns with rg on the same tree and reports how
// many times rg's time a grep takes.
func BenchmarkGrepAgainstRg(b *testing.B) {
	rg, err := exec.LookPath("rg")
	if err != nil {
		b.Skip(err)
	}
	root := sources(b, 5000, 4000)
	for _, pattern := range []string{"needle_in_hay", `the\s+needle\w+`, "(?i)NEEDLE_in", `[a-z]+_[a-z]+_[a-z]+`, `[a-m]+[n-z]+\s[a-z]+\W?$`, "handler"} {
		b.Run(pattern, func(b *testing.B) {
			s := New()
			var ours, theirs []time.Duration
			for b.Loop() {
				start := time.Now()
				if _, err := s.Grep(b.Context(), &fsbridge.GrepRequest{Path: fsbridge.Path(root), Pattern: pattern, Limit: 200}); err != nil {
					b.Fatal(err)
				}
				ours = append(ours, time.Since(start))
				start = time.Now()
				if out, err := exec.Command(rg, "-n", "--hidden", pattern, root).Output(); err != nil || len(out) == 0 {
					b.Fatal(err)
				}
				theirs = append(theirs, time.Since(start))
			}
			slices.Sort(ours)
			slices.Sort(theirs)
			b.ReportMetric(float64(ours[len(ours)/2].Microseconds())/1000, "ours-ms")
			b.ReportMetric(float64(theirs[len(theirs)/2].Microseconds())/1000, "rg-ms")
			b.ReportMetric(float64(ours[len(ours)/2])/float64(theirs[len(theirs)/2]), "ratio")
		})
	}
}
