package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"moorage/tools"
)

// eachPair runs a test over each of what a client and `moorage stdio` talk over.
func eachPair(t *testing.T, test func(t *testing.T, i instance, pair string)) {
	for pair := range pairs {
		t.Run(pair, func(t *testing.T) { test(t, newInstance(t), pair) })
	}
}

// handed says whether a pair is handed over. These tests may run with
// MOORAGE_COPY, so that nothing is.
func handed(pair string) bool { return pair != "named pipes" && os.Getenv("MOORAGE_COPY") == "" }

// kill kills the server, which may just have been started, and returns when it is
// gone.
func (i instance) kill(t *testing.T) {
	t.Helper()
	var pids []int
	eventually(t, "a server", func() bool {
		pids = procs(t, "serve", i.Root)
		return len(pids) > 0 && syscall.Kill(pids[0], syscall.SIGKILL) == nil
	})
	eventually(t, "the server's end", func() bool { return syscall.Kill(pids[0], 0) != nil })
}

func TestServerHoldsPipesOfItsClients(t *testing.T) {
	i := newInstance(t)
	w := i.wire(t, "pipes")
	for _, f := range []*os.File{w.in, w.out} {
		if got := holds(t, i.serverPID(), f); got != handed("pipes") {
			t.Errorf("the server has %s: %v", f.Name(), got)
		}
	}
	named := i.wire(t, "named pipes")
	t.Setenv("MOORAGE_COPY", "true")
	copied := i.wire(t, "pipes")
	for _, f := range []*os.File{named.in, named.out, copied.in, copied.out} {
		if holds(t, i.serverPID(), f) {
			t.Errorf("the server has %s, which is not handed over", f.Name())
		}
	}
}

func TestKilledServerLeavesClientAsItWas(t *testing.T) {
	eachPair(t, func(t *testing.T, i instance, pair string) {
		w := i.wire(t, pair)
		before := flags(t, w.cmd.Process.Pid, 0) + flags(t, w.cmd.Process.Pid, 1)
		w.works(1, "fs_write", map[string]any{"path": "kept", "content": "before"})
		for n := range 3 {
			i.kill(t)
			if got := w.works(fmt.Sprint(n), "fs_read", map[string]any{"path": "kept"}); got != "before" {
				t.Fatalf("after the server was killed: %q", got)
			}
			if after := flags(t, w.cmd.Process.Pid, 0) + flags(t, w.cmd.Process.Pid, 1); after != before {
				t.Errorf("the descriptors' flags were %s and are %s", before, after)
			}
		}
		want := 0
		if handed(pair) {
			want = 1
		}
		for _, pid := range []int{w.cmd.Process.Pid, i.serverPID()} {
			if n := journals(t, pid); n != want {
				t.Errorf("process %d maps %d journals, expected %d", pid, n, want)
			}
		}
		if code := w.end(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		eventually(t, "the server's giving up the journal", func() bool { return journals(t, i.serverPID()) == 0 })
	})
}

// journals counts those that a process maps.
func journals(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("moorage-journal"))
}

func TestCallInFlightIsAnsweredWhenServerIsKilled(t *testing.T) {
	eachPair(t, func(t *testing.T, i instance, pair string) {
		w := i.wire(t, pair)
		w.works(1, "create_container", nil)
		w.say(toolCall("long", "exec", map[string]any{"command": "touch /data/begun; sleep 30"}))
		eventually(t, "the command's start", func() bool {
			_, err := os.Stat(filepath.Join(i.Root, "data/bots/ann/begun"))
			return err == nil
		})
		i.kill(t)
		if a := w.next(); string(a.ID) != `"long"` || !a.Result.IsError || !strings.HasPrefix(a.text(), "unavailable: ") {
			t.Fatalf("the call in flight: %+v", a)
		}
		w.works(2, "fs_stat", map[string]any{"path": "begun"})
	})
}

// bigAnswer is more than pipes and sockets hold.
const bigAnswer = 500_000

