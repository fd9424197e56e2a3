package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// TestEndlessOutput: commands that write for ever neither grow the agent nor keep
// others waiting.
func TestEndlessOutput(t *testing.T) {
	c := newContainer(t, program, limits{memory: 256 << 20})
	c.busybox()
	c.start()
	client := c.connect()
	var ids []string
	for _, line := range []string{"yes", "yes >&2", "yes & yes >&2; wait"} {
		res, _, err := client.Exec(t.Context(), fsbridge.ExecRequest{Command: line}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, res.ProcessID)
	}
	written := func() (n int64) {
		list, err := client.Processes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list.Processes {
			n += p.StdoutBytes + p.StderrBytes
		}
		return n
	}
	waitFor(t, func() bool { return written() > 10*fsbridge.SpoolMax })
	before, begin := c.memory(client), written()
	var slowest time.Duration
	waitFor(t, func() bool {
		start := time.Now()
		if _, err := client.Write(t.Context(), fsbridge.WriteRequest{Path: "f"}, []byte("x")); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(start))
		return written() > begin+1<<30
	})
	after := c.memory(client)
	t.Logf("1 GiB of output; the agent had %d KiB, has %d; the slowest write took %v", before, after, slowest)
	if after > before+8<<10 || slowest > 2*time.Second {
		t.Errorf("the agent had %d KiB, has %d; the slowest write took %v", before, after, slowest)
	}
	for _, id := range ids {
		req := fsbridge.FollowRequest{ProcessID: id, Signal: "KILL", Cursor: "end", Wait: fsbridge.WaitMax}
		if res, _, err := client.Follow(t.Context(), req, nil); err != nil || res.State != fsbridge.Signaled || !res.SpoolCut {
			t.Errorf("got %+v, %v", res, err)
		}
	}
}

