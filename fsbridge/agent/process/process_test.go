package process

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"moorage/fsbridge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTable(t *testing.T) *Table {
	t.Helper()
	table, err := New(Options{Spool: t.TempDir(), Env: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table
}

func run(t *testing.T, table *Table, line string) fsbridge.ExecResult {
	t.Helper()
	res, _, err := table.Exec(t.Context(), &fsbridge.ExecRequest{Command: line, Cwd: "/", Wait: fsbridge.WaitMax}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// settle waits until the output of every process is closed, its files too.
func settle(table *Table) {
	for _, p := range table.all() {
		for _, c := range p.captures() {
			<-c.eof
		}
	}
}

func TestFinishedAreBounded(t *testing.T) {
	table := newTable(t)
	first := run(t, table, "echo first")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range finishedMax / 8 {
				run(t, table, "echo x")
			}
		})
	}
	wg.Wait()
	table.mu.Lock()
	n, spooled := len(table.finished), table.spooled
	table.mu.Unlock()
	if n != finishedMax || spooled != 2*finishedMax {
		t.Errorf("%d processes are kept, %d bytes", n, spooled)
	}
	gone(t, first.StdoutPath)
}

// gone waits until a file is removed, which is done when the result was made.
func gone(t *testing.T, path fsbridge.Path) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
		if _, err := os.Stat(string(path)); errors.Is(err, os.ErrNotExist) {
			return
		}
	}
	t.Errorf("%s is left", path)
}

