package fstest

import (
	"fmt"
	"strings"
	"time"

	"moorage/fsbridge"
)

func followInput(e *env) {
	p := e.start(fsbridge.ExecRequest{Command: `while read line; do echo "got $line"; done; echo over`, StdinOpen: true})
	id := p.ProcessID
	res, out := e.follow(fsbridge.FollowRequest{ProcessID: id, WaitFor: "got", Wait: fsbridge.WaitMax}, "one\n")
	if out != "got one\n" || !res.Matched {
		e.Errorf("got %q, %+v", out, res)
	}
	e.follow(fsbridge.FollowRequest{ProcessID: id}, "tw")
	if _, out := e.follow(fsbridge.FollowRequest{ProcessID: id, WaitFor: "got", Wait: fsbridge.WaitMax}, "o\n"); out != "got two\n" {
		e.Errorf("got %q", out)
	}
	res, out = e.follow(fsbridge.FollowRequest{ProcessID: id, Close: true, Wait: fsbridge.WaitMax}, "three\n")
	if out != "got three\nover\n" || res.State != fsbridge.Exited {
		e.Errorf("got %q, %+v", out, res)
	}
	// What Exec gives comes first, and all that is written arrives.
	req := fsbridge.ExecRequest{Argv: []string{"wc", "-c"}, StdinOpen: true}
	p, _ = e.exec(req, strings.Repeat("x", fsbridge.MaxData+1))
	e.eventually("more to be taken", func() bool {
		_, _, err := e.Client.Follow(e.Context(), fsbridge.FollowRequest{ProcessID: p.ProcessID}, make([]byte, fsbridge.InputMax))
		return err == nil
	})
	res, out = e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: "0", Close: true, Wait: fsbridge.WaitMax}, "")
	if strings.TrimSpace(out) != "2097153" || res.State != fsbridge.Exited {
		e.Errorf("got %q, %+v", out, res)
	}
}

// followInputLimit: input that is not read holds up nobody, and is bounded.
func followInputLimit(e *env) {
	p := e.start(fsbridge.ExecRequest{Command: "sleep 1000", StdinOpen: true})
	var err error
	taken := 0
	start := time.Now()
	for ; err == nil && taken < 100<<20; taken += fsbridge.InputMax {
		_, _, err = e.Client.Follow(e.Context(), fsbridge.FollowRequest{ProcessID: p.ProcessID}, make([]byte, fsbridge.InputMax))
	}
	remote := e.fails("follow", err, fsbridge.ErrLimit)
	if !strings.Contains(remote.Message, "none of the 1048576 bytes was taken") || time.Since(start) > 10*time.Second {
		e.Errorf("got %v after %v", remote, time.Since(start))
	}
	if got := e.sh("echo others work"); got != "others work\n" {
		e.Errorf("got %q", got)
	}
	e.kill(p.ProcessID)
}

func followNoInput(e *env) {
	closed := e.start(e.command("sleep 1000"))
	p := e.start(fsbridge.ExecRequest{Argv: []string{"sleep", "1000"}, StdinOpen: true})
	e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Close: true}, "")
	e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Close: true}, "") // once more is nothing
	e.follow(fsbridge.FollowRequest{ProcessID: closed.ProcessID, Close: true}, "")
	for id, text := range map[string]string{closed.ProcessID: "was closed when it started", p.ProcessID: "is closed"} {
		_, _, err := e.Client.Follow(e.Context(), fsbridge.FollowRequest{ProcessID: id, Signal: "KILL"}, []byte("x"))
		remote := e.fails("follow", err, fsbridge.ErrInvalid)
		if !strings.Contains(remote.Message, text) || !strings.Contains(remote.Message, "stdin_open true") {
			e.Errorf("got %v", remote)
		}
		if res := e.kill(id); res.Signal != "SIGKILL" {
			e.Errorf("the refused request was carried out in part: %+v", res)
		}
		_, _, err = e.Client.Follow(e.Context(), fsbridge.FollowRequest{ProcessID: id}, []byte("x"))
		if remote := e.fails("follow", err, fsbridge.ErrInvalid); !strings.Contains(remote.Message, "has ended (by SIGKILL)") {
			e.Errorf("got %v", remote)
		}
	}
	deaf := e.start(fsbridge.ExecRequest{Command: "exec <&-; echo deaf; sleep 1000", StdinOpen: true})
	e.follow(fsbridge.FollowRequest{ProcessID: deaf.ProcessID, WaitFor: "deaf", Cursor: "0", Wait: fsbridge.WaitMax}, "")
	var err error
	e.eventually("the pipe to be found broken", func() bool {
		_, _, err = e.Client.Follow(e.Context(), fsbridge.FollowRequest{ProcessID: deaf.ProcessID}, []byte("x"))
		return err != nil
	})
	if remote := e.fails("follow", err, fsbridge.ErrInvalid); !strings.Contains(remote.Message, "has closed its standard input") {
		e.Errorf("got %v", remote)
	}
	e.kill(deaf.ProcessID)
}

