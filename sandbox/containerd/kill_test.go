package containerd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"golang.org/x/sys/unix"

	"moorage/sandbox"
	"moorage/sandbox/containerd/embed"
	"moorage/sandbox/sandboxtest"
)

// shimPID finds the shim: the parent of the container's PID 1.
func (f *fixture) shimPID(ref sandbox.Ref) int {
	f.t.Helper()
	return parent(f.t, f.pid(ref))
}

func parent(t testing.TB, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	ppid, err := strconv.Atoi(fields[1])
	if err != nil || ppid < 2 {
		t.Fatalf("the parent of process %d is %q", pid, fields[1])
	}
	return ppid
}

func kill(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// survives checks that a container that was hit in some way works again, with
// its files, after a Start.
func (f *fixture) survives(ref sandbox.Ref) {
	f.t.Helper()
	if err := f.Start(context.Background(), ref); err != nil {
		f.t.Fatal(err)
	}
	f.connect(ref)
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/kept", f.pid(ref))); err != nil {
		f.t.Errorf("a file of the container is lost: %v", err)
	}
}

// keep writes the file that survives looks for.
func (f *fixture) keep(ref sandbox.Ref) {
	f.t.Helper()
	if err := writeInside(f.pid(ref), "kept"); err != nil {
		f.t.Fatal(err)
	}
}

// writeInside makes a file in a container's root directory, as its owner: the
// host's root may have no id there.
func writeInside(pid int, name string) error {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	var st unix.Stat_t
	if err := unix.Fstat(root, &st); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its ids
		_, err1 := unix.SetfsgidRetGid(int(st.Gid))
		_, err2 := unix.SetfsuidRetUid(int(st.Uid))
		err := unix.Mknodat(root, name, unix.S_IFREG|0o644, 0)
		if errors.Is(err, unix.EEXIST) {
			err = nil
		}
		done <- errors.Join(err1, err2, err)
	}()
	return <-done
}

// expectEnd waits in Connect until the container is seen to have ended.
func (f *fixture) expectEnd(ref sandbox.Ref) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitFor)
	defer cancel()
	for {
		c, err := f.Connect(ctx, ref)
		if err == nil {
			c.Close() // it had dialled before
			continue
		}
		if !errors.Is(err, sandbox.ErrNotRunning) {
			f.t.Errorf("connect to one that was killed: %v", err)
		}
		return
	}
}

func TestKilledAgent(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		f.create(ref)
		f.connect(ref)
		f.keep(ref)
		kill(t, f.pid(ref))
		f.expectEnd(ref)
		f.survives(ref)
	})
}

func TestKilledShim(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		f.create(ref)
		f.connect(ref)
		f.keep(ref)
		pid := f.pid(ref)
		kill(t, f.shimPID(ref))
		f.expectEnd(ref)
		f.survives(ref)
		if f.pid(ref) == pid {
			t.Error("the old PID 1 goes on")
		}
	})
}

// A Start that comes at once, before anybody has seen the shim's end.
func TestKilledShimStartAtOnce(t *testing.T) {
	f := newFixture(t, engines[0])
	f.create(ref)
	for range 5 {
		f.keep(ref)
		kill(t, f.shimPID(ref))
		f.expectEnd(ref)
		f.survives(ref)
		kill(t, f.pid(ref))
		f.expectEnd(ref)
		f.survives(ref)
	}
}

// While no server runs, nobody sees an end; the next server does.
func TestKilledWhileNoServer(t *testing.T) {
	for _, victim := range []string{"agent", "shim", "both"} {
		t.Run(victim, func(t *testing.T) {
			needRoot(t)
			dir := sandboxtest.Dir(t)
			pid := killedServer(t, dir)
			shim := parent(t, pid)
			if victim != "agent" {
				kill(t, shim)
			}
			if victim != "shim" {
				kill(t, pid)
			}
			f := adoptFixture(t, dir)
			sandboxtest.Eventually(t, waitFor, func() bool {
				st, err := f.Status(context.Background(), ref)
				return err == nil && st.State == sandbox.StateStopped
			}, func() string { return "it is not seen to have ended" })
			f.survives(ref)
		})
	}
}