func TestServerKilledWhileItWritesToASlowReader(t *testing.T) {
	eachPair(t, func(t *testing.T, i instance, pair string) {
		w := i.wire(t, pair)
		w.works(1, "exec", map[string]any{"command": "yes | head -c 1000000 > big"})
		for n := range 3 {
			w.say(toolCall(fmt.Sprint("big", n), "fs_read", map[string]any{"path": "big", "byte_offset": 0, "byte_limit": 600000}))
		}
		if _, err := w.r.Peek(1); err != nil { // the answer has begun, and has no room
			t.Fatal(err)
		}
		i.kill(t)
		got := map[string]int{}
		bad := 0
		for len(got) < 3 {
			a := w.next()
			if a.bad {
				bad++
				continue
			}
			if !strings.HasPrefix(a.text(), "unavailable: ") && len(a.text()) < bigAnswer {
				t.Fatalf("%s: %.100s", a.ID, a.text())
			}
			got[string(a.ID)]++
		}
		if bad > 1 {
			t.Errorf("%d broken lines", bad)
		}
		if pair == "pipes" && handed(pair) && bad == 0 {
			t.Error("no line was broken: the test tests nothing")
		}
		if text := w.works(2, "fs_read", map[string]any{"path": "big", "byte_offset": 0, "byte_limit": 600000}); len(text) < bigAnswer {
			t.Errorf("afterwards it has %d bytes", len(text))
		}
	})
}

func TestServerKilledWhileItReadsABigRequest(t *testing.T) {
	eachPair(t, func(t *testing.T, i instance, pair string) {
		w := i.wire(t, pair)
		w.works(1, "create_container", nil)
		line := toolCall("big", "fs_write", map[string]any{"path": "big", "content": strings.Repeat("x", 2_000_000)}) + "\n"
		half := len(line) / 2
		if _, err := io.WriteString(w.in, line[:half]); err != nil {
			t.Fatal(err)
		}
		i.kill(t)
		if _, err := io.WriteString(w.in, line[half:]); err != nil {
			t.Fatal(err)
		}
		if a := w.next(); string(a.ID) != `"big"` || a.Result == nil || a.Result.IsError {
			t.Fatalf("%s: %s", a.ID, a.text())
		}
		if info, err := os.Stat(filepath.Join(i.Root, "data/bots/ann/big")); err != nil || info.Size() != 2_000_000 {
			t.Errorf("%v, %v", info, err)
		}
	})
}

// TestServerKilledWithManyRequests: each is answered, none is carried out twice,
// and those that were not begun are carried out by the next server.
func TestServerKilledWithManyRequests(t *testing.T) {
	eachPair(t, func(t *testing.T, i instance, pair string) {
		const each = 400
		clients := []*wire{i.wire(t, pair), i.wire(t, pair)}
		clients[0].works("make", "create_container", nil)
		var answered atomic.Int32
		done := make(chan map[string][]answer, len(clients))
		for k, w := range clients {
			go func() {
				for n := range each {
					id := fmt.Sprintf("%d-%d", k, n)
					io.WriteString(w.in, toolCall(id, "exec", map[string]any{"command": "echo " + id + " >> /data/log"})+"\n")
				}
			}()
			go func() {
				answers := map[string][]answer{}
				for len(answers) < each {
					a, err := w.line()
					if err != nil {
						t.Errorf("after %d answers: %v", len(answers), err)
						break
					}
					if !a.bad {
						answers[string(a.ID)] = append(answers[string(a.ID)], a)
						answered.Store(int32(len(answers)))
					}
				}
				done <- answers
			}()
		}
		log := filepath.Join(i.Root, "data/bots/ann/log")
		for _, n := range []int{10, 100, 200} {
			eventually(t, fmt.Sprintf("%d commands, or the end", n), func() bool {
				b, _ := os.ReadFile(log) // not there at first
				return len(procs(t, "serve", i.Root)) > 0 && bytes.Count(b, []byte("\n")) >= n || answered.Load() == each
			})
			if answered.Load() < each {
				i.kill(t)
			}
		}
		worked := map[string]bool{}
		for range clients {
			for id, all := range <-done {
				checkAnswers(t, id, all, worked)
			}
		}
		ran := commandsRun(t, log)
		for id := range worked {
			if !ran[id] {
				t.Errorf("%s worked, and was not carried out", id)
			}
		}
		t.Logf("of %d calls %d worked and %d were carried out", 2*each, len(worked), len(ran))
		if !handed(pair) {
			return // without an account what is on its way counts as begun
		}
		if least := 2 * (each - 3*tools.InFlight); len(worked) < least {
			t.Errorf("of %d calls only %d worked, expected %d", 2*each, len(worked), least)
		}
	})
}