func followTerminal(e *env) {
	req := e.command("stty -echo; stty size; echo ready; while read x; do echo \"got $x\"; done; echo over")
	req.TTY = &fsbridge.WinSize{Rows: 7, Cols: 9}
	p := e.start(req)
	cursor := "0" // Exec may have returned the first
	send := func(input, until string) string {
		e.Helper()
		res, out := e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: cursor, WaitFor: until, Wait: 20 * time.Second}, input)
		if !res.Matched {
			e.Fatalf("%q: got %q, %+v", input, out, res)
		}
		cursor = res.NextCursor
		return out
	}
	if out := send("", "ready"); !strings.HasPrefix(out, "7 9\r\n") {
		e.Errorf("got %q", out)
	}
	if out := send("a\n", "got"); out != "got a\r\n" {
		e.Errorf("got %q", out)
	}
	res, out := e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Close: true, Wait: 20 * time.Second}, "")
	if !strings.HasSuffix(out, "over\r\n") || res.State != fsbridge.Exited {
		e.Errorf("the end was typed: got %q, %+v", out, res)
	}
	cat := e.start(fsbridge.ExecRequest{Argv: []string{"cat"}, TTY: &fsbridge.WinSize{}})
	res, out = e.follow(fsbridge.FollowRequest{ProcessID: cat.ProcessID, Close: true, Wait: 20 * time.Second}, "half")
	if res.State != fsbridge.Exited || strings.Count(out, "half") != 2 {
		e.Errorf("the end within a line: got %q, %+v", out, res)
	}
	sleep := e.start(fsbridge.ExecRequest{Argv: []string{"sleep", "1000"}, TTY: &fsbridge.WinSize{}})
	if res, _ = e.follow(fsbridge.FollowRequest{ProcessID: sleep.ProcessID, Wait: 20 * time.Second}, "\x03"); res.Signal != "SIGINT" {
		e.Errorf("Ctrl-C: got %+v", res)
	}
}

// followJobs: a shell at a terminal has job control; Ctrl-C, and a signal, are for
// the job that has the terminal.
func followJobs(e *env) {
	req := e.command("")
	req.Command, req.Argv, req.TTY = "", []string{"sh", "-i"}, &fsbridge.WinSize{}
	req.Env = map[string]string{"PS1": "prompt$ "}
	p := e.start(req)
	const shown = `prompt\$ (\x1b\[6n)?$` // after which busybox asks where the cursor is
	cursor := "0"
	send := func(input, signal, until string) string {
		e.Helper()
		res, out := e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: cursor, Signal: signal, WaitFor: until, Wait: 20 * time.Second}, input)
		if !res.Matched {
			e.Fatalf("%q %s: got %q, %+v", input, signal, out, res)
		}
		cursor = res.NextCursor
		return out
	}
	if out := send("", "", shown); strings.Contains(out, "job control") {
		e.Errorf("got %q", out)
	}
	for i, end := range []struct{ input, signal string }{{"\x03", ""}, {"", "INT"}} {
		e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: cursor}, fmt.Sprintf("sh -c 'echo $$ > p; mv p pid%d; exec sleep 1000'\n", i))
		var pid string
		e.eventually("the job", func() bool {
			_, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path(fmt.Sprint("pid", i))})
			return err == nil
		})
		pid = e.get(e.path(fmt.Sprint("pid", i)))
		send(end.input, end.signal, shown)
		e.gone(pid)
		send("echo st''ill $((40+2))\n", "", "^still 42")
	}
	e.kill(p.ProcessID)
}

