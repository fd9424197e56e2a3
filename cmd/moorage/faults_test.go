package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// pidOne is the host's pid of the only container's PID 1.
func (i instance) pidOne() int {
	i.t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		i.t.Fatal(err)
	}
	for _, exe := range all {
		dir := filepath.Dir(exe)
		status, err := os.ReadFile(dir + "/status")
		if err != nil || !strings.Contains(string(status), "NSpid:") {
			continue
		}
		mounts, err := os.ReadFile(dir + "/mountinfo")
		if err != nil || !strings.Contains(string(mounts), i.Root+"/agent/") {
			continue
		}
		for line := range strings.Lines(string(status)) {
			if f := strings.Fields(line); f[0] == "NSpid:" && len(f) == 3 && f[2] == "1" {
				pid, err := strconv.Atoi(f[1])
				if err != nil {
					i.t.Fatal(err)
				}
				return pid
			}
		}
	}
	i.t.Fatal("no PID 1 of a container found")
	return 0
}

func TestServerKilledAdoptsRunningContainer(t *testing.T) {
	i := newInstance(t)
	c := i.client("ann")
	c.tool("create_container", map[string]any{"container_id": "a"})
	c.tool("fs_write", map[string]any{"path": "kept", "content": "before"})
	c.tool("exec", map[string]any{"command": "echo $$ > /tmp/pid; exec sleep 1000", "wait_seconds": 0})
	before, server := i.pidOne(), i.serverPID()
	if err := syscall.Kill(server, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server's end", func() bool { return syscall.Kill(server, 0) != nil })
	// The same client goes on: its pipe starts a new server.
	if got := c.text("fs_read", map[string]any{"path": "kept"}); got != "before" {
		t.Fatalf("after the server was killed: %q", got)
	}
	if after := i.pidOne(); after != before {
		t.Fatalf("PID 1 was %d and is %d: the container was restarted", before, after)
	}
	if i.serverPID() == server {
		t.Fatal("the server is the same")
	}
	if got := c.text("exec", map[string]any{"command": "kill -0 $(cat /tmp/pid) && echo alive"}); got != "alive\n" {
		t.Fatalf("the running command did not live on: %q", got)
	}
}

func TestServerKilledDuringCall(t *testing.T) {
	i := newInstance(t)
	c := i.client("ann")
	c.tool("create_container", nil)
	done := make(chan error, 1)
	go func() {
		_, err := c.Tool("exec", map[string]any{"command": "touch /data/begun; sleep 30"})
		done <- err
	}()
	c2 := i.client("ann")
	eventually(t, "the command's start", func() bool {
		_, err := c2.Tool("fs_stat", map[string]any{"path": "begun"})
		return err == nil
	})
	if err := syscall.Kill(i.serverPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil || !strings.HasPrefix(err.Error(), "unavailable: ") {
		t.Fatalf("the call in flight: %v", err)
	}
	c.tool("fs_stat", map[string]any{"path": "begun"})
	c2.tool("fs_stat", map[string]any{"path": "begun"})
}

func TestAgentKilled(t *testing.T) {
	i := newInstance(t)
	c := i.client("ann")
	c.tool("create_container", nil)
	c.tool("fs_write", map[string]any{"path": "/root/kept", "content": "before"})
	c.tool("fs_write", map[string]any{"path": "kept", "content": "before"})
	for range 3 {
		pid := i.pidOne()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/root/kept", "kept"} {
			if got := c.text("fs_read", map[string]any{"path": path}); got != "before" {
				t.Fatalf("%s after the agent was killed: %q", path, got)
			}
		}
		if i.pidOne() == pid {
			t.Fatal("PID 1 is the same")
		}
	}
}

func TestShimKilled(t *testing.T) {
	i := newInstance(t)
	c := i.client("ann")
	c.tool("create_container", nil)
	c.tool("fs_write", map[string]any{"path": "/root/kept", "content": "before"})
	shims := procs(t, "moorage-shim", i.Run)
	if len(shims) != 1 {
		t.Fatalf("%d shims: %v", len(shims), shims)
	}
	if err := syscall.Kill(shims[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range 20 { // while the engine notices, and after
		r, err := c.Tool("fs_read", map[string]any{"path": "/root/kept"})
		if err != nil && !strings.HasPrefix(err.Error(), "unavailable: ") {
			t.Fatalf("after the shim was killed: %v", err)
		}
		if err == nil && r.Content[0].Text != "before" {
			t.Fatalf("after the shim was killed: %q", r.Content[0].Text)
		}
	}
	eventually(t, "a call that works", func() bool {
		r, err := c.Tool("fs_read", map[string]any{"path": "/root/kept"})
		return err == nil && r.Content[0].Text == "before"
	})
}

func TestManyClientsStartOneServer(t *testing.T) {
	i := newInstance(t)
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			c := i.client("ann")
			name := fmt.Sprintf("f%d", n)
			c.tool("fs_write", map[string]any{"path": name, "content": name})
			if got := c.text("fs_read", map[string]any{"path": name}); got != name {
				t.Errorf("%s: %q", name, got)
			}
		})
	}
	wg.Wait()
	if servers := procs(t, "serve", i.Root); len(servers) != 1 {
		t.Fatalf("%d servers: %v", len(servers), servers)
	}
	c := i.client("ann")
	r := c.tool("list_containers", nil)
	if all, _ := r.Structured["containers"].([]any); len(all) != 1 {
		t.Fatalf("%d containers were made for one bot: %v", len(all), all)
	}
}

