package process

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// Process is a command that was started.
type Process struct {
	t       *Table
	id      string
	pid     int
	started time.Time
	session bool   // it leads a session, since it has a terminal
	seq     int    // the number in the id
	command string // for a list
	in      *input // nil without standard input
	stdout  *capture
	stderr  *capture      // nil with a terminal
	before  met           // the container's limits before it
	exited  chan struct{} // closed when it was reaped
	done    chan struct{} // closed when it has ended and its output is read
	news    watchers

	mu       sync.Mutex
	seen     cursor // up to where output was returned
	reaped   bool   // the pid is no longer its own
	timedOut bool
	state    fsbridge.ProcessState
	code     *int
	sig      string
	killed   bool // for want of memory
	oom      bool // something in the container was, meanwhile
	forks    bool // the limit of processes was met meanwhile
	ended    time.Time
}

func (p *Process) captures() []*capture {
	if p.stderr == nil {
		return []*capture{p.stdout}
	}
	return []*capture{p.stdout, p.stderr}
}

// supervise sees the process to its end, after timeout at the latest.
func (p *Process) supervise(exit <-chan syscall.WaitStatus, timeout time.Duration) {
	if timeout == 0 {
		timeout = fsbridge.TimeoutMax
	}
	limit := time.AfterFunc(timeout, p.expired)
	ws := <-exit
	p.mu.Lock()
	p.reaped = true
	p.mu.Unlock()
	close(p.exited)
	limit.Stop()
	until := time.Now().Add(drainTime)
	for _, c := range p.captures() {
		c.drain(until, p.session)
	}
	p.end(ws)
	if p.in != nil {
		p.in.end()
	}
	forgotten := p.t.finish(p)
	close(p.done)
	unlink(forgotten)
}

// end notes how the process has ended.
func (p *Process) end(ws syscall.WaitStatus) {
	oom, forks := p.limitsMet()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = time.Now()
	if ws.Signaled() {
		p.state, p.sig = fsbridge.Signaled, unix.SignalName(unix.Signal(ws.Signal()))
		if p.sig == "" {
			p.sig = "SIG" + strconv.Itoa(int(ws.Signal()))
		}
	} else {
		code := ws.ExitStatus()
		p.state, p.code = fsbridge.Exited, &code
	}
	// A shell says with 128 + 9 that its child was killed.
	p.killed = oom && (p.sig == "SIGKILL" || p.code != nil && *p.code == 128+int(unix.SIGKILL))
	if p.timedOut && p.sig == "SIGKILL" {
		p.state, p.killed = fsbridge.TimedOut, false
	}
	p.oom, p.forks = oom, forks
}

// limitsMet reports which limits of the container were met since the start.
func (p *Process) limitsMet() (oom, forks bool) {
	now := p.t.limits.read()
	return now.oom > p.before.oom, now.forks > p.before.forks
}

func (p *Process) endTime() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// signal sends s to the process group while its leader lives, and reports whether
// it does.
func (p *Process) signal(s unix.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		unix.Kill(-p.pid, s)
	}
	return !p.reaped
}

func (p *Process) isReaped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reaped
}

// expired is what the Timeout does.
func (p *Process) expired() {
	p.mu.Lock()
	p.timedOut = !p.reaped
	p.mu.Unlock()
	p.kill()
}

// killRest kills what a process that has ended left in its group, if something
// holds its output. While it does, the group's id is not given to another.
func (p *Process) killRest() {
	for _, c := range p.captures() {
		select {
		case <-c.eof:
		default:
			unix.Kill(-p.pid, unix.SIGKILL)
			return
		}
	}
}

// closeFiles stops reading the output; who still writes it gets SIGPIPE.
func (p *Process) closeFiles() {
	if p.in != nil {
		p.in.close()
	}
	for _, c := range p.captures() {
		c.file.Close()
		<-c.eof
	}
}

// result returns what there is to tell, and the output's heads and tails.
func (p *Process) result() (fsbridge.ExecResult, []byte) {
	p.catchUp()
	res := p.status()
	out, errs := p.count(&res, true)
	res.StdoutHead, res.StdoutTail = len(out.head), len(out.tail)
	res.StderrHead, res.StderrTail = len(errs.head), len(errs.tail)
	data := slices.Concat(out.head, out.tail, errs.head, errs.tail)
	res.NextCursor = p.see(cursor{res.StdoutBytes, res.StderrBytes})
	return res, data
}

// catchUp moves what a running process has written by now.
func (p *Process) catchUp() {
	if p.hasEnded() {
		return
	}
	for _, c := range p.captures() {
		c.catchUp()
	}
}

// count fills in what there is of output, and returns the heads and tails of
// stdout and stderr on demand. Of a process that runs, there is a file of stdout
// then in any case.
func (p *Process) count(res *fsbridge.ExecResult, excerpt bool) (out, errs written) {
	if res.State == fsbridge.Running {
		p.stdout.begin()
	}
	out = p.stdout.written(excerpt)
	if p.stderr != nil {
		errs = p.stderr.written(excerpt)
	}
	res.StdoutBytes, res.StdoutPath = out.total, out.path
	res.StderrBytes, res.StderrPath = errs.total, errs.path
	res.SpoolCut = out.cut || errs.cut
	res.SpoolError = cmp.Or(out.err, errs.err)
	return out, errs
}

func (p *Process) status() fsbridge.ExecResult {
	p.mu.Lock()
	defer p.mu.Unlock()
	end, oom, forks := p.ended, p.oom, p.forks
	if end.IsZero() {
		end = time.Now()
		oom, forks = p.limitsMet()
	}
	return fsbridge.ExecResult{
		ProcessID: p.id,
		PID:       p.pid,
		State:     p.state,
		ExitCode:  p.code,
		Signal:    p.sig,
		OOMKilled: p.killed,
		MemoryMet: oom,
		PIDsMet:   forks,
		Duration:  end.Sub(p.started),
	}
}

// forget frees what was kept for the result.
func (p *Process) forget() {
	for _, c := range p.captures() {
		c.forget()
	}
}
