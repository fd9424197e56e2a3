package fstest

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"moorage/fsbridge"
)

var execCases = []testCase{
	{"Argv", execArgv},
	{"Command", execCommand},
	{"Cwd", execCwd},
	{"Env", execEnv},
	{"User", execUser},
	{"Stdin", execStdin},
	{"TTY", execTTY},
	{"LongOutput", execLongOutput},
	{"EndlessOutput", execEndlessOutput},
	{"Spool", execSpool},
	{"Refused", execRefused},
	{"LongArguments", execLongArguments},
	{"LongCommand", execLongCommand},
	{"LongScript", execLongScript},
	{"Invalid", execInvalid},
	{"Many", execMany},
}

func execArgv(e *env) {
	res, out := e.exec(fsbridge.ExecRequest{Argv: []string{"printf", "%s|", "a b", "", "$HOME", "ü"}, Wait: fsbridge.WaitMax}, "")
	if got := string(out.StdoutHead); got != "a b||$HOME|ü|" || res.State != fsbridge.Exited || *res.ExitCode != 0 {
		e.Errorf("got %q, %+v", got, res)
	}
	if res.PID <= 0 || res.ProcessID == "" || res.Duration <= 0 || res.StdoutBytes != int64(len(out.StdoutHead)) || res.SpoolCut {
		e.Errorf("got %+v", res)
	}
	if res2, _ := e.exec(fsbridge.ExecRequest{Argv: []string{"true"}, Wait: fsbridge.WaitMax}, ""); res2.ProcessID == res.ProcessID {
		e.Errorf("two processes are %q", res.ProcessID)
	}
	e.put("script", "#!/bin/sh\necho ran $1\n")
	e.sh("chmod +x script")
	if _, out := e.exec(fsbridge.ExecRequest{Argv: []string{"./script", "x"}, Cwd: fsbridge.Path(e.Dir), Wait: fsbridge.WaitMax}, ""); string(out.StdoutHead) != "ran x\n" {
		e.Errorf("got %q", out.StdoutHead)
	}
}

func execCommand(e *env) {
	res, out := e.exec(e.command("echo out; echo err >&2; exit 7"), "")
	if string(out.StdoutHead) != "out\n" || string(out.StderrHead) != "err\n" || res.State != fsbridge.Exited || *res.ExitCode != 7 ||
		res.StderrBytes != 4 || res.Signal != "" || res.OOMKilled || res.NextCursor == "" {
		e.Errorf("got %q %q %+v", out.StdoutHead, out.StderrHead, res)
	}
	for signal, name := range map[string]string{"9": "SIGKILL", "TERM": "SIGTERM", "SEGV": "SIGSEGV"} {
		res, _ := e.exec(e.command("kill -"+signal+" $$"), "")
		if res.State != fsbridge.Signaled || res.Signal != name || res.ExitCode != nil || res.OOMKilled {
			e.Errorf("kill -%s: got %+v", signal, res)
		}
	}
	if _, out := e.exec(e.command("yes | head -1; trap '' PIPE; trap"), ""); !strings.HasPrefix(string(out.StdoutHead), "y\n") {
		e.Errorf("got %q", out.StdoutHead)
	}
}

func execCwd(e *env) {
	e.put("sub/f", "")
	if _, out := e.exec(fsbridge.ExecRequest{Command: "pwd", Cwd: e.path("sub"), Wait: fsbridge.WaitMax}, ""); string(out.StdoutHead) != e.Dir+"/sub\n" {
		e.Errorf("got %q", out.StdoutHead)
	}
	list := e.list(fsbridge.ListRequest{})
	if _, out := e.exec(fsbridge.ExecRequest{Argv: []string{"pwd"}, Wait: fsbridge.WaitMax}, ""); string(out.StdoutHead) != string(list.Path)+"\n" {
		e.Errorf("got %q, want the data directory %q", out.StdoutHead, list.Path)
	}
	for cwd, want := range map[fsbridge.Path]error{e.path("none"): fs.ErrNotExist, e.path("sub/f"): syscall.ENOTDIR} {
		_, _, err := e.Client.Exec(e.Context(), fsbridge.ExecRequest{Argv: []string{"true"}, Cwd: cwd}, nil)
		if remote := e.fails("exec", err, want); remote.Path != cwd || !strings.Contains(remote.Message, "working directory") {
			e.Errorf("got %+v", remote)
		}
	}
}

