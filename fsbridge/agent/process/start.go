package process

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

const shell = "/bin/sh"

// launch is a command that is about to be started.
type launch struct {
	req  *fsbridge.ExecRequest
	path string
	argv []string
	env  []string
	cred *syscall.Credential
	ends ends
}

// start starts a command.
func (t *Table) start(req *fsbridge.ExecRequest, stdin []byte) (*Process, error) {
	l, err := t.prepare(req)
	if err != nil {
		return nil, err
	}
	p, err := t.admit()
	if err != nil {
		return nil, fsbridge.NewError(fsbridge.OpExec, "", err)
	}
	if err := t.admitInput(len(stdin)); err != nil {
		t.refuse()
		return nil, err
	}
	exit, err := p.launch(l, len(stdin) > 0 || req.StdinOpen)
	if err != nil {
		t.queued.Add(-int64(len(stdin)))
		t.refuse()
		return nil, err
	}
	t.enter(p) // before anything can see its end
	for _, c := range p.captures() {
		t.wg.Go(c.run)
	}
	if p.in != nil {
		p.in.begin(stdin, !req.StdinOpen)
	}
	t.wg.Go(func() { p.supervise(exit, req.Timeout) })
	return p, nil
}

// prepare finds out user, environment and program.
func (t *Table) prepare(req *fsbridge.ExecRequest) (*launch, error) {
	who, err := lookup(req.User)
	if err != nil {
		return nil, err
	}
	l := &launch{req: req, argv: req.Argv, cred: who.credential(), env: t.env.with(who, req)}
	if req.Command != "" {
		l.path, l.argv = shell, []string{shell, "-c", req.Command}
		if len(req.Command) >= argMax {
			l.argv[2] = scriptLine
		}
		return l, nil
	}
	l.path, err = find(req.Argv[0], search(l.env), string(req.Cwd))
	return l, err
}

// launch forks.
func (p *Process) launch(l *launch, fed bool) (<-chan syscall.WaitStatus, error) {
	t := p.t
	p.session, p.command, p.before = l.req.TTY != nil, describe(l.req), t.limits.read()
	if err := p.open(l, fed); err != nil {
		return nil, fsbridge.NewError(fsbridge.OpExec, "", err)
	}
	l.env = append(l.env, markName+"="+p.id)
	p.started = time.Now()
	pid, exit, err := t.reaper.start(func() (int, error) { return t.score.lend(l.fork) })
	l.ends.close()
	if err != nil {
		p.abort()
		return nil, l.explain(err)
	}
	p.pid = pid
	return exit, nil
}

func (l *launch) fork() (int, error) {
	files := []uintptr{uintptr(l.ends.in), uintptr(l.ends.out), uintptr(l.ends.err)}
	for _, fd := range l.ends.more {
		files = append(files, uintptr(fd))
	}
	attr := &syscall.ProcAttr{
		Dir:   string(l.req.Cwd),
		Env:   l.env,
		Files: files,
		Sys:   &syscall.SysProcAttr{Credential: l.cred, Setpgid: l.req.TTY == nil},
	}
	if l.req.TTY != nil {
		attr.Sys.Setsid, attr.Sys.Setctty = true, true
	}
	return syscall.ForkExec(l.path, l.argv, attr)
}

// open makes the process's ends of its streams and those of the child.
func (p *Process) open(l *launch, fed bool) (err error) {
	limit := l.req.MaxOutput
	if limit == 0 || limit > fsbridge.OutputMax/2 {
		limit = fsbridge.OutputMax / 2
	}
	if len(l.req.Command) >= argMax {
		if err := l.ends.script(l.req.Command); err != nil {
			l.ends.close()
			return err
		}
	}
	var in, out, errs *os.File
	if l.req.TTY != nil {
		out, err = l.ends.terminal(l.req.TTY, l.cred)
		in = out
	} else {
		in, out, errs, err = l.ends.pipes(fed)
	}
	if err != nil {
		return err
	}
	if in != nil {
		p.in = newInput(p.t, in, p.session)
	}
	base := filepath.Join(p.t.o.Spool, p.id)
	p.stdout = newCapture(p, out, base+".out", limit)
	if l.req.TTY != nil {
		p.stdout.leader = p.exited
	}
	if errs != nil {
		p.stderr = newCapture(p, errs, base+".err", limit)
	}
	return nil
}

// abort undoes open.
func (p *Process) abort() {
	if p.in != nil {
		p.in.close()
	}
	for _, c := range p.captures() {
		c.file.Close()
	}
}

// explain says why a fork failed. The kernel gives one errno for the directory,
// the program and the interpreter.
func (l *launch) explain(err error) error {
	var errno syscall.Errno
	errors.As(err, &errno)
	fail := func(path fsbridge.Path, code fsbridge.Code, format string, args ...any) error {
		e := fsbridge.Errorf(fsbridge.OpExec, path, code, format, args...)
		e.Errno = errno
		return e
	}
	switch errno {
	case unix.EAGAIN:
		return fail("", fsbridge.CodeLimit, "start process: %s", pidsLimit())
	case unix.ENOMEM:
		return fail("", fsbridge.CodeLimit, "start process: the container's memory limit is reached")
	case unix.E2BIG:
		return fail("", fsbridge.CodeTooLarge, "arguments and environment are too long: "+
			"one string may have 128 KiB, all together 2 MiB")
	}
	if bad := checkDir(string(l.req.Cwd)); bad != 0 {
		errno = bad
		return fail(l.req.Cwd, fsbridge.CodeIO, "working directory: %v", bad)
	}
	_, missing := os.Stat(inDir(string(l.req.Cwd), l.path))
	switch {
	case l.req.Command != "" && missing != nil:
		return fail("", fsbridge.CodeNoShell, "the image has no %s; run a program by argv", shell)
	case errno == unix.ENOENT && missing == nil:
		return fail(fsbridge.Path(l.path), fsbridge.CodeIO, "its interpreter or loader does not exist")
	case errno == unix.ENOEXEC:
		return fail(fsbridge.Path(l.path), fsbridge.CodeIO, "not a program of this machine, and no script with a #! line")
	}
	return fail(fsbridge.Path(l.path), fsbridge.CodeIO, "%v", errno)
}

// checkDir returns why dir is no directory, or 0.
func checkDir(dir string) unix.Errno {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		errno, _ := err.(unix.Errno)
		return errno
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.ENOTDIR
	}
	return 0
}
