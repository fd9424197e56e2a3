package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"moorage/fsbridge"
)

// container is one that runc runs, with the agent as its PID 1.
type container struct {
	t      *testing.T
	id     string
	bundle string // config.json, rootfs, run (the socket's directory), data
	agent  string // the agent's binary
	listen *net.UnixListener
	cmd    *exec.Cmd
	exited chan struct{}
}

// limits of a container; 0 means none.
type limits struct{ memory, pids int64 }

var containers atomic.Int32

// newContainer makes a container with an empty root file system. It is removed
// with the test.
func newContainer(t *testing.T, agent string, l limits) *container {
	t.Helper()
	if _, err := exec.LookPath("runc"); err != nil || os.Getuid() != 0 {
		t.Skip("runc and root are needed")
	}
	dir, err := os.MkdirTemp("", "moorage-agent-") // short: a socket's path may have 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := &container{t: t, id: fmt.Sprintf("moorage-agent-test-%d-%d", os.Getpid(), containers.Add(1)), bundle: dir, agent: agent}
	for _, name := range []string{"rootfs", "run", "data"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), c.config(l), 0o600); err != nil {
		t.Fatal(err)
	}
	c.listen, err = net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "run", "agent.sock")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.listen.Close() })
	return c
}

// config is an OCI runtime spec.
func (c *container) config(l limits) []byte {
	type object = map[string]any
	bind := func(source, destination string, options ...string) object {
		return object{"destination": destination, "type": "bind", "source": source, "options": append(options, "bind")}
	}
	caps := []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_SETGID", "CAP_SETUID", "CAP_KILL", "CAP_MKNOD",
	}
	resources := object{}
	if l.memory > 0 {
		resources["memory"] = object{"limit": l.memory, "swap": l.memory}
	}
	if l.pids > 0 {
		resources["pids"] = object{"limit": l.pids}
	}
	spec := object{
		"ociVersion": "1.0.2",
		"process": object{
			"user": object{"uid": 0, "gid": 0}, "args": []string{"/.moorage/agent"}, "cwd": "/", "noNewPrivileges": true,
			"env":          []string{"PATH=/usr/bin:/bin", "IMAGE=test"},
			"capabilities": object{"bounding": caps, "effective": caps, "permitted": caps},
		},
		"root": object{"path": "rootfs"},
		"mounts": []object{
			{"destination": "/proc", "type": "proc", "source": "proc"},
			{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755"}},
			{"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": []string{"newinstance", "ptmxmode=0666", "mode=0620"}},
			{"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": []string{"ro"}},
			{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": []string{"ro"}},
			bind(c.agent, "/.moorage/agent", "ro"),
			bind(filepath.Join(c.bundle, "run"), "/.moorage/run", "ro"),
			bind(filepath.Join(c.bundle, "data"), "/data"),
		},
		"linux": object{
			"namespaces": []object{{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}, {"type": "cgroup"}},
			"resources":  resources,
		},
	}
	b, err := json.Marshal(spec)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// busybox puts a static busybox into the root file system.
func (c *container) busybox() {
	c.t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		c.t.Skip("no busybox")
	}
	bin := filepath.Join(c.bundle, "rootfs", "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		c.t.Fatal(err)
	}
	c.run("cp", busybox, filepath.Join(bin, "busybox"))
	list, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, name := range strings.Fields(string(list)) {
		if name != "busybox" {
			os.Symlink("busybox", filepath.Join(bin, name))
		}
	}
}

func (c *container) run(name string, args ...string) {
	c.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		c.t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}

// start runs the container until it stops or the test ends.
func (c *container) start() {
	c.t.Helper()
	c.cmd = exec.Command("runc", "--root", filepath.Join(c.bundle, "runc"), "run", "--bundle", c.bundle, c.id)
	c.cmd.Stderr = testWriter{c.t}
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	exited := make(chan struct{})
	c.exited = exited
	cmd := c.cmd
	go func() { cmd.Wait(); close(exited) }()
	c.t.Cleanup(func() {
		c.signal("KILL")
		<-exited
		exec.Command("runc", "--root", filepath.Join(c.bundle, "runc"), "delete", "--force", c.id).Run()
	})
}

// signal sends a signal to PID 1; one that has ended is no error.
func (c *container) signal(name string) {
	exec.Command("runc", "--root", filepath.Join(c.bundle, "runc"), "kill", c.id, name).Run()
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("agent: %s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// connect waits for the agent to dial.
func (c *container) connect() *fsbridge.Client {
	c.t.Helper()
	c.listen.SetDeadline(time.Now().Add(20 * time.Second))
	conn, err := c.listen.AcceptUnix()
	if err != nil {
		c.t.Fatal(err)
	}
	client, err := fsbridge.Connect(c.t.Context(), conn, fsbridge.Welcome{DataDir: "/data"})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { client.Close() })
	return client
}

// sh runs a shell line, which must be started, and returns its end and its
// output.
func sh(t *testing.T, client *fsbridge.Client, line string) (fsbridge.ExecResult, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	res, out, err := client.Exec(ctx, fsbridge.ExecRequest{Command: line, Wait: 40 * time.Second}, nil)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return res, string(out.StdoutHead) + string(out.StderrHead)
}
