package fstest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"moorage/fsbridge"
)

// followCases are about handles: what is done with a command that was started.
var followCases = []testCase{
	{"Read", followRead},
	{"Cursors", followCursors},
	{"Bytes", followBytes},
	{"Characters", followCharacters},
	{"WaitFor", followWaitFor},
	{"WaitForOther", followOther},
	{"WaitForServer", followServer},
	{"WaitForDaemon", followDaemon},
	{"Input", followInput},
	{"InputLimit", followInputLimit},
	{"NoInput", followNoInput},
	{"Terminal", followTerminal},
	{"Jobs", followJobs},
	{"Signals", followSignals},
	{"SignalAfterEnd", followSignalAfterEnd},
	{"EndlessOutput", followEndless},
	{"Cancel", followCancel},
	{"Unknown", followUnknown},
	{"Invalid", followInvalid},
	{"List", followList},
}

// start starts a command that goes on.
func (e *env) start(req fsbridge.ExecRequest) fsbridge.ExecResult {
	e.Helper()
	req.Wait = 0
	res, _ := e.exec(req, "")
	return res
}

// follow is Client.Follow that succeeds.
func (e *env) follow(req fsbridge.FollowRequest, input string) (fsbridge.FollowResult, string) {
	e.Helper()
	res, out, err := e.Client.Follow(e.Context(), req, []byte(input))
	e.must(err)
	return res, string(out.StdoutHead)
}

// kill ends a process, and checks that it does.
func (e *env) kill(id string) fsbridge.FollowResult {
	e.Helper()
	res, _ := e.follow(fsbridge.FollowRequest{ProcessID: id, Signal: "KILL", Cursor: "end", Wait: fsbridge.WaitMax}, "")
	if res.State == fsbridge.Running {
		e.Errorf("killed: got %+v", res)
	}
	return res
}

// touch makes a file that a command of the test waits for.
func (e *env) touch(name string) { e.put(name, "") }

const await = `await() { while [ ! -e $1 ]; do sleep 0.01; done; }; `

func followRead(e *env) {
	p := e.start(e.command(await + "echo early; echo err >&2; await go; echo late; exit 3"))
	req := fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: "0", Wait: fsbridge.WaitMax, WaitFor: "early"}
	res, out := e.follow(req, "")
	if out != "early\n" || !res.Matched || res.State != fsbridge.Running || res.More || res.StdoutFrom != 0 {
		e.Errorf("got %q, %+v", out, res)
	}
	start := time.Now()
	res, out = e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: res.NextCursor}, "")
	if out != "" || res.State != fsbridge.Running || time.Since(start) > 2*time.Second || res.StdoutFrom != 6 {
		e.Errorf("nothing new: got %q, %+v after %v", out, res, time.Since(start))
	}
	wait := fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: res.NextCursor, Wait: 100 * time.Millisecond}
	start = time.Now()
	if res, _ := e.follow(wait, ""); res.State != fsbridge.Running || time.Since(start) < wait.Wait {
		e.Errorf("it waited %v: %+v", time.Since(start), res)
	}
	e.touch("go")
	wait.Wait = fsbridge.WaitMax
	res, out = e.follow(wait, "")
	if out != "late\n" || res.State != fsbridge.Exited || *res.ExitCode != 3 || res.StdoutBytes != 11 || res.PID != p.PID || res.StdoutPath != p.StdoutPath {
		e.Errorf("got %q, %+v", out, res)
	}
	again, out := e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: "0", Wait: fsbridge.WaitMax}, "")
	if out != "early\nlate\n" || again.StderrHead != 4 || again.Duration != res.Duration || again.NextCursor != "11.4" {
		e.Errorf("of a finished one: got %q, %+v", out, again)
	}
}

// followCursors: without a cursor it goes on after what was returned last.
func followCursors(e *env) {
	req := e.command(await + "echo one; touch ready; await go; echo two; await on; echo three")
	req.Wait = 0
	p, first := e.exec(req, "")
	e.eventually("the first line", func() bool { return e.get(p.StdoutPath) == "one\n" })
	_, out := e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID}, "")
	if got := string(first.StdoutHead) + out; got != "one\n" {
		e.Errorf("got %q", got)
	}
	end, _ := e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: "end"}, "")
	if end.NextCursor != "4.0" {
		e.Errorf("got %+v", end)
	}
	e.touch("go")
	res, out := e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Wait: fsbridge.WaitMax, WaitFor: "^two$"}, "")
	if out != "two\n" || !res.Matched {
		e.Errorf("got %q, %+v", out, res)
	}
	e.touch("on")
	res, out = e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Wait: fsbridge.WaitMax}, "")
	if out != "three\n" || res.State != fsbridge.Exited {
		e.Errorf("got %q, %+v", out, res)
	}
	if _, out = e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: "2.0"}, ""); out != "e\ntwo\nthree\n" {
		e.Errorf("got %q", out)
	}
	if _, out = e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID}, ""); out != "" {
		e.Errorf("all was returned, and then %q", out)
	}
}

