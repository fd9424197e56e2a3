package main

import (
	"strings"
	"testing"
)

func run(t *testing.T, strict bool, lines ...string) (string, bool) {
	t.Helper()
	var out strings.Builder
	r := newReport(&out)
	if err := r.read(strings.NewReader(strings.Join(lines, "\n"))); err != nil {
		t.Fatal(err)
	}
	ok := r.close(strict)
	return out.String(), ok
}

const (
	started = `{"Action":"run","Package":"p","Test":"TestA"}`
	said    = `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: because\n"}`
	okLine  = `{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}`
	ended   = `{"Action":"pass","Package":"p"}`
)

func TestPassPrintsOnlyThePackage(t *testing.T) {
	out, ok := run(t, true, started, said, `{"Action":"pass","Package":"p","Test":"TestA"}`, okLine, ended)
	if want := "ok  \tp\t0.1s\n1 passed, 0 failed, 0 skipped\n"; out != want || !ok {
		t.Fatalf("got %q, %v; want %q", out, ok, want)
	}
}

func TestSkipIsListedAndFailsWhenStrict(t *testing.T) {
	events := []string{started, said, `{"Action":"skip","Package":"p","Test":"TestA"}`, okLine, ended}
	out, ok := run(t, false, events...)
	if !ok || !strings.Contains(out, "skipped: p TestA: a_test.go:3: because\n") {
		t.Errorf("lenient: %v %q", ok, out)
	}
	out, ok = run(t, true, events...)
	if ok || !strings.HasSuffix(out, "\n0 passed, 0 failed, 1 skipped\n") {
		t.Errorf("strict: %v %q", ok, out)
	}
}

func TestFailureShowsItsOutput(t *testing.T) {
	out, ok := run(t, false, started, said, `{"Action":"fail","Package":"p","Test":"TestA"}`, `{"Action":"fail","Package":"p"}`)
	if ok || !strings.Contains(out, "a_test.go:3: because") || !strings.HasSuffix(out, "FAIL\n0 passed, 1 failed, 0 skipped\n") {
		t.Fatalf("%v %q", ok, out)
	}
}

func TestWhatNeverEndedFailed(t *testing.T) {
	out, ok := run(t, false, started, said, `{"Action":"output","Package":"p","Output":"panic: x\n"}`, `{"Action":"fail","Package":"p"}`)
	if ok || !strings.Contains(out, "failed: p TestA") || !strings.Contains(out, "panic: x") {
		t.Fatalf("%v %q", ok, out)
	}
}

func TestBuildFailureAndForeignFailureCount(t *testing.T) {
	for _, line := range []string{`{"ImportPath":"p","Action":"build-fail"}`, "FAIL go test ./...: exit status 1"} {
		if out, ok := run(t, false, line); ok || !strings.HasSuffix(out, "0 passed, 1 failed, 0 skipped\n") {
			t.Errorf("%s: %v %q", line, ok, out)
		}
	}
}

func TestPackageThatFailsWithoutATestCounts(t *testing.T) {
	line := `{"Action":"output","Package":"p","Output":"FAIL\tp [setup failed]\n"}`
	out, ok := run(t, false, line, `{"Action":"fail","Package":"p"}`, `{"Action":"fail","Package":"q"}`)
	if ok || !strings.HasPrefix(out, "FAIL\tp [setup failed]\n") || !strings.HasSuffix(out, "0 passed, 2 failed, 0 skipped\n") {
		t.Fatalf("%v %q", ok, out)
	}
}

func TestOutputIsBounded(t *testing.T) {
	line := `{"Action":"output","Package":"p","Test":"TestA","Output":"` + strings.Repeat("x", 64<<10) + `"}`
	events := []string{started}
	for range 20 {
		events = append(events, line)
	}
	out, _ := run(t, false, append(events, `{"Action":"fail","Package":"p","Test":"TestA"}`)...)
	if len(out) > maxOutput+1024 || !strings.Contains(out, "more output was cut") {
		t.Fatalf("%d bytes", len(out))
	}
}