func followSignals(e *env) {
	for _, name := range []string{"SIGUSR1", "usr1", "10"} {
		p := e.start(e.command("trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.01; done"))
		e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: "0", WaitFor: "ready", Wait: fsbridge.WaitMax}, "")
		res, out := e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Signal: name, Wait: fsbridge.WaitMax}, "")
		// The sleep has it too, and dies.
		if !strings.HasSuffix(out, "caught\n") || res.State != fsbridge.Exited || *res.ExitCode != 5 {
			e.Errorf("%s: got %q, %+v", name, out, res)
		}
	}
	p := e.start(e.command("sleep 1000 & echo $! $$; wait"))
	res, out := e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: "0", WaitFor: "\n", Wait: fsbridge.WaitMax}, "")
	if !res.Matched {
		e.Fatalf("got %q, %+v", out, res)
	}
	if res, _ := e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Signal: "TERM", Wait: fsbridge.WaitMax}, ""); res.Signal != "SIGTERM" {
		e.Errorf("got %+v", res)
	}
	e.gone(out)
	p = e.start(e.command("kill -STOP $$; echo on"))
	res, out = e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Signal: "CONT", Wait: 50 * time.Millisecond}, "")
	for res.State == fsbridge.Running {
		res, out = e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: "0", Signal: "CONT", Wait: 50 * time.Millisecond}, "")
	}
	if out != "on\n" || *res.ExitCode != 0 {
		e.Errorf("got %q, %+v", out, res)
	}
}

// followSignalAfterEnd: what a command has left can be ended too.
func followSignalAfterEnd(e *env) {
	res, out := e.exec(e.command("sleep 1000 & echo $!; (setsid sleep 1000 >/dev/null 2>&1 & echo $!; until grep -q sleep /proc/$!/comm; do :; done)"), "") // in exec(2) nothing of it can be read
	if res.State != fsbridge.Exited {
		e.Fatalf("got %+v", res)
	}
	after, _ := e.follow(fsbridge.FollowRequest{ProcessID: res.ProcessID, Signal: "TERM", Wait: fsbridge.WaitMax}, "")
	if after.State != fsbridge.Exited || *after.ExitCode != 0 {
		e.Errorf("got %+v", after)
	}
	e.gone(string(out.StdoutHead))
}

// followEndless: of what writes more than is spooled the newest is there, and
// what is lost is told.
func followEndless(e *env) {
	const n = fsbridge.SpoolMax + 5<<20
	p := e.start(e.command(await + "yes 0123456789abcde | head -c 22020096; echo end; await go; echo more; echo err >&2"))
	var got, lost int64
	req := fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: "0", WaitFor: "^end$", Wait: fsbridge.WaitMax}
	res, out := e.follow(req, "")
	if !res.Matched || !res.More || out[:16] != "0123456789abcde\n" || res.StdoutHead != fsbridge.OutputMax/2 || res.StdoutBytes != n+4 {
		e.Fatalf("got %.40q, %+v", out, res)
	}
	var last string
	for res.More {
		got, lost, last = got+int64(len(out)), lost+res.StdoutLost, out
		if lost == 0 && strings.Trim(out, "0123456789abcde\n") != "" {
			e.Fatalf("at %d: %.40q", res.StdoutFrom, out)
		}
		res, out = e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID}, "")
	}
	got, lost, last = got+int64(len(out)), lost+res.StdoutLost, last+out
	if got+lost != n+4 || got < fsbridge.SpoolMax+60<<10 || !res.SpoolCut || !strings.HasSuffix(last, "abcde\nend\n") {
		e.Errorf("got %d bytes, %d are lost, the last are %.40q; %+v", got, lost, last[max(0, len(last)-40):], res)
	}
	e.touch("go")
	res, out = e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Wait: fsbridge.WaitMax}, "")
	if out != "more\n" || res.StdoutLost != 0 || res.State != fsbridge.Exited || res.StderrHead != 4 {
		e.Errorf("got %q, %+v", out, res)
	}
}