// followBytes: parts by cursor joined are the whole output, whatever its bytes.
func followBytes(e *env) {
	p := e.start(e.command(`i=0; while [ $i -lt 400 ]; do printf 'é€😀\377\200\303\000x%d' $i; printf '\303\251%d\n' $i >&2; i=$((i+1)); done`))
	for _, limit := range []int{0, 1, 5, 1000, fsbridge.OutputMax} {
		var stdout, stderr strings.Builder
		req := fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: "0", MaxOutput: limit, Wait: fsbridge.WaitMax}
		for {
			res, out, err := e.Client.Follow(e.Context(), req, nil)
			e.must(err)
			if res.StdoutFrom != int64(stdout.Len()) || res.StderrFrom != int64(stderr.Len()) || res.StdoutLost+res.StderrLost > 0 {
				e.Fatalf("at %d and %d: got %+v", stdout.Len(), stderr.Len(), res)
			}
			stdout.Write(out.StdoutHead)
			stderr.Write(out.StderrHead)
			if res.State != fsbridge.Running && !res.More {
				break
			}
			req.Cursor = res.NextCursor
		}
		res, _ := e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID}, "")
		if e.get(res.StdoutPath) != stdout.String() || e.get(res.StderrPath) != stderr.String() || stdout.Len() < 400*14 {
			e.Errorf("at most %d a call: the parts are not the whole, %d and %d bytes", limit, stdout.Len(), stderr.Len())
		}
	}
}

// followCharacters: a character is not returned in halves, though it was written so.
func followCharacters(e *env) {
	p := e.start(e.command(await + `printf 'a\342\202'; await go; printf '\254b\342'`))
	res, out := e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: "0", Wait: fsbridge.WaitMax, WaitFor: "a"}, "")
	e.eventually("three bytes", func() bool {
		res, out = e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: "0"}, "")
		return res.StdoutBytes == 3
	})
	if out != "a" || res.More || res.NextCursor != "1.0" {
		e.Errorf("got %q, %+v", out, res)
	}
	e.touch("go")
	if res, out = e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Wait: fsbridge.WaitMax}, ""); out != "€b\xe2" || res.State != fsbridge.Exited {
		e.Errorf("got %q, %+v", out, res)
	}
}

func followWaitFor(e *env) {
	p := e.start(e.command(await + `printf 'Listening'; await a; printf ' on\nport 80'; await b; echo 80 >&2; echo no; await c; echo end`))
	find := func(cursor, pattern string) (fsbridge.FollowResult, string) {
		e.Helper()
		return e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: cursor, WaitFor: pattern, Wait: fsbridge.WaitMax}, "")
	}
	if res, out := find("0", "List"); !res.Matched || out != "Listening" {
		e.Errorf("what is there: got %q, %+v", out, res)
	}
	e.touch("a")
	if res, out := find("0", `Listening on\nport \d+`); !res.Matched || !strings.HasPrefix(out, "Listening on\nport") {
		e.Errorf("over two writes: got %q, %+v", out, res)
	}
	if res, out := find("0", `^port 80$`); !res.Matched || !strings.HasPrefix(out, "Listening") {
		e.Errorf("a line: got %q, %+v", out, res)
	}
	e.touch("b")
	if res, out := find("", `^8080$|^80$`); !res.Matched || res.StderrHead != 3 {
		e.Errorf("on stderr: got %q, %+v", out, res)
	}
	start := time.Now()
	res, _ := e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, WaitFor: "80", Wait: 200 * time.Millisecond}, "")
	if res.Matched || res.State != fsbridge.Running || time.Since(start) < 200*time.Millisecond {
		e.Errorf("old output counts: got %+v after %v", res, time.Since(start))
	}
	e.touch("c")
	if res, out := find("", "never"); res.Matched || res.State != fsbridge.Exited || !strings.HasSuffix(out, "end\n") {
		e.Errorf("the end: got %q, %+v", out, res)
	}
	if res, _ := find("0", "(?i)END"); !res.Matched {
		e.Errorf("of a finished one: got %+v", res)
	}
}

