package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"moorage/fsbridge"
)

// start starts a command that is not waited for.
func start(t *testing.T, table *Table, req fsbridge.ExecRequest) string {
	t.Helper()
	req.Cwd = "/"
	res, _, err := table.Exec(t.Context(), &req, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res.ProcessID
}

// follow follows a process, which is there.
func follow(t *testing.T, table *Table, req fsbridge.FollowRequest) (fsbridge.FollowResult, string) {
	t.Helper()
	res, data, err := table.Follow(t.Context(), &req, nil)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(data)
}

// Reads by cursor, at any time and of any length, joined are the stream, whole
// but for what neither the spool nor the ring has; and that is told.
func TestReadsJoined(t *testing.T) {
	table := newTable(t)
	rapid.Check(t, func(t *rapid.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		c := newCapture(&Process{t: table}, r, fmt.Sprintf("%s/p-%d.out", table.o.Spool, time.Now().UnixNano()), 100)
		defer func() { c.closeSpool(); table.release(c.drop()) }()
		room := rapid.IntRange(0, 600).Draw(t, "room") // of the spool
		table.mu.Lock()
		table.spooled = spoolTotal - int64(room)
		table.mu.Unlock()
		defer func() { table.mu.Lock(); table.spooled = 0; table.mu.Unlock() }()
		var all string
		var at, lost int64
		read := func(limit int, ended bool) {
			p := c.fresh(at, limit, ended)
			if p.from < at || p.end() > int64(len(all)) || string(p.data) != all[p.from:p.end()] {
				t.Fatalf("at %d got %q from %d on; all is %q", at, p.data, p.from, all)
			}
			if p.from > max(at, int64(len(all)-ringSize)+3) && p.from > c.spooled.Load()+3 {
				t.Fatalf("at %d of %d bytes the first is %d", at, len(all), p.from)
			}
			lost += p.from - at
			at = p.end()
		}
		piece := rapid.OneOf(rapid.StringN(0, 100, -1), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 100), func(b []byte) string { return string(b) }),
			rapid.Just(strings.Repeat("0123456789é", 6000)))
		for range rapid.IntRange(0, 20).Draw(t, "pieces") {
			b := piece.Draw(t, "piece")
			c.mu.Lock()
			c.store([]byte(b))
			c.mu.Unlock()
			all += b
			if rapid.Bool().Draw(t, "read") {
				read(rapid.IntRange(4, 2000).Draw(t, "limit"), false)
			}
		}
		for n := 0; at < int64(len(all)); n++ {
			if n > len(all)+10 {
				t.Fatalf("reads do not get on from %d of %d", at, len(all))
			}
			read(rapid.IntRange(4, 100_000).Draw(t, "limit"), true)
		}
		if lost > 0 && len(all) <= ringSize {
			t.Fatalf("%d of %d bytes are lost", lost, len(all))
		}
	})
}

// What is looked for is found when it is there, however the output came in.
func TestScanner(t *testing.T) {
	table := newTable(t)
	rapid.Check(t, func(t *rapid.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		p := &Process{t: table}
		p.stdout = newCapture(p, r, fmt.Sprintf("%s/p-%d.out", table.o.Spool, time.Now().UnixNano()), 100)
		defer func() { p.stdout.closeSpool(); table.release(p.stdout.drop()); p.unlink() }()
		pattern := rapid.SampledFrom([]string{"ab+c", `a\nb`, "^ab", `c\s+a`, "(?i)BCB", `^a[^x]*\ncc`, "(?s)aa.*cc", `\A[ab]c`, "é"}).Draw(t, "pattern")
		at := rapid.IntRange(0, 5).Draw(t, "at")
		s, err := newScanner(pattern, p, cursor{out: int64(at)})
		if err != nil {
			t.Fatal(err)
		}
		all, found := "", false
		for range rapid.IntRange(0, 30).Draw(t, "pieces") {
			piece := rapid.StringOfN(rapid.SampledFrom([]rune("abc \né")), 0, 6, -1).Draw(t, "piece")
			if n := rapid.IntRange(0, len(piece)).Draw(t, "n"); n > 0 { // within a character too
				p.stdout.mu.Lock()
				p.stdout.store([]byte(piece[:n]))
				p.stdout.mu.Unlock()
				all += piece[:n]
			}
			found = found || len(all) >= at && s.look(t.Context())
			if want := len(all) > at && s.re.MatchString(all[at:]); found != want {
				t.Fatalf("%q in %q: found %v, want %v", pattern, all[min(at, len(all)):], found, want)
			}
		}
	})
}

