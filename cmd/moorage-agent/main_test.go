package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"moorage/fsbridge"
	"moorage/fsbridge/fstest"
)

// program is the agent as it is shipped.
var program string

func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) != "" {
		os.Exit(serveOnce())
	}
	dir, err := os.MkdirTemp("", "moorage-agent-")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "agent")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	err = build.Run()
	code := 1
	if err == nil {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

func TestSize(t *testing.T) {
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() >= 4<<20 {
		t.Errorf("the agent has %d bytes, the limit is 4 MiB", info.Size())
	}
}

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		args string
		want arguments
		bad  string
	}{
		{"", arguments{socket: defaultSocket, spool: defaultSpool}, ""},
		{"--socket /s --spool /d", arguments{socket: "/s", spool: "/d"}, ""},
		{"--help", arguments{socket: defaultSocket, spool: defaultSpool, help: true}, ""},
		{"--socket", arguments{}, "needs a value"},
		{"--sock /s", arguments{}, `unknown argument "--sock"`},
	} {
		got, err := parse(strings.Fields(c.args))
		if c.bad == "" && (err != nil || got != c.want) || c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad)) {
			t.Errorf("%q: got %+v, %v", c.args, got, err)
		}
	}
	out, err := exec.Command(program, "--nonsense").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !bytes.Contains(out, []byte("usage:")) {
		t.Errorf("got %v: %s", err, out)
	}
}

// TestSuite is the suite of the operations, with the agent as PID 1.
func TestSuite(t *testing.T) {
	c := newContainer(t, program, limits{})
	c.busybox()
	c.start()
	client := c.connect()
	fstest.Run(t, func(t *testing.T) fstest.Target {
		host, err := os.MkdirTemp(filepath.Join(c.bundle, "data"), "test-")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(host, 0o755); err != nil {
			t.Fatal(err)
		}
		return fstest.Target{Client: client, Dir: "/data/" + filepath.Base(host), HostDir: host, Root: true, Shell: true}
	})
}

// TestNothingInTheImage: no shell, no user database, no /tmp, one static program.
func TestNothingInTheImage(t *testing.T) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox")
	}
	c := newContainer(t, program, limits{})
	c.run("cp", busybox, filepath.Join(c.bundle, "rootfs", "busybox"))
	c.start()
	client := c.connect()
	hello := client.Hello()
	f, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if id, err := fsbridge.BuildOf(f); err != nil || id != hello.Build || hello.PID != 1 {
		t.Errorf("hello is %+v, the program is %q, %v", hello, id, err)
	}
	for user, want := range map[string]string{"": "0\n", "1000": "1000\n", "1000:1000": "1000\n"} {
		req := fsbridge.ExecRequest{Argv: []string{"/busybox", "id", "-u"}, User: user, Wait: fsbridge.WaitMax}
		res, out, err := client.Exec(t.Context(), req, nil)
		if err != nil || string(out.StdoutHead) != want || res.StdoutPath == "" {
			t.Errorf("user %q: got %q, %+v, %v", user, out.StdoutHead, res, err)
		}
	}
	if _, _, err := client.Exec(t.Context(), fsbridge.ExecRequest{Command: "true"}, nil); !errors.Is(err, fsbridge.ErrNoShell) {
		t.Errorf("got %v", err)
	}
	if _, _, err := client.Exec(t.Context(), fsbridge.ExecRequest{Argv: []string{"/busybox"}, User: "root"}, nil); !errors.Is(err, fsbridge.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if _, err := client.Write(t.Context(), fsbridge.WriteRequest{Path: "f"}, []byte("x")); err != nil {
		t.Error(err)
	}
	_, out, err := client.Exec(t.Context(), fsbridge.ExecRequest{Argv: []string{"/busybox", "env"}, Wait: fsbridge.WaitMax}, nil)
	if err != nil || !strings.Contains(string(out.StdoutHead), "IMAGE=test\n") || !strings.Contains(string(out.StdoutHead), "HOME=/\n") {
		t.Errorf("got %q, %v", out.StdoutHead, err)
	}
	if names := c.leaks(client); len(names) > 0 {
		t.Errorf("a command has the descriptors %q", names)
	}
}