// followServer: the log of a server is followed as it comes.
func followServer(e *env) {
	p := e.start(e.command(`i=0; while :; do echo "request $i"; i=$((i+1)); sleep 0.005; done`))
	for _, n := range []int{0, 20, 40} {
		cursor := ""
		if n == 0 {
			cursor = "0" // Exec may have returned it
		}
		res, out := e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: cursor, WaitFor: fmt.Sprintf("request %d$", n), Wait: fsbridge.WaitMax}, "")
		if !res.Matched || !strings.Contains(out, fmt.Sprintf("request %d\n", n)) || n > 0 && strings.Contains(out, "request 0\n") {
			e.Errorf("got %q, %+v", out, res)
		}
	}
	e.kill(p.ProcessID)
}

// followDaemon: what a command has left in the background can be waited for, as
// long as it holds the output.
func followDaemon(e *env) {
	p, _ := e.exec(e.command(await+"(await go; echo up; await on; echo never) & exit 3"), "")
	if p.State != fsbridge.Exited {
		e.Fatalf("got %+v", p)
	}
	e.touch("go")
	res, out := e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, WaitFor: "up", Wait: fsbridge.WaitMax}, "")
	if !res.Matched || out != "up\n" || res.State != fsbridge.Exited || *res.ExitCode != 3 {
		e.Errorf("got %q, %+v", out, res)
	}
	start := time.Now()
	if res, _ := e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Wait: fsbridge.WaitMax}, ""); res.State != fsbridge.Exited || time.Since(start) > 5*time.Second {
		e.Errorf("it is waited for, though the command has ended: %+v", res)
	}
	e.touch("on")
	res, out = e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, WaitFor: "ever and ever", Wait: fsbridge.WaitMax}, "")
	if res.Matched || out != "never\n" {
		e.Errorf("the end of the output: got %q, %+v", out, res)
	}
}

func followCancel(e *env) {
	p := e.start(e.command("sleep 1000"))
	ctx, cancel := context.WithCancel(e.Context())
	var start time.Time
	time.AfterFunc(100*time.Millisecond, func() { start = time.Now(); cancel() })
	_, _, err := e.Client.Follow(ctx, fsbridge.FollowRequest{ProcessID: p.ProcessID, Wait: fsbridge.WaitMax, WaitFor: "x"}, nil)
	if !errors.Is(err, context.Canceled) || time.Since(start) > prompt {
		e.Errorf("got %v after %v", err, time.Since(start))
	}
	if res, _ := e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Wait: 50 * time.Millisecond}, ""); res.State != fsbridge.Running {
		e.Errorf("a cancelled wait ended the command: %+v", res)
	}
	if res := e.kill(p.ProcessID); res.Signal != "SIGKILL" {
		e.Errorf("got %+v", res)
	}
}

func followUnknown(e *env) {
	e.exec(e.command(":"), "")
	for _, id := range []string{"", "p1", "p999999-abcdef", strings.Repeat("x", 5000)} {
		_, _, err := e.Client.Follow(e.Context(), fsbridge.FollowRequest{ProcessID: id}, nil)
		remote := e.fails("follow", err, fsbridge.ErrNoProcess)
		for _, want := range []string{"list the processes", "1 h", "256 newer"} {
			if !strings.Contains(remote.Message, want) {
				e.Errorf("%.20q: %q lacks %q", id, remote.Message, want)
			}
		}
	}
}