func execEnv(e *env) {
	req := fsbridge.ExecRequest{
		Command: `printf '%s|' "$A" "$EMPTY" "$PATH" "$HOME"`, Wait: fsbridge.WaitMax,
		Env: map[string]string{"A": "a = \"b\"\n", "EMPTY": "", "HOME": "/elsewhere"},
	}
	_, out := e.exec(req, "")
	fields := strings.Split(string(out.StdoutHead), "|")
	if len(fields) != 5 || fields[0] != "a = \"b\"\n" || fields[1] != "" || !strings.Contains(fields[2], "/bin") || fields[3] != "/elsewhere" {
		e.Errorf("got %q", fields)
	}
	if got := e.sh("echo $HOME"); !strings.HasPrefix(got, "/") {
		e.Errorf("HOME is %q", got)
	}
	_, _, err := e.Client.Exec(e.Context(), fsbridge.ExecRequest{Argv: []string{"true"}, Env: map[string]string{"PATH": "/nowhere"}}, nil)
	e.fails("exec", err, fs.ErrNotExist)
}

func execUser(e *env) {
	if !e.Root {
		e.Skip("the agent is not root")
	}
	for user, want := range map[string]string{"4321": "4321 0", "4321:8765": "4321 8765", "0": "0 0", "": "0 0", "0:77": "0 77"} {
		req := fsbridge.ExecRequest{Command: `echo $(id -u) $(id -g)`, User: user, Cwd: "/", Wait: fsbridge.WaitMax}
		if _, out := e.exec(req, ""); string(out.StdoutHead) != want+"\n" {
			e.Errorf("user %q: got %q, want %q", user, out.StdoutHead, want)
		}
	}
	for _, user := range []string{"nosuchuser", "0:nosuchgroup", "99999999999", "-1", ":"} {
		_, _, err := e.Client.Exec(e.Context(), fsbridge.ExecRequest{Argv: []string{"true"}, User: user}, nil)
		e.fails("exec", err, fsbridge.ErrInvalid)
	}
	e.put("private", "x")
	e.sh("chmod 700 . && chmod 600 private")
	req := fsbridge.ExecRequest{Argv: []string{"cat", string(e.path("private"))}, User: "4321:4321", Cwd: "/", Wait: fsbridge.WaitMax}
	if res, _ := e.exec(req, ""); *res.ExitCode == 0 {
		e.Error("another user could read a private file")
	}
}

func execStdin(e *env) {
	for _, n := range []int{0, 1, 100_000, fsbridge.MaxData, fsbridge.MaxData + 1, fsbridge.StdinMax} {
		in := strings.Repeat("x", n)
		res, out := e.exec(fsbridge.ExecRequest{Argv: []string{"wc", "-c"}, Wait: fsbridge.WaitMax}, in)
		if got := strings.TrimSpace(string(out.StdoutHead)); got != fmt.Sprint(n) || *res.ExitCode != 0 {
			e.Errorf("of %d bytes of stdin %s came in", n, got)
		}
	}
	for _, in := range []string{strings.Repeat("x", fsbridge.MaxData), strings.Repeat("x", fsbridge.StdinMax)} {
		if res, _ := e.exec(fsbridge.ExecRequest{Argv: []string{"true"}, Wait: fsbridge.WaitMax}, in); res.State != fsbridge.Exited {
			e.Errorf("a command that reads no stdin: got %+v", res)
		}
	}
	_, _, err := e.Client.Exec(e.Context(), fsbridge.ExecRequest{Argv: []string{"true"}}, make([]byte, fsbridge.StdinMax+1))
	if !errorsIs(err, fsbridge.ErrTooLarge) {
		e.Errorf("got %v", err)
	}
	if _, out := e.exec(fsbridge.ExecRequest{Argv: []string{"sh"}, Wait: fsbridge.WaitMax}, "echo from a script\n"); string(out.StdoutHead) != "from a script\n" {
		e.Errorf("got %q", out.StdoutHead)
	}
}

func execTTY(e *env) {
	req := e.command("test -t 0 && test -t 1 && test -t 2 && stty size && echo err >&2; echo $TERM")
	req.TTY = &fsbridge.WinSize{Rows: 33, Cols: 111}
	req.Env = map[string]string{"TERM": "vt100"}
	res, out := e.exec(req, "")
	if got := string(out.StdoutHead); got != "33 111\r\nerr\r\nvt100\r\n" || len(out.StderrHead) > 0 || res.StderrPath != "" || *res.ExitCode != 0 {
		e.Errorf("got %q %q %+v", got, out.StderrHead, res)
	}
	for _, in := range []string{"typed\n", "typed"} {
		if res, out := e.exec(fsbridge.ExecRequest{Argv: []string{"cat"}, TTY: &fsbridge.WinSize{}, Wait: fsbridge.WaitMax}, in); res.State != fsbridge.Exited ||
			strings.Count(string(out.StdoutHead), "typed") != 2 {
			e.Errorf("%q: got %q %+v", in, out.StdoutHead, res)
		}
	}
}

