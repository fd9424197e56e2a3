package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"moorage/cmd/moorage/daemon"
	"moorage/cmd/moorage/session"
)

// binDir holds the real binaries, built as the Makefile builds them.
var binDir string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "moorage-test-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // also run as another user
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd := exec.Command("go", "build", "-o", dir, "moorage/cmd/moorage", "moorage/cmd/moorage-agent", "moorage/cmd/moorage-shim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	binDir = dir
	return m.Run()
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it starts real containers")
	}
}

// instance is a server's pair of directories, ended and removed with the test.
type instance struct {
	t testing.TB
	daemon.Dirs
}

func newInstance(t testing.TB) instance {
	t.Helper()
	needRoot(t)
	dir, err := os.MkdirTemp("", "mt") // short: sockets' paths are bounded
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	i := instance{t, daemon.Dirs{Root: dir + "/root", Run: dir + "/run"}}
	t.Cleanup(func() {
		i.wipe()
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the directories of the test: %v", err)
		}
	})
	return i
}

// wipe deletes every container, with a server started for it if none runs, and
// ends the server.
func (i instance) wipe() {
	if _, err := os.Stat(i.Root); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := daemon.Dial(ctx, i.Socket(), daemon.Handshake{Mode: daemon.ModeAdmin})
	if err == nil {
		conn.Close()
	} else if out, err := i.command("image", "list").CombinedOutput(); err != nil {
		i.t.Errorf("start a server to clean up: %v: %s", err, out)
	}
	if _, err := daemon.Stop(ctx, i.Dirs, true); err != nil {
		i.t.Errorf("stop the server: %v", err)
	}
	if i.t.Failed() {
		log, _ := os.ReadFile(i.Log())
		i.t.Logf("the server's log:\n%s", log)
	}
}

// command is a moorage command on these directories.
func (i instance) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(binDir, "moorage"), args...)
	cmd.Env = append(os.Environ(), "MOORAGE_ROOT="+i.Root, "MOORAGE_RUN="+i.Run)
	return cmd
}

// run runs a command that must succeed and returns its output.
func (i instance) run(args ...string) string {
	i.t.Helper()
	var stderr bytes.Buffer
	cmd := i.command(args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		i.t.Fatalf("moorage %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return string(out)
}

// client is an MCP session over `moorage stdio`.
type client struct {
	*session.Session
	t   testing.TB
	cmd *exec.Cmd
}

func (i instance) client(bot string) client {
	i.t.Helper()
	cmd := i.command("stdio", "--bot", bot)
	cmd.Stderr = os.Stderr
	s, err := session.Start(cmd)
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { _ = s.Close() }) // a test may have closed or killed it
	return client{s, i.t, cmd}
}

// tool calls a tool that must succeed.
func (c client) tool(name string, args map[string]any) session.ToolResult {
	c.t.Helper()
	r, err := c.Tool(name, args)
	if err != nil {
		c.t.Fatalf("%s %v: %v", name, args, err)
	}
	return r
}

// text is the first text of a tool that must succeed.
func (c client) text(name string, args map[string]any) string {
	c.t.Helper()
	r := c.tool(name, args)
	if len(r.Content) == 0 {
		c.t.Fatalf("%s %v: no content", name, args)
	}
	return r.Content[0].Text
}

// fails calls a tool that must fail with this code.
func (c client) fails(code, name string, args map[string]any) string {
	c.t.Helper()
	r, err := c.Tool(name, args)
	if err == nil {
		c.t.Fatalf("%s %v: succeeded with %v, expected %s", name, args, r, code)
	}
	if !strings.HasPrefix(err.Error(), code+": ") {
		c.t.Fatalf("%s %v: %q, expected the code %s", name, args, err, code)
	}
	return err.Error()
}

// serverPID is the process of the running server.
func (i instance) serverPID() int {
	i.t.Helper()
	h, held, err := daemon.FindHolder(i.Root)
	if err != nil || !held {
		i.t.Fatalf("find the server: held %v, %v", held, err)
	}
	return h.PID
}

// procs are the processes whose command line has both strings.
func procs(t testing.TB, a, b string) []int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, f := range all {
		line, err := os.ReadFile(f)
		if err != nil || !strings.Contains(string(line), a) || !strings.Contains(string(line), b) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// eventually waits for a condition, at most 20 s.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited 20 s for: %s", what)
		}
	}
}
