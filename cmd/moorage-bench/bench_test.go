package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"moorage/cmd/moorage-bench/bridge"
	"moorage/cmd/moorage-bench/client"
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
	tree := t.TempDir()
	f, err := startReference(t.Context(), node, t.TempDir(), tree)
	if err != nil || f == nil {
		t.Fatalf("start: %v %v", f, err)
	}
	if err := f.prepare(3); err != nil {
		t.Error(err)
	}
	// Edits go on where they ended, so a second round is no error.
	edits := calling(referenceName, f.client, f.edits)
	for range 3 {
		if err := edits.take(t.Context(), time.Millisecond, &samples{}); err != nil {
			t.Error(err)
		}
	}
	if err := grepTree.Make(t.Context(), tree); err != nil {
		t.Error(err)
	}
	s := search{tree: tree, finds: grepTree.Hits}
	if s.byName(f.client); s.failed != nil || len(s.peers) != 1 {
		t.Error(s.peers, s.failed)
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

// startBridge runs the bridge on a directory and returns what stops it.
func startBridge(t *testing.T, dir string) (*client.Client, context.CancelFunc) {
	t.Helper()
	needRoot(t)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := client.Start(ctx, "bridge", os.Args[0], bridgeArg, dir, need(t, "MOORAGE_TEST_BIN"))
	if err != nil {
		t.Fatal(err)
	}
	return c, cancel
}

// TestBridgeReadsAndLeavesNothing: neither at its end, nor when the run ends, nor
// when it is killed.
func TestBridgeReadsAndLeavesNothing(t *testing.T) {
	for name, end := range map[string]func(*client.Client, context.CancelFunc) error{
		"end":    func(c *client.Client, _ context.CancelFunc) error { return c.Close() },
		"cancel": func(c *client.Client, cancel context.CancelFunc) error { cancel(); return ignore(c.Close()) },
		"kill":   func(c *client.Client, _ context.CancelFunc) error { c.Kill(); return ignore(c.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "mb.")
			if err != nil {
				t.Fatal(err)
			}
			c, cancel := startBridge(t, dir)
			defer cancel()
			if err := os.WriteFile(filepath.Join(bridge.DataDir(dir), "f"), make([]byte, 2*bridge.SliceBytes+1), 0o644); err != nil {
				t.Error(err)
			}
			for _, way := range []string{bridge.Slices, bridge.Stream} {
				if text, err := c.Call(way, map[string]any{"path": "f"}); err != nil || text != fmt.Sprint(2*bridge.SliceBytes+1) {
					t.Errorf("%s: %s bytes, %v", way, text, err)
				}
			}
			if _, err := c.Call(bridge.Stream, map[string]any{"path": "nix"}); !errors.Is(err, client.ErrAnswer) {
				t.Errorf("missing file: %v", err)
			}
			if err := end(c, cancel); err != nil {
				t.Error(err)
			}
			if left, err := mountedBelow(dir); err != nil || left != (name == "kill") {
				t.Errorf("a container is left: %v, %v", left, err)
			}
			if err := stopLeft(filepath.Join(need(t, "MOORAGE_TEST_BIN"), "moorage"), dir); err != nil {
				t.Error(err)
			}
			if err := removeDir(dir); err != nil {
				t.Error(err)
			}
		})
	}
}

// ignore drops the error of a client that was ended from outside.
func ignore(error) error { return nil }

// TestInterruptedRunLeavesNothing ends a run while its contests are on.
func TestInterruptedRunLeavesNothing(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("", "mb.")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := options{divisor: 1, Bin: need(t, "MOORAGE_TEST_BIN")}
	contestBegins := func(string) { time.AfterFunc(100*time.Millisecond, cancel) } // it takes longer
	if _, err := measure(ctx, o, dir, contestBegins); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	if err := removeDir(dir); err != nil {
		t.Error(err)
	}
}

// TestInterruptedLoadLeavesNothing ends a run while many containers are made.
func TestInterruptedLoadLeavesNothing(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("", "mb.")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{opts: options{divisor: 1, Bin: need(t, "MOORAGE_TEST_BIN")}, dir: dir}
	if b.server, _, err = startServer(t.Context(), b.opts.moorage(), dir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // all of it takes longer
	defer cancel()
	if _, err := b.load(ctx); err == nil {
		t.Error("no error")
	}
	if err := b.stopServers(); err != nil {
		t.Error(err)
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
		if r.Who == failedName {
			if r.P50 != 0 {
				t.Errorf("row %+v", r)
			}
			continue
		}
		if r.Calls == 0 || r.P50 <= 0 || r.P95 < r.P50 {
			t.Errorf("row %+v", r)
		}
	}
	for _, who := range []string{
		moorageName, floorName, referenceName, runcExecName, runcRunName, grepName, byNameName, findName, sortName,
		slicesName, streamName, jsonName, hostName,
	} {
		if !seen[who] {
			t.Errorf("no row of %s", who)
		}
	}
}
