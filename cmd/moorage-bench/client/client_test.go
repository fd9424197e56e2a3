package client

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"moorage/cmd/moorage-bench/floor"
)

// floorEnv makes the test's binary the floor's server, a real peer.
const floorEnv = "MOORAGE_BENCH_FLOOR"

func TestMain(m *testing.M) {
	if os.Getenv(floorEnv) != "" {
		if err := floor.Serve(); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func start(t *testing.T) *Client {
	t.Helper()
	t.Setenv(floorEnv, "1")
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	c, err := Start(context.WithoutCancel(t.Context()), "floor", os.Args[0]) // Close ends it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestCallReturnsTheText(t *testing.T) {
	c := start(t)
	for range 3 {
		if text, err := c.Call(floor.Tool, map[string]any{}); err != nil || text != "ok" {
			t.Fatalf("got %q, %v", text, err)
		}
	}
}

func TestManyInFlightAreAllAnswered(t *testing.T) {
	c := start(t)
	waiting := map[int64]bool{}
	for range 32 {
		id, err := c.Send(Tool(floor.Tool, map[string]any{}))
		if err != nil {
			t.Fatal(err)
		}
		waiting[id] = true
	}
	for len(waiting) > 0 {
		id, _, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if !waiting[id] {
			t.Fatalf("answer for %d, which was not asked or is answered", id)
		}
		delete(waiting, id)
	}
}

func TestToolsAreNamed(t *testing.T) {
	names, err := start(t).Tools()
	if err != nil || !slices.Equal(names, []string{floor.Tool}) {
		t.Fatalf("got %q, %v", names, err)
	}
}

// TestOneSendsWhileAnotherReceives is for the race detector.
func TestOneSendsWhileAnotherReceives(t *testing.T) {
	c := start(t)
	const calls = 100
	sent := make(chan error, 1)
	go func() {
		for range calls {
			if _, err := c.Send(Tool(floor.Tool, map[string]any{})); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for range calls {
		if _, _, err := c.Receive(); err != nil {
			t.Error(err)
			break
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// TestCommandIsAskedToEndFirst: what a command has started it can clear up.
func TestCommandIsAskedToEndFirst(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	mark := filepath.Join(t.TempDir(), "mark")
	script := `trap "echo > '` + mark + `'; exit 0" TERM; read line; echo '{"jsonrpc":"2.0","id":1,"result":{}}'; while :; do read line; done`
	c, err := Start(ctx, "shell", "/bin/sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := c.cmd.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Error(err)
	}
}

func TestRefusedCallIsAnErrorThatQuotes(t *testing.T) {
	c := start(t)
	_, err := c.Call("no_such_tool", map[string]any{})
	if !errors.Is(err, ErrAnswer) || !strings.Contains(err.Error(), "no_such_tool") {
		t.Fatalf("got %v", err)
	}
	if _, err := c.Call(floor.Tool, map[string]any{}); err != nil {
		t.Fatalf("the session did not go on: %v", err)
	}
}

func TestCommandThatEndsIsAnErrorWithWhatItSaid(t *testing.T) {
	_, err := Start(t.Context(), "broken", "/bin/sh", "-c", "echo the cause >&2; read line; exit 3")
	if err == nil || !strings.Contains(err.Error(), "the cause") || !strings.Contains(err.Error(), "exit status 3") {
		t.Fatalf("got %v", err)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var tail Tail
	if tail.String() != "nothing" {
		t.Errorf("empty: %q", tail.String())
	}
	for range 10 {
		if _, err := tail.Write([]byte(strings.Repeat("x", tailMax))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tail.Write([]byte("the end")); err != nil {
		t.Fatal(err)
	}
	if s := tail.String(); len(s) != tailMax || !strings.HasSuffix(s, "xthe end") {
		t.Errorf("%d bytes, ending %q", len(s), s[len(s)-10:])
	}
}
