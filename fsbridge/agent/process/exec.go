package process

import (
	"context"
	"errors"
	"strings"
	"time"

	"moorage/fsbridge"
)

// Exec starts a command, waits for its end at most req.Wait, and returns what
// there is then and the output's heads and tails. When ctx ends first the
// command is killed and forgotten; but when it ends because the connection did
// (its cause is fsbridge.ErrClosed), the command goes on. req.Cwd is absolute.
func (t *Table) Exec(ctx context.Context, req *fsbridge.ExecRequest, stdin []byte) (fsbridge.ExecResult, []byte, error) {
	if err := check(req); err != nil {
		return fsbridge.ExecResult{}, nil, err
	}
	if err := ctx.Err(); err != nil {
		return fsbridge.ExecResult{}, nil, fsbridge.NewError(fsbridge.OpExec, "", err)
	}
	p, err := t.start(req, stdin)
	if err != nil {
		return fsbridge.ExecResult{}, nil, err
	}
	if err := p.wait(ctx, req.Wait); err != nil {
		return fsbridge.ExecResult{}, nil, fsbridge.NewError(fsbridge.OpExec, "", err)
	}
	res, data := p.result()
	p.forget()
	return res, data, nil
}

// killWait is how long the end of a killed process is waited for: one in an
// uninterruptible sleep dies later.
const killWait = 2 * time.Second

// wait waits for the process, as Exec says.
func (p *Process) wait(ctx context.Context, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		return nil
	case <-ctx.Done():
	}
	if errors.Is(context.Cause(ctx), fsbridge.ErrClosed) {
		p.forget()
		return fsbridge.ErrClosed
	}
	p.kill()
	timer.Reset(killWait)
	select {
	case <-p.done:
	case <-timer.C:
	}
	p.forget()
	p.t.remove(p)
	return ctx.Err()
}

// check refuses what no command can be.
func check(req *fsbridge.ExecRequest) error {
	bad := func(format string, args ...any) error {
		return fsbridge.Errorf(fsbridge.OpExec, "", fsbridge.CodeInvalid, format, args...)
	}
	switch {
	case (req.Command == "") == (len(req.Argv) == 0):
		return bad("a command line or argv is needed, and not both")
	case len(req.Argv) > 0 && req.Argv[0] == "":
		return bad("argv names no program")
	case req.Wait < 0 || req.Wait > fsbridge.WaitMax:
		return bad("wait is %v, it may be 0 to %v", req.Wait, fsbridge.WaitMax)
	case req.Timeout < 0 || req.Timeout > fsbridge.TimeoutMax:
		return bad("timeout is %v, it may be 0 to %v", req.Timeout, fsbridge.TimeoutMax)
	case req.MaxOutput < 0:
		return bad("max_output is %d, the least is 0", req.MaxOutput)
	case hasNUL(append([]string{req.Command, string(req.Cwd), req.User}, req.Argv...)...):
		return bad("a NUL byte in command, argv, cwd or user")
	}
	for name, value := range req.Env {
		if name == "" || strings.Contains(name, "=") || hasNUL(name, value) {
			return bad("environment variable %q: a name is not empty and holds no = and no NUL, a value no NUL", name)
		}
	}
	return nil
}

func hasNUL(list ...string) bool {
	for _, s := range list {
		if strings.IndexByte(s, 0) >= 0 {
			return true
		}
	}
	return false
}