// Somebody removes the files of a task that runs, by which its shim lives.
func TestLostBundle(t *testing.T) {
	f := newFixture(t, engines[0])
	f.create(ref)
	f.keep(ref)
	key := keyOf(f.instance, ref)
	bundle := filepath.Join(f.opts.Run, "containerd/io.containerd.runtime.v2.task/moorage", key)
	entries, err := os.ReadDir(bundle)
	if err != nil || len(entries) == 0 {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, e := range entries {
		if e.Name() == "rootfs" {
			continue // it is mounted
		}
		if err := os.RemoveAll(filepath.Join(bundle, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Stop(context.Background(), ref, 0); err != nil {
		t.Error(err)
	}
	f.survives(ref)
}

// A shim that hangs is told once too often.
func TestHungShim(t *testing.T) {
	f := newFixture(t, engines[0])
	f.create(ref)
	f.keep(ref)
	if err := syscall.Kill(f.shimPID(ref), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if st, err := f.Status(context.Background(), ref); err != nil || st.State != sandbox.StateRunning {
		t.Errorf("the container runs: %v, %v", st.State, err)
	}
	if err := f.Stop(context.Background(), ref, 0); err != nil {
		t.Error(err)
	}
	f.survives(ref)
}

// runc is killed in the middle of its work: the first time it is called.
func TestKilledRunc(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		ctx := context.Background()
		f.create(ref)
		f.keep(ref)
		if err := f.Stop(ctx, ref, 0); err != nil {
			t.Fatal(err)
		}
		good := f.Runtime.opts.OCIRuntime
		for _, delay := range []string{"0.005", "0.01", "0.02", "0.03"} {
			script := filepath.Join(f.dir, "runc-"+delay)
			text := fmt.Sprintf("#!/bin/sh\nmkdir %s.once 2>/dev/null || exec %s \"$@\"\nexec timeout -s KILL %s %s \"$@\"\n", script, good, delay, good)
			if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
			f.Runtime.opts.OCIRuntime = script
			err := f.Start(ctx, ref)
			t.Logf("runc killed after %s s: %v", delay, err)
			f.Runtime.opts.OCIRuntime = good
			f.survives(ref)
			if err := f.Stop(ctx, ref, 0); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestAdoption(t *testing.T) {
	f := newFixture(t, engines[0])
	f.create(ref)
	f.connect(ref).Close()
	f.keep(ref)
	pid := f.pid(ref)
	f.restart()
	f.survives(ref)
	if f.pid(ref) != pid {
		t.Error("the container was restarted")
	}
}

// A system containerd that is restarted under a running server.
func TestContainerdRestart(t *testing.T) {
	needRoot(t)
	var system *sandboxtest.System
	f := newFixture(t, engine{"system", func(t testing.TB, dir string) (*client.Client, string, func()) {
		system = sandboxtest.StartSystem(t, dir)
		return dialSystem(t, system)
	}})
	f.create(ref)
	f.connect(ref).Close()
	f.keep(ref)
	pid := f.pid(ref)
	system.Restart(t)
	sandboxtest.Eventually(t, waitFor, func() bool {
		st, err := f.Status(context.Background(), ref)
		return err == nil && st.State == sandbox.StateRunning
	}, func() string { return "it does not run" })
	f.survives(ref)
	if f.pid(ref) != pid {
		t.Error("the container was restarted")
	}
	kill(t, pid)
	f.expectEnd(ref)
	f.survives(ref)
}

// childEnv makes the test binary a server on the directory that it names.
const childEnv = "MOORAGE_TEST_CHILD"

// killedServer starts a server with a container in a process of its own, kills
// it, and returns the host's number of the container's PID 1.
func killedServer(t *testing.T, dir string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir, "MOORAGE_TEST_BINARIES="+agentPath+":"+shimPath)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if kerr := cmd.Process.Kill(); kerr != nil {
		t.Error(kerr)
	}
	_ = cmd.Wait()
	if err != nil {
		t.Fatalf("the server said %q: %v", line, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// SIGKILL of the process that embeds containerd: its containers go on, and the
// next server finds them.
func TestKilledServer(t *testing.T) {
	needRoot(t)
	dir := sandboxtest.Dir(t)
	pid := killedServer(t, dir)
	f := adoptFixture(t, dir)
	if st, err := f.Status(context.Background(), ref); err != nil || st.State != sandbox.StateRunning {
		t.Fatalf("state %v, %v", st.State, err)
	}
	if f.pid(ref) != pid {
		t.Errorf("PID 1 was process %d, is now %d", pid, f.pid(ref))
	}
	f.survives(ref)
}

// runChild starts a container, says the host's number of its PID 1, and waits to
// be killed.
func runChild(dir string) int {
	agent, shim, _ := strings.Cut(os.Getenv("MOORAGE_TEST_BINARIES"), ":")
	ctx := context.Background()
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	e, err := embed.Start(ctx, embed.Options{Root: filepath.Join(dir, "root"), Run: filepath.Join(dir, "run"), ShimPath: shim})
	if err != nil {
		return fail(err)
	}
	r, err := New(e.Client(), Options{
		Root: filepath.Join(dir, "root"), Run: filepath.Join(dir, "run"), AgentPath: agent, RuntimeName: e.RuntimeName(),
	})
	if err != nil {
		return fail(err)
	}
	if err := r.Open(ctx); err != nil {
		return fail(err)
	}
	if os.Getenv("MOORAGE_TEST_CUT") != "" {
		if err := cutChild(r); err != nil {
			return fail(err)
		}
		return 0
	}
	if _, err := r.EnsureImage(ctx, sandbox.BaseImage, nil); err != nil {
		return fail(err)
	}
	if err := r.Create(ctx, sandbox.Spec{Ref: ref, Image: sandbox.BaseImage}); err != nil {
		return fail(err)
	}
	if err := r.Start(ctx, ref); err != nil {
		return fail(err)
	}
	task, err := r.task(r.namespaced(ctx), keyOf(r.instance, ref))
	if err != nil {
		return fail(err)
	}
	if err := writeInside(int(task.Pid()), "kept"); err != nil {
		return fail(err)
	}
	fmt.Println(task.Pid())
	select {}
}

// A shim that a killed server had just started, of which containerd knows nothing
// when it starts again, is not in the way of the next one.
func TestShimWithoutTask(t *testing.T) {
	f := newFixture(t, engines[0])
	f.create(ref)
	f.connect(ref)
	shim := f.shimPID(ref)
	f.close()
	bundle := filepath.Join(f.opts.Run, "containerd/io.containerd.runtime.v2.task", f.Runtime.opts.Namespace, keyOf(f.instance, ref))
	if err := os.Remove(filepath.Join(bundle, "shim-binary-path")); err != nil {
		t.Fatal(err)
	}
	f.open()
	if err := f.Start(context.Background(), ref); err != nil {
		t.Fatal(err)
	}
	f.connect(ref)
	if now := f.shimPID(ref); now == shim {
		t.Error("it has the shim of before")
	}
}