func execLongOutput(e *env) {
	req := e.command("i=0; while [ $i -lt 5000 ]; do echo line-$i; i=$((i+1)); done; printf 'é%.0s' 1 2 3 4 5 6 7 8 9 >&2")
	req.MaxOutput = 1000
	res, out := e.exec(req, "")
	head, tail := string(out.StdoutHead), string(out.StdoutTail)
	if !strings.HasPrefix(head, "line-0\nline-1\n") || !strings.HasSuffix(tail, "line-4998\nline-4999\n") || len(head)+len(tail) > 1000 || len(head)+len(tail) < 990 {
		e.Errorf("got head %q, tail %q", head, tail)
	}
	if res.StdoutBytes != 48890 || res.SpoolCut || res.StderrBytes != 18 || len(out.StderrTail) > 0 {
		e.Errorf("got %+v", res)
	}
	req.MaxOutput = 7
	_, out = e.exec(req, "")
	if string(out.StderrHead) != "é" || string(out.StderrTail) != "éé" {
		e.Errorf("cut inside a character: got %q, %q", out.StderrHead, out.StderrTail)
	}
	if res, out := e.exec(fsbridge.ExecRequest{Command: "head -c 300000 /dev/zero", Wait: fsbridge.WaitMax}, ""); len(out.StdoutHead)+len(out.StdoutTail) != fsbridge.OutputMax/2 ||
		res.StdoutBytes != 300000 {
		e.Errorf("got %d+%d bytes, %+v", len(out.StdoutHead), len(out.StdoutTail), res)
	}
}

// execEndlessOutput: what writes more than the spool takes is neither stopped
// nor kept.
func execEndlessOutput(e *env) {
	const n = 3 * fsbridge.SpoolMax
	res, out := e.exec(e.command(fmt.Sprintf("yes 0123456789abcde | head -c %d; echo end", n)), "")
	if res.StdoutBytes != n+4 || !res.SpoolCut || !strings.HasSuffix(string(out.StdoutTail), "0123456789abcde\nend\n") {
		e.Errorf("got %+v, tail %.30q", res, out.StdoutTail)
	}
	st, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: res.StdoutPath})
	e.must(err)
	if st.Size != fsbridge.SpoolMax {
		e.Errorf("the spool has %d bytes", st.Size)
	}
}

func execSpool(e *env) {
	res, _ := e.exec(e.command("echo out; echo err >&2"), "")
	if got := e.get(res.StdoutPath); got != "out\n" {
		e.Errorf("got %q", got)
	}
	if got := e.get(res.StderrPath); got != "err\n" {
		e.Errorf("got %q", got)
	}
	if res, _ = e.exec(e.command(":"), ""); res.StderrPath != "" || res.StdoutPath != "" {
		e.Errorf("no output: got %+v", res)
	}
	if res = e.start(e.command("sleep 1000")); res.StderrPath != "" || e.get(res.StdoutPath) != "" {
		e.Errorf("no output yet: got %+v", res)
	}
	e.kill(res.ProcessID)
}

func execRefused(e *env) {
	e.put("plain", "no program\n")
	e.put("bad", "#!/no/such/interpreter\n")
	e.sh("chmod +x bad; mkdir dir; printf '\\0\\1\\2' > garbage; chmod +x garbage")
	for _, c := range []struct {
		program string
		want    error
		text    string
	}{
		{"no-such-program", fs.ErrNotExist, "PATH"}, {"./none", fs.ErrNotExist, "no such file"}, {"./plain", fs.ErrPermission, "denied"},
		{"./dir", fs.ErrPermission, ""}, {"./bad", fs.ErrNotExist, "interpreter"}, {"./garbage", syscall.ENOEXEC, "program"},
	} {
		_, _, err := e.Client.Exec(e.Context(), fsbridge.ExecRequest{Argv: []string{c.program}, Cwd: fsbridge.Path(e.Dir)}, nil)
		if remote := e.fails("exec", err, c.want); string(remote.Path) != c.program || !strings.Contains(remote.Message, c.text) {
			e.Errorf("%s: got %+v", c.program, remote)
		}
	}
}

func execLongArguments(e *env) {
	argv := []string{"printf", "%.0s"}
	for range 1000 {
		argv = append(argv, strings.Repeat("x", 1000))
	}
	if res, _ := e.exec(fsbridge.ExecRequest{Argv: argv, Wait: fsbridge.WaitMax}, ""); res.State != fsbridge.Exited || *res.ExitCode != 0 {
		e.Errorf("1 MB of arguments: got %+v", res)
	}
	const most = 128<<10 - 1 // MAX_ARG_STRLEN, without the NUL
	if res, out := e.exec(fsbridge.ExecRequest{Argv: []string{"printf", "%s", strings.Repeat("x", most)}, Wait: fsbridge.WaitMax}, ""); res.StdoutBytes != most {
		e.Errorf("an argument of %d bytes: got %+v %s", most, res, out.StderrHead)
	}
	_, _, err := e.Client.Exec(e.Context(), fsbridge.ExecRequest{Argv: []string{"true", strings.Repeat("x", most+1)}}, nil)
	e.fails("exec", err, fsbridge.ErrTooLarge)
	_, _, err = e.Client.Exec(e.Context(), fsbridge.ExecRequest{Argv: []string{"true", strings.Repeat("x", fsbridge.MaxJSON)}}, nil)
	if !errorsIs(err, fsbridge.ErrTooLarge) || e.Client.Err() != nil {
		e.Errorf("got %v", err)
	}
}

