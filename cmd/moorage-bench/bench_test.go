package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if side := sideOf(os.Args[1:]); side != nil {
		exit(side())
	}
	goleak.VerifyTestMain(m)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containers need root")
	}
}

// need returns a directory that .ci/test names in the environment.
func need(t *testing.T, env string) string {
	t.Helper()
	dir := os.Getenv(env)
	if dir == "" {
		t.Skipf("%s is not set; run: make test", env)
	}
	return dir
}

func TestRuncRunsAndLeavesNothing(t *testing.T) {
	needRoot(t)
	r, err := newRunc(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]peer{"exec": timed("", r.exec), "run": timed("", r.runTrue)} {
		var s samples
		if err := call.take(t.Context(), 0, &s); err != nil || len(s.took) != 1 || s.took[0] <= 0 {
			t.Errorf("%s: %v %v", name, s, err)
		}
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(r.root); err != nil || len(left) > 0 {
		t.Errorf("left in %s: %v %v", r.root, left, err)
	}
}

func TestReferenceServerDoesTheFileCalls(t *testing.T) {
	node := need(t, "MOORAGE_TEST_NODE")
	f, err := startReference(t.Context(), node, t.TempDir())
	if err != nil || f == nil {
		t.Fatalf("start: %v %v", f, err)
	}
	if err := f.prepare(3); err != nil {
		t.Error(err)
	}
	if err := f.client.Close(); err != nil {
		t.Error(err)
	}
}

func TestNoNodeIsNoError(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		if f, err := startReference(t.Context(), dir, t.TempDir()); f != nil || err != nil {
			t.Errorf("node %q: %v %v", dir, f, err)
		}
	}
}

func TestServerThatDoesNotStartIsAnError(t *testing.T) {
	if _, _, err := startServer(t.Context(), "/bin/false", t.TempDir()); err == nil {
		t.Fatal("no error")
	}
}

// TestContainersOfADeadServerAreStopped kills the server under a container.
func TestContainersOfADeadServerAreStopped(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("", "mb.") // short, for sockets
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := startServer(t.Context(), filepath.Join(need(t, "MOORAGE_TEST_BIN"), "moorage"), dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.connect(t.Context(), "bench")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Call("create_container", map[string]any{}); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.ended
	if err := s.stopAll(); err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("stop: %v", err)
	}
	if err := removeDir(dir); err != nil {
		t.Error(err)
	}
}

// TestInterruptedRunLeavesNothing ends a run while its contests are on.
func TestInterruptedRunLeavesNothing(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("", "mb.")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	o := options{divisor: 1, Bin: need(t, "MOORAGE_TEST_BIN")}
	if _, err := measure(ctx, o, dir); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	if err := removeDir(dir); err != nil {
		t.Error(err)
	}
}

// TestWholeRun does all that `make bench` does, with as few rounds as there can be.
func TestWholeRun(t *testing.T) {
	needRoot(t)
	file := filepath.Join(t.TempDir(), "rows.json")
	o := options{divisor: 20, Inflight: 4, JSON: file, Bin: need(t, "MOORAGE_TEST_BIN"), Node: need(t, "MOORAGE_TEST_NODE")}
	if err := run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	if err := json.Unmarshal(b, &rows); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range rows {
		seen[r.Who] = true
		if r.Calls == 0 || r.P50 <= 0 || r.P95 < r.P50 {
			t.Errorf("row %+v", r)
		}
	}
	for _, who := range []string{moorageName, floorName, referenceName, runcExecName, runcRunName} {
		if !seen[who] {
			t.Errorf("no row of %s", who)
		}
	}
}