func followInvalid(e *env) {
	p, _ := e.exec(e.command("echo 12345"), "")
	for _, c := range []struct {
		req  fsbridge.FollowRequest
		text string
	}{
		{fsbridge.FollowRequest{Cursor: "x"}, `cursor "x"`},
		{fsbridge.FollowRequest{Cursor: "1"}, "next_cursor"},
		{fsbridge.FollowRequest{Cursor: "-1.0"}, "next_cursor"},
		{fsbridge.FollowRequest{Cursor: "01.0"}, "next_cursor"},
		{fsbridge.FollowRequest{Cursor: "1.0.0"}, "next_cursor"},
		{fsbridge.FollowRequest{Cursor: "99999999999999999999.0"}, "next_cursor"},
		{fsbridge.FollowRequest{Cursor: "7.0"}, `which is at "6.0"`},
		{fsbridge.FollowRequest{Cursor: "0.1"}, "past the end"},
		{fsbridge.FollowRequest{Wait: -1}, "wait"},
		{fsbridge.FollowRequest{Wait: fsbridge.WaitMax + 1}, "50s"},
		{fsbridge.FollowRequest{MaxOutput: -1}, "max_output"},
		{fsbridge.FollowRequest{WaitFor: "("}, "RE2"},
		{fsbridge.FollowRequest{WaitFor: "a)(b"}, "RE2"},
		{fsbridge.FollowRequest{WaitFor: strings.Repeat("x", fsbridge.WaitForMax+1)}, "4096"},
		{fsbridge.FollowRequest{Signal: "SIGNONE"}, "TERM"},
		{fsbridge.FollowRequest{Signal: "0"}, "64"},
		{fsbridge.FollowRequest{Signal: "65"}, "64"},
		{fsbridge.FollowRequest{Signal: "-9"}, "64"},
	} {
		c.req.ProcessID = p.ProcessID
		_, _, err := e.Client.Follow(e.Context(), c.req, nil)
		if remote := e.fails("follow", err, fsbridge.ErrInvalid); !strings.Contains(remote.Message, c.text) {
			e.Errorf("%+v: %q lacks %q", c.req, remote.Message, c.text)
		}
	}
	_, _, err := e.Client.Follow(e.Context(), fsbridge.FollowRequest{ProcessID: p.ProcessID}, make([]byte, fsbridge.InputMax+1))
	if !errorsIs(err, fsbridge.ErrTooLarge) || e.Client.Err() != nil {
		e.Errorf("got %v", err)
	}
}

func followList(e *env) {
	var ids []string
	for _, req := range []fsbridge.ExecRequest{
		{Command: "echo done; exit 3", Wait: fsbridge.WaitMax},
		{Argv: []string{"sleep", "1000"}},
		{Argv: []string{"sh", "-c", "echo 'it is'; exit 0"}, Wait: fsbridge.WaitMax},
		{Command: "cat", TTY: &fsbridge.WinSize{}},
		{Argv: []string{"cat"}, StdinOpen: true},
		{Command: ": " + strings.Repeat("é", 200), Wait: fsbridge.WaitMax},
	} {
		res, _ := e.exec(req, "")
		ids = append(ids, res.ProcessID)
	}
	list, err := e.Client.Processes(e.Context())
	e.must(err)
	of := make(map[string]fsbridge.ProcessInfo)
	var order []string
	ended := false
	for _, p := range list.Processes {
		ended = ended || p.State != fsbridge.Running
		if ended != (p.State != fsbridge.Running) {
			e.Error("a process that runs is behind a finished one")
		}
		for i, id := range ids {
			if p.ProcessID == id {
				of[id] = p
				order = append(order, fmt.Sprint(i))
			}
		}
	}
	if got := strings.Join(order, " "); got != "4 3 1 5 2 0" || list.Total != len(list.Processes) {
		e.Errorf("the order is %s, of %d", got, list.Total)
	}
	for i, want := range []string{"echo done; exit 3", "sleep 1000", `sh -c 'echo '\''it is'\''; exit 0'`, "cat", "cat", ": " + strings.Repeat("é", 97) + "..."} {
		p := of[ids[i]]
		if p.Command != want || p.TTY != (i == 3) || p.StdinOpen != (i == 3 || i == 4) || time.Since(p.Started) > time.Hour || p.PID <= 0 {
			e.Errorf("%d: got %+v", i, p)
		}
	}
	if p := of[ids[0]]; *p.ExitCode != 3 || p.StdoutBytes != 5 || p.StdoutHead != 0 || p.NextCursor != "5.0" || p.StdoutPath == "" {
		e.Errorf("got %+v", p)
	}
	for _, i := range []int{1, 3, 4} {
		e.kill(ids[i])
	}
}

// followOther: what was written to stdout before something on stderr is there
// with it.
func followOther(e *env) {
	for range 50 {
		p := e.start(e.command("echo before; echo marked >&2; exec sleep 600"))
		req := fsbridge.FollowRequest{ProcessID: p.ProcessID, Cursor: "0", Wait: fsbridge.WaitMax, WaitFor: "marked"}
		if res, out := e.follow(req, ""); out != "before\n" || !res.Matched || res.StderrHead != 7 {
			e.Errorf("got %q, %+v", out, res)
		}
		e.follow(fsbridge.FollowRequest{ProcessID: p.ProcessID, Signal: "KILL", Wait: fsbridge.WaitMax}, "")
	}
}