// execLongCommand: a line that is longer than an argument may be is run all the
// same, with the same $0, line numbers and descriptors.
func execLongCommand(e *env) {
	const most = 128<<10 - 1
	probe := `echo "$0 $-"; ls /proc/self/fd; exit 7`
	short, shortOut := e.exec(e.command(probe), "")
	for _, n := range []int{most, most + 1, 300_000, 3 << 20} {
		line := "x='" + strings.Repeat(strings.Repeat("é", 40)+"\n", n/80)[:n-len(probe)-len("x='';")] + "';" + probe
		res, out := e.exec(e.command(line), "")
		if string(out.StdoutHead) != string(shortOut.StdoutHead) || res.State != fsbridge.Exited || *res.ExitCode != *short.ExitCode || len(out.StderrHead) > 0 {
			e.Errorf("%d bytes: got %q %q, %+v; of a short one %q", len(line), out.StdoutHead, out.StderrHead, res, shortOut.StdoutHead)
		}
	}
	req := e.command("#" + strings.Repeat("x", most) + "\ncat; set -e; false; echo not here")
	if res, out := e.exec(req, "stdin is free"); string(out.StdoutHead) != "stdin is free" || *res.ExitCode != 1 {
		e.Errorf("got %q %q, %+v", out.StdoutHead, out.StderrHead, res)
	}
	if res, out := e.exec(e.command("#"+strings.Repeat("x", most)+"\nif"), ""); *res.ExitCode == 0 || len(out.StderrHead) == 0 {
		e.Errorf("bad syntax: got %+v", res)
	}
	if !e.Root {
		return
	}
	req = e.command("#" + strings.Repeat("x", most) + "\nid -u")
	req.User, req.Cwd = "4321", "/"
	if res, out := e.exec(req, ""); string(out.StdoutHead) != "4321\n" {
		e.Errorf("as another user: got %q %q, %+v", out.StdoutHead, out.StderrHead, res)
	}
}

// execLongScript: a shell reads a script from standard input, while others do.
func execLongScript(e *env) {
	if !e.Shell {
		e.Skip("no shell in the target")
	}
	line := "n=$((n+1)) # " + strings.Repeat("x", 1000) + "\n"
	script := strings.Repeat(line, (fsbridge.StdinMax-100)/len(line))
	want := fmt.Sprintln(strings.Count(script, "\n"))
	parallel(4, func(int) {
		res, out, err := e.Client.Exec(e.Context(), fsbridge.ExecRequest{Argv: []string{"sh"}, Wait: fsbridge.WaitMax}, []byte(script+"echo $n; exit 3\n"))
		if err != nil || string(out.StdoutHead) != want || *res.ExitCode != 3 {
			e.Errorf("got %q %q, %+v, %v", out.StdoutHead, out.StderrHead, res, err)
		}
	})
}

func execInvalid(e *env) {
	for _, req := range []fsbridge.ExecRequest{
		{}, {Command: "x", Argv: []string{"x"}}, {Argv: []string{""}}, {Argv: []string{"a\x00"}}, {Command: "a\x00b"},
		{Command: ":", Wait: -1}, {Command: ":", Wait: fsbridge.WaitMax + 1}, {Command: ":", Timeout: -1},
		{Command: ":", Timeout: fsbridge.TimeoutMax + time.Second}, {Command: ":", MaxOutput: -1},
		{Command: ":", Env: map[string]string{"": "x"}}, {Command: ":", Env: map[string]string{"A=B": "x"}},
		{Command: ":", Env: map[string]string{"A": "x\x00"}}, {Command: ":", User: "\x00"},
	} {
		_, _, err := e.Client.Exec(e.Context(), req, nil)
		e.fails("exec", err, fsbridge.ErrInvalid)
	}
}

func execMany(e *env) {
	if !e.Shell {
		e.Skip("no shell in the target")
	}
	parallel(100, func(i int) {
		res, out, err := e.Client.Exec(e.Context(), e.command(fmt.Sprintf("echo %d; sleep 0.2; exit %d", i, i)), nil)
		if err != nil || string(out.StdoutHead) != fmt.Sprintln(i) || res.State != fsbridge.Exited || *res.ExitCode != i {
			e.Errorf("command %d: got %q, %+v, %v", i, out.StdoutHead, res, err)
		}
	})
}