// What a command writes that never ends is drained without growing anything,
// without an allocation a piece, and without slowing others.
func TestEndless(t *testing.T) {
	table := newTable(t)
	id := start(t, table, fsbridge.ExecRequest{Command: "yes & yes >&2"})
	res, _ := follow(t, table, fsbridge.FollowRequest{ProcessID: id})
	for res.StdoutBytes < 2*fsbridge.SpoolMax || res.StderrBytes < 2*fsbridge.SpoolMax {
		res, _ = follow(t, table, fsbridge.FollowRequest{ProcessID: id, Cursor: "end", Wait: 10 * time.Millisecond})
	}
	before := heap()
	first, _ := follow(t, table, fsbridge.FollowRequest{ProcessID: id, Cursor: "end"})
	begin := time.Now()
	res, out := follow(t, table, fsbridge.FollowRequest{ProcessID: id, WaitFor: "^no$", Wait: 500 * time.Millisecond})
	if d := time.Since(begin); res.Matched || d > 5*time.Second {
		t.Errorf("it was looked for %v: %+v", d, res)
	}
	for range 10 {
		if res := run(t, table, "echo x"); res.StdoutBytes != 2 {
			t.Errorf("got %+v", res)
		}
	}
	for res.StdoutBytes < first.StdoutBytes+500<<20 {
		res, out = follow(t, table, fsbridge.FollowRequest{ProcessID: id, Cursor: "end", Wait: 10 * time.Millisecond})
	}
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("500 MB of output take %d bytes of memory", grown)
	}
	if !res.SpoolCut || table.spooled > 2*fsbridge.SpoolMax+100 || strings.Trim(out, "y\n") != "" {
		t.Errorf("got %+v, %d bytes are spooled", res, table.spooled)
	}
	c := table.running[id].stdout
	b := make([]byte, pumpSize)
	if n := testing.AllocsPerRun(100, func() { c.mu.Lock(); c.store(b); c.mu.Unlock() }); n != 0 {
		t.Errorf("each piece takes %v allocations", n)
	}
	follow(t, table, fsbridge.FollowRequest{ProcessID: id, Signal: "KILL", Cursor: "end", Wait: fsbridge.WaitMax})
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkDrain(b *testing.B) {
	table, err := New(Options{Spool: b.TempDir(), Env: os.Environ()})
	if err != nil {
		b.Fatal(err)
	}
	defer table.Close()
	const size = 64 << 20
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		req := &fsbridge.ExecRequest{Command: fmt.Sprintf("head -c %d /dev/zero", size), Cwd: "/", Wait: fsbridge.WaitMax}
		if res, _, err := table.Exec(b.Context(), req, nil); err != nil || res.StdoutBytes != size {
			b.Fatal(res, err)
		}
	}
}

// The rings are bounded and given back.
func TestRingsAreGivenBack(t *testing.T) {
	table := newTable(t)
	table.spooled = spoolTotal
	run(t, table, "echo x; echo y >&2")
	if n := table.rings.bytes.Load(); n != 2*ringSize {
		t.Errorf("%d bytes of rings", n)
	}
	res, out := follow(t, table, fsbridge.FollowRequest{ProcessID: table.finished[0].id, Cursor: "0"})
	if out != "x\ny\n" || res.StdoutLost != 0 || res.SpoolError == "" {
		t.Errorf("got %q, %+v", out, res)
	}
	table.remove(table.all()[0])
	if n := table.rings.bytes.Load(); n != 0 {
		t.Errorf("%d bytes of rings are left", n)
	}
	table.spooled = 0
}

