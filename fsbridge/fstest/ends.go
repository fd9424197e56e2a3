package fstest

import (
	"context"
	"errors"
	"strings"
	"time"

	"moorage/fsbridge"
)

// endCases are about how commands end, and what is left of them.
var endCases = []testCase{
	{"Wait", endWait},
	{"Timeout", endTimeout},
	{"Cancel", endCancel},
	{"CancelTTY", endCancelTTY},
	{"CancelDaemons", endCancelDaemons},
	{"CancelDaemonsOfUser", endCancelDaemonsOfUser},
	{"TimeoutDaemons", endTimeoutDaemons},
	{"KillDaemons", endKillDaemons},
	{"BackgroundChild", endBackgroundChild},
	{"BusyBackgroundChild", endBusyBackgroundChild},
	{"Orphan", endOrphan},
}

func endWait(e *env) {
	req := e.command("echo early; while [ ! -e go ]; do sleep 0.02; done; echo late; exit 3")
	req.Wait = 300 * time.Millisecond
	res, out := e.exec(req, "")
	if res.State != fsbridge.Running || res.ExitCode != nil || string(out.StdoutHead) != "early\n" || res.Duration < req.Wait {
		e.Errorf("got %q, %+v", out.StdoutHead, res)
	}
	e.put("go", "")
	e.eventually("the command's last output", func() bool { return e.get(res.StdoutPath) == "early\nlate\n" })
	req = e.command("sleep 0.1; echo x > started")
	req.Wait = 0
	if res, _ := e.exec(req, ""); res.State != fsbridge.Running {
		e.Errorf("without a wait: got %+v", res)
	}
	e.eventually("a command that nobody waits for", func() bool {
		_, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path("started")})
		return err == nil
	})
}

func endTimeout(e *env) {
	req := e.command("trap '' TERM INT; sleep 1000 & echo $! $$; wait; sleep 1000")
	req.Timeout = 300 * time.Millisecond
	res, out := e.exec(req, "")
	if res.State != fsbridge.TimedOut || res.ExitCode != nil || res.Duration < req.Timeout || res.Duration > 10*time.Second {
		e.Errorf("got %+v", res)
	}
	e.gone(string(out.StdoutHead))
}

// gone waits until none of the processes runs.
func (e *env) gone(pids string) {
	e.Helper()
	if strings.TrimSpace(pids) == "" {
		e.Fatal("no pid to wait for")
	}
	for _, pid := range strings.Fields(pids) {
		e.eventually("the end of process "+pid, func() bool { return !e.alive(pid) })
	}
}

// cancel runs req until it has written its pids to the file "pids", cancels it,
// and checks that the call returns and the processes go.
func (e *env) cancel(req fsbridge.ExecRequest) {
	e.Helper()
	if !e.Shell {
		e.Skip("no shell in the target")
	}
	ctx, cancel := context.WithCancel(e.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, _, err := e.Client.Exec(ctx, req, nil)
		done <- err
	}()
	e.eventually("the command to start", func() bool {
		_, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path("pids")})
		return err == nil
	})
	start := time.Now()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || time.Since(start) > prompt {
		e.Errorf("got %v after %v", err, time.Since(start))
	}
	e.gone(e.get(e.path("pids")))
	e.must(e.Client.Ping(e.Context()))
}

func endCancel(e *env) {
	e.cancel(e.command("trap '' TERM; (sleep 1000; :) & echo $! $$ > p; mv p pids; wait"))
}

func endCancelTTY(e *env) {
	req := e.command("set -m; sleep 1000 & echo $! $$ > p; mv p pids; wait")
	req.TTY = &fsbridge.WinSize{Rows: 24, Cols: 80}
	e.cancel(req)
}

// daemons starts children that have left the group: in a session of its own, one
// that has lost its parent too, and one without an environment. Their pids go to
// the file "pids".
const daemons = `: > p; chmod 666 p
	setsid sleep 1000 & echo $! >> p
	(setsid sh -c 'setsid sh -c "echo \$\$ >> p; trap : TERM HUP; while :; do sleep 0.1; done" & echo $$ >> p; exec sleep 1000' >/dev/null 2>&1 </dev/null &)
	env -i "$(command -v setsid)" "$(command -v sleep)" 1000 & echo $! $$ >> p
	while [ "$(wc -l < p)" -lt 4 ]; do sleep 0.01; done; mv p pids; wait; sleep 1000`

func endCancelDaemons(e *env) { e.cancel(e.command(daemons)) }

func endCancelDaemonsOfUser(e *env) {
	if !e.Root {
		e.Skip("the agent is not root")
	}
	e.sh("chmod 777 .; chmod a+x ..")
	req := e.command(daemons)
	req.User = "4321:4321"
	e.cancel(req)
}

func endTimeoutDaemons(e *env) {
	req := e.command(daemons)
	req.Timeout = 2 * time.Second
	if res, out := e.exec(req, ""); res.State != fsbridge.TimedOut {
		e.Errorf("got %+v %s", res, out.StderrHead)
	}
	e.gone(e.get(e.path("pids")))
}

func endKillDaemons(e *env) {
	p := e.start(e.command(daemons))
	e.eventually("the daemons", func() bool {
		_, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path("pids")})
		return err == nil
	})
	e.kill(p.ProcessID)
	e.gone(e.get(e.path("pids")))
}

func endBackgroundChild(e *env) {
	req := e.command("sleep 1000 & echo $!")
	start := time.Now()
	res, out := e.exec(req, "")
	if res.State != fsbridge.Exited || *res.ExitCode != 0 || time.Since(start) > 5*time.Second {
		e.Errorf("got %+v after %v", res, time.Since(start))
	}
	if !e.alive(string(out.StdoutHead)) {
		e.Error("the background child was killed")
	}
	e.sh("kill " + string(out.StdoutHead))
	e.gone(string(out.StdoutHead))
}

func endBusyBackgroundChild(e *env) {
	start := time.Now()
	res, out := e.exec(e.command("yes >&2 & echo $!"), "")
	if res.State != fsbridge.Exited || time.Since(start) > 5*time.Second {
		e.Errorf("got %+v after %v", res, time.Since(start))
	}
	e.sh("kill " + string(out.StdoutHead))
	e.gone(string(out.StdoutHead))
}

// endOrphan: a daemon that has left its group and lost its parent is no zombie
// when it ends, if the agent is PID 1; elsewhere it is not the agent's.
func endOrphan(e *env) {
	out := e.sh("(setsid sh -c 'echo $$ > pid; exec sleep 0.1' >/dev/null 2>&1 &) ; while [ ! -s pid ]; do sleep 0.01; done; cat pid")
	e.gone(out)
}