func TestOldAreForgotten(t *testing.T) {
	table := newTable(t)
	res := run(t, table, "echo x; echo y >&2")
	table.expire()
	if _, err := os.Stat(string(res.StdoutPath)); err != nil {
		t.Error(err)
	}
	p := table.finished[0]
	p.mu.Lock()
	p.ended = time.Now().Add(-finishedAge - time.Second)
	p.mu.Unlock()
	table.expire()
	for _, path := range []fsbridge.Path{res.StdoutPath, res.StderrPath} {
		if _, err := os.Stat(string(path)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if table.spooled != 0 || len(table.all()) != 0 {
		t.Errorf("%d bytes, %d processes", table.spooled, len(table.all()))
	}
}

// The spool as a whole is bounded: the oldest finished process makes room.
func TestSpoolTotal(t *testing.T) {
	table := newTable(t)
	old := run(t, table, "echo old")
	if !table.reserve(spoolTotal - 3) { // 4 bytes of old go
		t.Error("nothing made room")
	}
	if _, err := os.Stat(string(old.StdoutPath)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	res := run(t, table, "echo more than 3 bytes")
	if res.SpoolCut || res.SpoolError != errSpoolFull.Error() || res.StdoutBytes != 18 {
		t.Errorf("got %+v", res)
	}
	table.release(spoolTotal - 3)
	if res := run(t, table, "echo x"); res.SpoolCut || res.SpoolError != "" {
		t.Errorf("got %+v", res)
	}
}

// A disk that is full or takes no file is told as what it is, and the command
// goes on.
func TestSpoolError(t *testing.T) {
	table := newTable(t)
	if err := unix.Mount("tmpfs", table.o.Spool, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("no mount:", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(table.o.Spool, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	full := unix.ENOSPC.Error()
	res := run(t, table, "head -c 200000 /dev/zero; exit 3")
	if res.SpoolError != full || res.SpoolCut || *res.ExitCode != 3 || res.StdoutBytes != 200_000 || res.StdoutPath == "" {
		t.Errorf("got %+v", res)
	}
	kept, err := os.ReadFile(string(res.StdoutPath))
	if err != nil || len(kept) != 64<<10 || int64(len(kept)) != table.spooled {
		t.Errorf("%d bytes are kept, %d counted, %v", len(kept), table.spooled, err)
	}
	if res := run(t, table, "echo on stderr >&2"); res.SpoolError != full || res.SpoolCut || res.StderrHead != 10 {
		t.Errorf("stderr: got %+v", res)
	}
	if res := run(t, table, "true"); res.SpoolError != "" || res.SpoolCut {
		t.Errorf("no output: got %+v", res)
	}
	settle(table)
	table.remove(table.all()[0])
	if res := run(t, table, "echo x"); res.SpoolError != "" || res.SpoolCut {
		t.Errorf("with room again: got %+v", res)
	}
	settle(table) // the kernel refuses while a file is open for writing
	if err := unix.Mount("", table.o.Spool, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if res := run(t, table, "echo x"); res.SpoolError != unix.EROFS.Error() || res.SpoolCut || res.StdoutPath != "" || res.StdoutHead != 2 {
		t.Errorf("read-only: got %+v", res)
	}
}

// A background child of a process that is forgotten can go on writing.
func TestForgottenDaemonWrites(t *testing.T) {
	table := newTable(t)
	dir := t.TempDir()
	run(t, table, "(while [ ! -e "+dir+"/go ]; do sleep 0.01; done; echo still here && echo done > "+dir+"/wrote) &")
	table.remove(table.all()[0])
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := os.Stat(dir + "/wrote"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the daemon could not write")
		}
	}
}

func TestConnectionLost(t *testing.T) {
	table := newTable(t)
	for cause, runs := range map[error]bool{fsbridge.ErrClosed: true, fsbridge.ErrCancelled: false} {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
		_, _, err := table.Exec(ctx, &fsbridge.ExecRequest{Command: "sleep 1000", Cwd: "/", Wait: fsbridge.WaitMax}, nil)
		if err == nil {
			t.Fatal("the command has ended")
		}
		if got := len(table.all()) == 1; got != runs {
			t.Errorf("%v: the command runs: %v, want %v", cause, got, runs)
		}
		for _, p := range table.all() {
			p.kill()
			<-p.done
			table.remove(p)
		}
	}
}

func TestTerminate(t *testing.T) {
	table := newTable(t)
	for _, line := range []string{"sleep 1000", "trap '' TERM; echo ready; while :; do sleep 0.05; done"} {
		req := &fsbridge.ExecRequest{Command: line, Cwd: "/", Wait: 200 * time.Millisecond}
		if _, _, err := table.Exec(t.Context(), req, nil); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	table.Terminate(ctx)
	for _, p := range table.all() {
		<-p.done
		if want := map[string]bool{"SIGTERM": true, "SIGKILL": true}; !want[p.sig] {
			t.Errorf("a process ended by %q", p.sig)
		}
	}
}

func TestCloseTwice(t *testing.T) {
	table, err := New(Options{Spool: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	run(t, table, "sleep 1000 & echo $!; echo err >&2")
	req := &fsbridge.ExecRequest{Command: "sleep 1000", Cwd: "/"}
	if _, _, err := table.Exec(t.Context(), req, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := table.Exec(t.Context(), req, nil); err == nil {
		t.Error("a closed table starts commands")
	}
	if left, _ := os.ReadDir(table.o.Spool); len(left) > 0 {
		t.Errorf("the spool has %v", left)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"p1-abc.out", "p1-abc.err", "temps-x", "plan.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	table, err := New(Options{Spool: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	left, _ := os.ReadDir(dir)
	if len(left) != 2 {
		t.Errorf("left: %v", left)
	}
	if _, err := New(Options{Spool: dir + "/none"}); err == nil {
		t.Error("a spool that is not there is accepted")
	}
}

// No descriptor, process or file is left of a command.
func TestNothingIsLeft(t *testing.T) {
	table := newTable(t)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(entries)
	}
	run(t, table, "true")
	before := count()
	for range 30 {
		run(t, table, "echo out; echo err >&2")
		req := &fsbridge.ExecRequest{Command: "echo tty", Cwd: "/", TTY: &fsbridge.WinSize{}, Wait: fsbridge.WaitMax}
		if _, _, err := table.Exec(t.Context(), req, []byte("in\n")); err != nil {
			t.Fatal(err)
		}
		req = &fsbridge.ExecRequest{Argv: []string{"true"}, Cwd: "/", StdinOpen: true, Wait: fsbridge.WaitMax}
		if _, _, err := table.Exec(t.Context(), req, nil); err != nil {
			t.Fatal(err)
		}
		req = &fsbridge.ExecRequest{Command: strings.Repeat(" ", argMax) + "true", Cwd: "/", Wait: fsbridge.WaitMax}
		if _, _, err := table.Exec(t.Context(), req, nil); err != nil {
			t.Fatal(err)
		}
		if _, _, err := table.Exec(t.Context(), &fsbridge.ExecRequest{Argv: []string{"./none"}, Cwd: "/", StdinOpen: true}, []byte("in")); err == nil {
			t.Fatal("a command of no program was started")
		}
	}
	settle(table)
	tick := time.NewTicker(5 * time.Millisecond) // an input is closed a moment after the end
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); count() > before; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors are open, %d were", count(), before)
		}
	}
}

// The excerpt of a stream is its head and its tail, however it came in.
func TestExcerpt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.ByteRange('a', 'z'), 0, 300).Draw(t, "all")
		limit := rapid.IntRange(1, 100).Draw(t, "max")
		e := newExcerpt(limit)
		for rest := all; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			e.add(rest[:n])
			rest = rest[n:]
		}
		head, tail := e.parts()
		if len(all) <= limit {
			if !bytes.Equal(head, all) || tail != nil {
				t.Fatalf("got %q %q of %q", head, tail, all)
			}
			return
		}
		if !bytes.Equal(head, all[:limit/2]) || !bytes.Equal(tail, all[len(all)-(limit-limit/2):]) {
			t.Fatalf("got %q %q of %q, at most %d", head, tail, all, limit)
		}
	})
}

func TestUsers(t *testing.T) {
	u, err := lookup("root")
	if err != nil || u.uid != 0 || u.home == "" || u.credential() == nil {
		t.Errorf("got %+v, %v", u, err)
	}
	if u, err := lookup(""); err != nil || u.credential() != nil {
		t.Errorf("got %+v, %v", u, err)
	}
	if u, err := lookup("4242"); err != nil || u.uid != 4242 || u.gid != 0 || u.home != "/" {
		t.Errorf("got %+v, %v", u, err)
	}
	for _, spec := range []string{"no-such-user", ":", "root:no-such-group", "-1", "4294967295"} {
		if u, err := lookup(spec); !errors.Is(err, fsbridge.ErrInvalid) {
			t.Errorf("%q: got %+v, %v", spec, u, err)
		}
	}
}

func TestEnvironment(t *testing.T) {
	e := newEnvironment([]string{"A=1", "B=x=y", "A=2", "broken", "=odd", "HOME=/h"})
	got := strings.Join(e.with(&user{}, &fsbridge.ExecRequest{Env: map[string]string{"B": "3", "C": ""}}), " ")
	for _, want := range []string{"A=2", "B=3", "C=", "HOME=/h", "PATH=/usr/local/sbin"} {
		if !strings.Contains(got+" ", want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	got = strings.Join(e.with(&user{set: true, name: "u", home: "/home/u"}, &fsbridge.ExecRequest{TTY: &fsbridge.WinSize{}}), " ")
	for _, want := range []string{"HOME=/home/u", "USER=u", "TERM="} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
}

func BenchmarkExecTrue(b *testing.B) {
	table, err := New(Options{Spool: b.TempDir(), Env: os.Environ()})
	if err != nil {
		b.Fatal(err)
	}
	defer table.Close()
	req := &fsbridge.ExecRequest{Argv: []string{"/bin/true"}, Cwd: "/", Wait: fsbridge.WaitMax}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := table.Exec(b.Context(), req, nil); err != nil {
			b.Fatal(err)
		}
	}
}