// Input that nobody reads is bounded in all, and given back.
func TestInputTotal(t *testing.T) {
	table := newTable(t)
	big := make([]byte, fsbridge.StdinMax)
	req := &fsbridge.ExecRequest{Argv: []string{"sleep", "1000"}, Cwd: "/"}
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		_, _, err = table.Exec(t.Context(), req, big)
	}
	if !errors.Is(err, fsbridge.ErrLimit) || !strings.Contains(err.Error(), "33554432 may wait") || n < 8 {
		t.Errorf("after %d: got %v", n, err)
	}
	open := start(t, table, fsbridge.ExecRequest{Argv: []string{"sleep", "1000"}, StdinOpen: true})
	if _, _, err = table.Follow(t.Context(), &fsbridge.FollowRequest{ProcessID: open}, big); !errors.Is(err, fsbridge.ErrLimit) {
		t.Errorf("got %v", err)
	}
	for _, p := range table.all() {
		p.kill()
		<-p.done
		table.remove(p)
	}
	if n := table.queued.Load(); n != 0 {
		t.Errorf("%d bytes wait", n)
	}
	if _, _, err := table.Exec(t.Context(), &fsbridge.ExecRequest{Argv: []string{"./none"}, Cwd: "/"}, big); err == nil || table.queued.Load() != 0 {
		t.Errorf("a command that cannot be started: %v, %d bytes wait", err, table.queued.Load())
	}
}

// The spool's files are the container's to change: what is no longer there is
// told as lost, and nothing hangs.
func TestSpoolChanged(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"removed":   os.Remove,
		"truncated": func(path string) error { return os.Truncate(path, 3) },
		"a FIFO": func(path string) error {
			return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600))
		},
		"a link": func(path string) error { return errors.Join(os.Remove(path), os.Symlink("/dev/zero", path)) },
	} {
		table := newTable(t)
		res := run(t, table, "echo 12345")
		if err := change(string(res.StdoutPath)); err != nil {
			t.Fatal(err)
		}
		got := ""
		f, out := follow(t, table, fsbridge.FollowRequest{ProcessID: res.ProcessID, Cursor: "0"})
		for got += out; f.More; got += out {
			f, out = follow(t, table, fsbridge.FollowRequest{ProcessID: res.ProcessID})
		}
		if want := map[bool]string{true: "123", false: ""}[name == "truncated"]; got != want || f.StdoutLost != int64(6-len(want)) || f.NextCursor != "6.0" {
			t.Errorf("%s: got %q, %+v", name, got, f)
		}
	}
}