// checkAnswers: a call has one answer, or two of which one says that it is lost.
func checkAnswers(t *testing.T, id string, all []answer, worked map[string]bool) {
	t.Helper()
	if len(all) > 2 {
		t.Errorf("%s was answered %d times", id, len(all))
	}
	for _, a := range all {
		switch {
		case a.Error == nil && !a.Result.IsError:
			if worked[id] {
				t.Errorf("%s worked twice", id)
			}
			worked[id] = true
		case !strings.HasPrefix(a.text(), "unavailable: the Moorage server stopped during this call"):
			t.Errorf("%s: %s", id, a.text())
		}
	}
}

// commandsRun are the ids of the commands that were carried out, as JSON.
func commandsRun(t *testing.T, log string) map[string]bool {
	t.Helper()
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string]bool{}
	for id := range strings.Lines(string(b)) {
		id = fmt.Sprintf("%q", strings.TrimSpace(id))
		if ran[id] {
			t.Errorf("%s was carried out twice", id)
		}
		ran[id] = true
	}
	return ran
}

func TestEndOfInputWithCallsInFlight(t *testing.T) {
	eachPair(t, func(t *testing.T, i instance, pair string) {
		w := i.wire(t, pair)
		w.works(1, "create_container", nil)
		w.say(toolCall("slow", "exec", map[string]any{"command": "sleep 0.5; echo slept"}))
		if _, err := io.WriteString(w.in, toolCall("last", "fs_stat", map[string]any{"path": "/"})); err != nil { // without a line's end
			t.Fatal(err)
		}
		w2 := *w
		answers := map[string]string{}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for range 2 {
				a := w2.next()
				answers[string(a.ID)] = a.text()
			}
		}()
		if w.in == w.out {
			if err := unix.Shutdown(int(w.in.Fd()), unix.SHUT_WR); err != nil {
				t.Fatal(err)
			}
		} else {
			w.in.Close()
		}
		<-ended
		if answers[`"slow"`] != "slept\n" || answers[`"last"`] == "" {
			t.Errorf("%q", answers)
		}
		if err := w.cmd.Wait(); err != nil {
			t.Errorf("end: %v", err)
		}
	})
}

// TestClientGoneLeavesNothingInTheServer: the process between is killed, or who
// started it is gone.
func TestClientGoneLeavesNothingInTheServer(t *testing.T) {
	eachPair(t, func(t *testing.T, i instance, pair string) {
		first := i.wire(t, pair)
		first.works(1, "create_container", nil)
		first.works(2, "fs_stat", map[string]any{"path": "/"})
		before := len(links(t, i.serverPID()))
		for name, end := range map[string]func(w *wire) error{
			"killed": func(w *wire) error { return w.cmd.Process.Kill() },
			"gone": func(w *wire) error {
				if w.in != w.out {
					w.in.Close()
				}
				return w.out.Close()
			},
		} {
			w := i.wire(t, pair)
			w.say(toolCall("long", "exec", map[string]any{"command": "touch /data/" + name + "; exec sleep 4321"}))
			eventually(t, "the command's start", func() bool {
				_, err := os.Stat(filepath.Join(i.Root, "data/bots/ann", name))
				return err == nil
			})
			if err := end(w); err != nil {
				t.Fatal(err)
			}
			if a, err := w.line(); err == nil {
				t.Errorf("%s: a call was answered whose client is gone: %+v", name, a)
			}
			eventually(t, "the end of the command", func() bool {
				return !strings.Contains(first.works(3, "exec", map[string]any{"command": "ps -o args"}), "sleep 4321")
			})
			_ = w.cmd.Wait() // it was killed, or says that the client is gone
			eventually(t, "the server's giving up the descriptors", func() bool { return len(links(t, i.serverPID())) <= before })
		}
	})
}