func TestSecondServerSaysWhoHoldsTheState(t *testing.T) {
	i := newInstance(t)
	i.client("ann")
	out, err := i.command("serve").CombinedOutput()
	if err == nil {
		t.Fatal("a second server ran on the same directories")
	}
	for _, want := range []string{fmt.Sprintf("pid %d", i.serverPID()), i.Socket(), i.Root, "--root"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the refusal does not name %q: %s", want, out)
		}
	}
}

func TestNotRootAndNoServer(t *testing.T) {
	i := newInstance(t)
	cmd := i.command("stdio")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatal("it succeeded")
	}
	text := strings.TrimSpace(string(out))
	if strings.Contains(text, "\n") || !strings.Contains(text, "sudo moorage serve") {
		t.Fatalf("not one line that says how to start it: %q", text)
	}
}

func TestClientGoneEndsItsCommand(t *testing.T) {
	i := newInstance(t)
	c := i.client("ann")
	c.tool("create_container", nil)
	other := i.client("ann")
	go func() { _, _ = other.Tool("exec", map[string]any{"command": "touch /data/begun; exec sleep 4321"}) }()
	eventually(t, "the command's start", func() bool {
		_, err := c.Tool("fs_stat", map[string]any{"path": "begun"})
		return err == nil
	})
	if err := other.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the command", func() bool {
		return !strings.Contains(c.text("exec", map[string]any{"command": "ps -o args"}), "sleep 4321")
	})
}

func TestIdleServerLeavesAndContainersGoOn(t *testing.T) {
	i := newInstance(t)
	t.Setenv("MOORAGE_IDLE_EXIT", "300ms")
	_, server := i.serveHTTP()
	c := i.client("ann")
	c.tool("exec", map[string]any{"command": "echo $$ > /tmp/pid; exec sleep 1000", "wait_seconds": 0})
	before := i.pidOne()
	c.tool("exec", map[string]any{"command": "sleep 1"}) // longer than the idle time, but a client is there
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err != nil {
		t.Fatalf("the idle server did not leave by itself: %v", err)
	}
	again := i.client("ann")
	if got := again.text("exec", map[string]any{"command": "kill -0 $(cat /tmp/pid) && echo alive"}); got != "alive\n" || i.pidOne() != before {
		t.Fatalf("the container did not go on: %q", got)
	}
}