// On a full disk the newest output is still there to be followed.
func TestFollowOnFullDisk(t *testing.T) {
	table := newTable(t)
	if err := unix.Mount("tmpfs", table.o.Spool, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("no mount:", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(table.o.Spool, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	res := run(t, table, "head -c 200000 /dev/zero; echo end")
	first, out := follow(t, table, fsbridge.FollowRequest{ProcessID: res.ProcessID, Cursor: "0"})
	if len(out) != 64<<10 || !first.More || first.SpoolError == "" {
		t.Errorf("got %d bytes, %+v", len(out), first)
	}
	then, out := follow(t, table, fsbridge.FollowRequest{ProcessID: res.ProcessID})
	if len(out) != ringSize || !strings.HasSuffix(out, "\x00end\n") || then.StdoutLost != 200_004-64<<10-ringSize || then.More {
		t.Errorf("got %d bytes, %+v", len(out), then)
	}
}

// A handle is readable until it is forgotten, and then unknown.
func TestHandleIsForgotten(t *testing.T) {
	table := newTable(t)
	res := run(t, table, "echo x")
	if _, out := follow(t, table, fsbridge.FollowRequest{ProcessID: res.ProcessID, Cursor: "0"}); out != "x\n" {
		t.Errorf("got %q", out)
	}
	p := table.finished[0]
	p.mu.Lock()
	p.ended = p.ended.Add(-finishedAge + time.Minute)
	p.mu.Unlock()
	table.expire()
	if len(table.List().Processes) != 1 {
		t.Error("it was forgotten before its time")
	}
	p.mu.Lock()
	p.ended = p.ended.Add(-2 * time.Minute)
	p.mu.Unlock()
	table.expire()
	_, _, err := table.Follow(t.Context(), &fsbridge.FollowRequest{ProcessID: res.ProcessID}, nil)
	if !errors.Is(err, fsbridge.ErrNoProcess) || !strings.Contains(err.Error(), "finished long ago") || table.List().Total != 0 {
		t.Errorf("got %v", err)
	}
}

// The mark of another user's process is read as that user, and the thread and the
// agent are afterwards as they were.
func TestMarkOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("root is needed")
	}
	table := newTable(t)
	id := start(t, table, fsbridge.ExecRequest{Argv: []string{"sleep", "1000"}, User: "4321:8765"})
	dir := fmt.Sprintf("/proc/%d", table.running[id].pid)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if mark := markAs(dir, 4321, 8765); mark != id {
		t.Errorf("got %q, want %q", mark, id)
	}
	if mark := markAs(dir, 4322, 8765); mark != "" {
		t.Errorf("a third user: got %q", mark)
	}
	uid, _ := unix.SetfsuidRetUid(-1) // which only tells
	gid, _ := unix.SetfsgidRetGid(-1)
	if after, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); after != before || uid != 0 || gid != 0 {
		t.Errorf("it was dumpable %d, is %d; the thread has uid %d, gid %d", before, after, uid, gid)
	}
}

// Many that are cancelled at once, each with a daemon, are all gone.
func TestKillMany(t *testing.T) {
	table := newTable(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			line := fmt.Sprintf("(setsid sh -c 'echo $$ > %s/%d; exec sleep 1000' &); sleep 1000", dir, i)
			table.Exec(ctx, &fsbridge.ExecRequest{Command: line, Cwd: "/", Wait: fsbridge.WaitMax}, nil)
		})
	}
	pids := make(map[string]bool)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); len(pids) < 30; <-tick.C {
		for i := range 30 {
			if pid, err := os.ReadFile(fmt.Sprintf("%s/%d", dir, i)); err == nil && len(pid) > 0 {
				pids[strings.TrimSpace(string(pid))] = true
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the daemons did not start")
		}
	}
	begin := time.Now()
	cancel()
	wg.Wait()
	t.Logf("all were killed after %v", time.Since(begin))
	for pid := range pids {
		stat, _ := os.ReadFile("/proc/" + pid + "/stat")
		for len(stat) > 0 && !strings.Contains(string(stat), ") Z ") {
			if time.Since(begin) > 10*time.Second {
				t.Fatalf("a daemon is left: %s", stat)
			}
			<-tick.C
			stat, _ = os.ReadFile("/proc/" + pid + "/stat")
		}
	}
}

// On a terminal a prompt is found though a shell writes escape sequences in it and
// behind it, also when they come in parts; elsewhere they are output as any other.
func TestWaitForPastEscapes(t *testing.T) {
	table := newTable(t)
	const line = `printf '\033]0;title\007\033[1;32mroot\033[0m:/ # \033[6'; sleep 0.1; printf n; exec sleep 1000`
	follows := func(terminal *fsbridge.WinSize, wait time.Duration) bool {
		id := start(t, table, fsbridge.ExecRequest{Command: line, TTY: terminal})
		res, _ := follow(t, table, fsbridge.FollowRequest{ProcessID: id, WaitFor: `^root:/ # $`, Cursor: "0", Wait: wait})
		follow(t, table, fsbridge.FollowRequest{ProcessID: id, Signal: "KILL", Wait: fsbridge.WaitMax})
		return res.Matched
	}
	if !follows(&fsbridge.WinSize{Rows: 10, Cols: 80}, fsbridge.WaitMax) {
		t.Error("on a terminal: not found")
	}
	if follows(nil, time.Second) {
		t.Error("on a pipe: found")
	}
}