func TestStoppedServerStaysDownUntilItIsNeeded(t *testing.T) {
	eachPair(t, func(t *testing.T, i instance, pair string) {
		w := i.wire(t, pair)
		w.works(1, "fs_write", map[string]any{"path": "f", "content": "kept"})
		server := i.serverPID()
		i.run("stop")
		if err := syscall.Kill(w.cmd.Process.Pid, 0); err != nil {
			t.Fatal(err)
		}
		if servers := procs(t, "serve", i.Root); len(servers) != 0 {
			t.Fatalf("after the stop of %d: %v", server, servers)
		}
		if got := w.works(2, "fs_read", map[string]any{"path": "f"}); got != "kept" {
			t.Errorf("%q", got)
		}
		i.run("stop")
		if code := w.end(); code != 0 { // which needs no server
			t.Errorf("exit code %d", code)
		}
		if servers := procs(t, "serve", i.Root); len(servers) != 0 {
			t.Errorf("the end of a client started %v", servers)
		}
	})
}

// TestSocketsOfOthersAreNotWrittenTo: a user may hand over pipes, and sockets of
// the same user; not one whose other side would take the server's words for root's.
func TestSocketsOfOthersAreNotWrittenTo(t *testing.T) {
	i := newInstance(t)
	i.client("ann") // starts the server
	if err := os.Chmod(i.Socket(), 0o666); err != nil {
		t.Fatal(err)
	}
	for pair, want := range map[string]bool{"pipes": handed("pipes"), "sockets": false} {
		ours, theirs := pairs[pair](t)
		w := i.wireOver(t, ours, theirs, &syscall.Credential{Uid: 65534, Gid: 65534})
		w.works(1, "fs_stat", map[string]any{"path": "/"})
		if holds(t, i.serverPID(), ours[1]) != want && pair == "pipes" {
			t.Error("the server does not have the pipes")
		}
		if n := journals(t, w.cmd.Process.Pid); (n == 1) != want {
			t.Errorf("%s of another user: %d journals are in use", pair, n)
		}
	}
}

func TestTooLongMessageIsAnsweredAlike(t *testing.T) {
	eachPair(t, func(t *testing.T, i instance, pair string) {
		w := i.wire(t, pair)
		w.say(`{"jsonrpc":"2.0","id":41,"method":"tools/call","params":{"x":"` + strings.Repeat("x", 9<<20) + `"}}`)
		if a := w.next(); string(a.ID) != "41" || a.Error == nil || !strings.Contains(a.Error.Message, "a message has at most 4194304 bytes") {
			t.Errorf("%+v", a)
		}
		w.say(`{"jsonrpc":"2.0","id":"` + strings.Repeat("i", 2000) + `","method":"ping"}`)
		if a := w.next(); len(a.ID) != 2002 || a.Error == nil || !strings.Contains(a.Error.Message, "an id has at most 1000 bytes") {
			t.Errorf("%+v", a)
		}
		w.works(1, "fs_stat", map[string]any{"path": "/"})
	})
}

// TestFilesAndTerminals are not handed over, and work.
func TestFilesAndTerminals(t *testing.T) {
	i := newInstance(t)
	dir := t.TempDir()
	input := toolCall(1, "exec", map[string]any{"command": "echo hello"}) + "\n"
	for name, content := range map[string]string{"in": input, "out": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := i.command("stdio")
	cmd.Stdin = mustOpen(t, filepath.Join(dir, "in"), os.O_RDONLY)
	cmd.Stdout = mustOpen(t, filepath.Join(dir, "out"), os.O_WRONLY)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "out")); err != nil || !strings.Contains(string(b), `hello\n`) {
		t.Errorf("%q, %v", b, err)
	}
	cmd = i.command("stdio") // its input is /dev/null
	if out, err := cmd.Output(); err != nil || len(out) != 0 {
		t.Errorf("%q, %v", out, err)
	}
	ours, theirs := mustTerminal(t)
	cmd = i.command("stdio")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	io.WriteString(ours, input)
	var got []byte
	for b := make([]byte, 4096); !bytes.Contains(got, []byte(`"text":"hello\n"`)); {
		n, err := ours.Read(b)
		if err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		got = append(got, b[:n]...)
	}
	ours.Write([]byte{4}) // end of input
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	ours.Close()
}

func mustTerminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours = mustOpen(t, "/dev/ptmx", os.O_RDWR|unix.O_NOCTTY)
	fd := int(ours.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	return ours, mustOpen(t, fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY)
}