// leaks returns what a command has open besides its three streams.
func (c *container) leaks(client *fsbridge.Client) []string {
	req := fsbridge.ExecRequest{Argv: []string{"/busybox", "ls", "/proc/self/fd"}, Wait: fsbridge.WaitMax}
	_, out, err := client.Exec(c.t.Context(), req, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	names := strings.Fields(string(out.StdoutHead))
	if len(names) < 3 {
		c.t.Fatalf("got %q", names)
	}
	return names[min(4, len(names)):] // the fourth is ls's own
}

// TestUsers: names come from the image's own files.
func TestUsers(t *testing.T) {
	c := newContainer(t, program, limits{})
	c.busybox()
	for name, content := range map[string]string{
		"passwd": "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:1001::/home/app:/bin/sh\n",
		"group":  "root:x:0:\napp:x:1001:\nextra:x:2000:other,app\nalone:x:3000:\n",
	} {
		dir := filepath.Join(c.bundle, "rootfs", "etc")
		os.Mkdir(dir, 0o755)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c.start()
	client := c.connect()
	for user, want := range map[string]string{
		"":          "0 0 0 /root root",
		"root":      "0 0 0 /root root",
		"app":       "1000 1001 1001 2000 /home/app app",
		"1000":      "1000 1001 1001 2000 /home/app app",
		"app:alone": "1000 3000 3000 /home/app app",
		"app:77":    "1000 77 77 /home/app app",
		"5000":      "5000 0 0 /",
	} {
		req := fsbridge.ExecRequest{Command: "echo $(id -u) $(id -g) $(id -G) $HOME $USER", User: user, Wait: fsbridge.WaitMax}
		_, out, err := client.Exec(t.Context(), req, nil)
		if got := strings.TrimSpace(string(out.StdoutHead)); err != nil || got != want {
			t.Errorf("user %q: got %q, want %q; %v %s", user, got, want, err, out.StderrHead)
		}
	}
}

// TestMemory: an idle agent is small, also after it has worked.
func TestMemory(t *testing.T) {
	c := newContainer(t, program, limits{})
	c.busybox()
	c.start()
	client := c.connect()
	_, before := sh(t, client, "grep -E 'VmRSS|Rss[AF]|Threads' /proc/1/status")
	if _, err := client.WriteFrom(t.Context(), fsbridge.WriteRequest{Path: "f"}, io.LimitReader(zeros{}, 100<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.ReadTo(t.Context(), "f", 0, -1, io.Discard); err != nil {
		t.Fatal(err)
	}
	_, after := sh(t, client, "grep -E 'VmRSS|Rss[AF]|Threads' /proc/1/status")
	t.Logf("at first:\n%sthen:\n%s", before, after)
	if kib := c.memory(client); kib > 32<<10 {
		t.Errorf("the agent has %d KiB of its own", kib)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// TestRedial: a server that has gone and come back finds the same agent and the
// same processes.
func TestRedial(t *testing.T) {
	c := newContainer(t, program, limits{})
	c.busybox()
	c.start()
	client := c.connect()
	res, _, err := client.Exec(t.Context(), fsbridge.ExecRequest{Command: "sleep 1000"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var foreground sync.WaitGroup
	foreground.Go(func() {
		_, _, err := client.Exec(ctx, fsbridge.ExecRequest{Command: "touch /data/started; sleep 1000", Wait: fsbridge.WaitMax}, nil)
		if !errors.Is(err, fsbridge.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
	waitFor(t, func() bool {
		_, _, err := client.Stat(t.Context(), fsbridge.StatRequest{Path: "started"})
		return err == nil
	})
	client.Close()
	foreground.Wait()
	again := c.connect()
	if again.Hello() != client.Hello() {
		t.Errorf("hello was %+v, is %+v", client.Hello(), again.Hello())
	}
	if _, out := sh(t, again, "cat /proc/[0-9]*/comm | grep -c sleep; cat "+string(res.StdoutPath)); out != "2\n" {
		t.Errorf("%q processes are left of 2", out)
	}
	// The one whose answer never came has a handle too.
	list, err := again.Processes(t.Context())
	if err != nil || list.Total != 3 || !strings.HasPrefix(list.Processes[0].Command, "touch /data/started") || list.Processes[1].ProcessID != res.ProcessID {
		t.Errorf("got %+v, %v", list, err)
	}
	req := fsbridge.FollowRequest{ProcessID: list.Processes[0].ProcessID, Signal: "TERM", Wait: fsbridge.WaitMax}
	if end, _, err := again.Follow(t.Context(), req, nil); err != nil || end.Signal != "SIGTERM" {
		t.Errorf("got %+v, %v", end, err)
	}
}

func waitFor(t *testing.T, f func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("waited in vain")
		}
	}
}

// TestStop: SIGTERM ends the container at once, however many processes it has.
func TestStop(t *testing.T) {
	c := newContainer(t, program, limits{})
	c.busybox()
	c.start()
	client := c.connect()
	for _, line := range []string{"sleep 1000", "trap 'echo bye > /data/bye; exit' TERM; touch /data/ready; while :; do sleep 0.01; done", "kill -STOP $$"} {
		if _, _, err := client.Exec(t.Context(), fsbridge.ExecRequest{Command: line}, nil); err != nil {
			t.Fatal(err)
		}
	}
	req := fsbridge.ExecRequest{Argv: []string{"sh", "-i"}, TTY: &fsbridge.WinSize{}}
	if _, _, err := client.Exec(t.Context(), req, nil); err != nil {
		t.Fatal(err)
	}
	sh(t, client, "(setsid sleep 1000 &)")
	waitFor(t, func() bool {
		_, _, err := client.Stat(t.Context(), fsbridge.StatRequest{Path: "ready"})
		return err == nil
	})
	start := time.Now()
	c.signal("TERM")
	<-c.exited
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("it took %v", d)
	}
	if b, err := os.ReadFile(filepath.Join(c.bundle, "data", "bye")); err != nil || string(b) != "bye\n" {
		t.Errorf("a process was not asked to end: %q, %v", b, err)
	}
}

// TestOrphans: PID 1 reaps what others leave.
func TestOrphans(t *testing.T) {
	c := newContainer(t, program, limits{})
	c.busybox()
	c.start()
	client := c.connect()
	sh(t, client, "i=0; while [ $i -lt 200 ]; do (setsid true &); i=$((i+1)); done")
	waitFor(t, func() bool {
		_, out := sh(t, client, "cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z '")
		return strings.TrimSpace(out) == "0"
	})
}

// TestKilled: an agent that is killed in the middle of a write leaves a
// temporary file, which the next one removes; the written file is as it was.
func TestKilled(t *testing.T) {
	c := newContainer(t, program, limits{})
	c.busybox()
	c.start()
	client := c.connect()
	if _, err := client.Write(t.Context(), fsbridge.WriteRequest{Path: "dir/f"}, []byte("old")); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(c.bundle, "data", "dir", ".moorage-tmp-0123456789abcdef-1")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	temps := func() int {
		found, _ := filepath.Glob(filepath.Join(c.bundle, "data", "dir", ".moorage-tmp-*"))
		return len(found)
	}
	r, w := io.Pipe()
	var upload sync.WaitGroup
	upload.Go(func() {
		if _, err := client.WriteFrom(t.Context(), fsbridge.WriteRequest{Path: "dir/f"}, r); err == nil {
			t.Error("the write was carried out")
		}
	})
	w.Write(make([]byte, 200_000))
	waitFor(t, func() bool { return temps() == 2 })
	c.signal("KILL")
	<-c.exited
	w.Close()
	upload.Wait()
	if temps() != 2 {
		t.Fatal("the agent was not killed in the middle of a write")
	}
	c.run("runc", "--root", filepath.Join(c.bundle, "runc"), "delete", "--force", c.id)
	c.start()
	client = c.connect()
	waitFor(t, func() bool { return temps() == 1 })
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("another agent's temporary file: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(c.bundle, "data", "dir", "f")); err != nil || string(b) != "old" {
		t.Errorf("got %q, %v", b, err)
	}
	if entries, err := os.ReadDir(filepath.Join(c.bundle, "rootfs", ".moorage", "spool")); err != nil || len(entries) > 1 {
		t.Errorf("the spool has %v, %v", entries, err)
	}
}