// memory returns how many KiB the agent has of its own.
func (c *container) memory(client *fsbridge.Client) int {
	c.t.Helper()
	_, rss := sh(c.t, client, "awk '/RssAnon/ { print $2 }' /proc/1/status")
	kib, err := strconv.Atoi(strings.TrimSpace(rss))
	if err != nil {
		c.t.Fatal(err)
	}
	return kib
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

// TestPIDsLimit: at the limit of processes the agent still works, and says which
// limit it is.
func TestPIDsLimit(t *testing.T) {
	c := newContainer(t, program, limits{pids: 100})
	c.busybox()
	c.start()
	client := c.connect()
	var limit error
	for range 101 {
		req := fsbridge.ExecRequest{Argv: []string{"sleep", "1000"}, Timeout: 5 * time.Second}
		if _, _, limit = client.Exec(t.Context(), req, nil); limit != nil {
			break
		}
	}
	if !errors.Is(limit, fsbridge.ErrLimit) || !strings.Contains(limit.Error(), "pids limit of 100") {
		t.Errorf("got %v", limit)
	}
	content := bytes.Repeat([]byte("x"), 500_000)
	var wg sync.WaitGroup
	for i := range 64 {
		path := fsbridge.Path(fmt.Sprintf("f%d", i))
		wg.Go(func() {
			for range 5 {
				if _, err := client.Write(t.Context(), fsbridge.WriteRequest{Path: path}, content); err != nil {
					t.Error(err)
				}
				if n, err := client.ReadTo(t.Context(), path, 0, -1, io.Discard); n != int64(len(content)) || err != nil {
					t.Error(n, err)
				}
			}
		})
	}
	wg.Wait()
	waitFor(t, func() bool {
		res, _, err := client.Exec(t.Context(), fsbridge.ExecRequest{Argv: []string{"true"}, Wait: fsbridge.WaitMax}, nil)
		return err == nil && res.State == fsbridge.Exited
	})
}

// TestForkBomb: a command that forks for ever harms only itself, and nothing is
// left of it, whether or not it leaves its group.
func TestForkBomb(t *testing.T) {
	c := newContainer(t, program, limits{pids: 100})
	c.busybox()
	c.start()
	client := c.connect()
	// awk, unlike a shell, goes on when a fork fails.
	for _, again := range []string{"sh /data/bomb", "setsid sh /data/bomb"} {
		script := fmt.Sprintf(`exec awk 'BEGIN { while (1) system("%s &") }' 2>/dev/null`, again)
		if _, err := client.Write(t.Context(), fsbridge.WriteRequest{Path: "bomb"}, []byte(script)); err != nil {
			t.Fatal(err)
		}
		bomb(t, client, script)
		waitFor(t, func() bool {
			res, out, err := client.Exec(t.Context(), fsbridge.ExecRequest{Argv: []string{"ls", "/proc"}, Wait: fsbridge.WaitMax}, nil)
			left := 0
			for _, name := range strings.Fields(string(out.StdoutHead)) {
				if pid, err := strconv.Atoi(name); err == nil && pid > 1 && pid != res.PID {
					left++
				}
			}
			return err == nil && left == 0
		})
	}
}

// bomb runs a fork bomb until it is killed, while other calls are answered.
func bomb(t *testing.T, client *fsbridge.Client, line string) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		req := fsbridge.ExecRequest{Command: line, Timeout: 2 * time.Second, Wait: fsbridge.WaitMax}
		if res, _, err := client.Exec(t.Context(), req, nil); err != nil || res.State != fsbridge.TimedOut {
			t.Errorf("the bomb: %+v, %v", res, err)
		}
	}()
	met := false
	for going := true; going; {
		select {
		case <-done:
			going = false
		default:
		}
		if _, err := client.Write(t.Context(), fsbridge.WriteRequest{Path: "f"}, []byte("x")); err != nil {
			t.Fatal(err)
		}
		_, _, err := client.Exec(t.Context(), fsbridge.ExecRequest{Argv: []string{"true"}}, nil)
		if err != nil && (!errors.Is(err, fsbridge.ErrLimit) || !strings.Contains(err.Error(), "pids limit of 100")) {
			t.Fatal(err)
		}
		met = met || err != nil
		if _, err := client.Processes(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !met {
		t.Error("the limit was not met")
	}
}

// TestMemoryHog: it is killed, told as such, and the agent goes on.
func TestMemoryHog(t *testing.T) {
	c := newContainer(t, program, limits{memory: 64 << 20})
	c.busybox()
	c.start()
	client := c.connect()
	for _, req := range []fsbridge.ExecRequest{
		{Argv: []string{"awk", `BEGIN { s = "x"; while (1) s = s s }`}},
		{Command: `awk 'BEGIN { s = "x"; while (1) s = s s }'; exit $?`},
	} {
		req.Wait = fsbridge.WaitMax
		done := make(chan struct{})
		go func() {
			defer close(done)
			res, out, err := client.Exec(t.Context(), req, nil)
			if err != nil || !res.OOMKilled {
				t.Errorf("got %+v, %s, %v", res, out.StderrHead, err)
			}
		}()
		for hungry := true; hungry; {
			select {
			case <-done:
				hungry = false
			default:
			}
			if _, err := client.Write(t.Context(), fsbridge.WriteRequest{Path: "f"}, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if res, _ := sh(t, client, "kill -9 $$"); res.OOMKilled {
		t.Errorf("a plain kill: got %+v", res)
	}
	// The agent takes its own score back when the command has started: it may be
	// a moment late.
	const scores = `n=0; while [ $n -lt 10000 ] && [ "$(cat /proc/1/oom_score_adj)" = 500 ]; do n=$((n+1)); done
		cat /proc/self/oom_score_adj /proc/1/oom_score_adj`
	if _, out := sh(t, client, scores); !strings.HasPrefix(out, "500\n") || strings.HasSuffix(out, "500\n500\n") {
		t.Errorf("oom_score_adj of a command and of the agent: %q", out)
	}
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
