package process

import (
	"cmp"
	"os"
	"strconv"
	"strings"
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
	session bool     // it leads a session, since it has a terminal
	stdin   *os.File // what stdin is written to, or nil
	stdout  *capture
	stderr  *capture      // nil with a terminal
	oom     int64         // kills for want of memory before it
	exited  chan struct{} // closed when it was reaped
	done    chan struct{} // closed when it has ended and its output is read

	mu       sync.Mutex
	reaped   bool // the pid is no longer its own
	timedOut bool
	state    fsbridge.ProcessState
	code     *int
	sig      string
	killed   bool // for want of memory
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
	p.t.finish(p)
	close(p.done)
}

// end notes how the process has ended.
func (p *Process) end(ws syscall.WaitStatus) {
	oom := p.t.oom.read() > p.oom
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
}

func (p *Process) endTime() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// signal sends s to the process group while its leader lives.
func (p *Process) signal(s unix.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		unix.Kill(-p.pid, s)
	}
}

// kill kills the process group, and with a terminal the whole session.
func (p *Process) kill() {
	p.signal(unix.SIGKILL)
	if p.session {
		killSession(p.pid)
	}
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
	if p.stdin != nil {
		p.stdin.Close()
	}
	for _, c := range p.captures() {
		c.file.Close()
		<-c.eof
	}
}

// feed writes the standard input and closes it; to a terminal it types the end.
func (p *Process) feed(input []byte) {
	defer func() {
		if !p.session {
			p.stdin.Close()
		}
	}()
	if p.session {
		if len(input) == 0 {
			return
		}
		const eot = 4 // what a terminal takes for the end, at the start of a line
		if input[len(input)-1] != '\n' {
			input = append(input[:len(input):len(input)], eot)
		}
		input = append(input[:len(input):len(input)], eot)
	}
	p.stdin.Write(input) // it may end without having read all of it
}

// result returns what there is to tell, and the output's heads and tails.
func (p *Process) result() (fsbridge.ExecResult, []byte) {
	res := p.status()
	out := p.stdout.written()
	res.StdoutBytes, res.StdoutPath = out.total, out.path
	res.StdoutHead, res.StdoutTail = len(out.head), len(out.tail)
	res.SpoolCut, res.SpoolError = out.cut, out.err
	data := append(append([]byte(nil), out.head...), out.tail...)
	if p.stderr != nil {
		out := p.stderr.written()
		res.StderrBytes, res.StderrPath = out.total, out.path
		res.StderrHead, res.StderrTail = len(out.head), len(out.tail)
		res.SpoolCut = res.SpoolCut || out.cut
		res.SpoolError = cmp.Or(res.SpoolError, out.err)
		data = append(append(data, out.head...), out.tail...)
	}
	res.NextCursor = strconv.FormatInt(res.StdoutBytes, 10) + "." + strconv.FormatInt(res.StderrBytes, 10)
	return res, data
}

func (p *Process) status() fsbridge.ExecResult {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := p.ended
	if end.IsZero() {
		end = time.Now()
	}
	return fsbridge.ExecResult{
		ProcessID: p.id,
		PID:       p.pid,
		State:     p.state,
		ExitCode:  p.code,
		Signal:    p.sig,
		OOMKilled: p.killed,
		Duration:  end.Sub(p.started),
	}
}

// forget frees what was kept for the result.
func (p *Process) forget() {
	for _, c := range p.captures() {
		c.forget()
	}
}

// killSession kills the members of a session: a shell at a terminal puts its
// jobs into groups of their own.
func killSession(sid int) {
	proc, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err == nil && pid > 1 && sessionOf(pid) == sid {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// sessionOf reads a process's session from /proc, 0 if there is none.
func sessionOf(pid int) int {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// pid (name) state ppid pgrp session, and the name may hold anything.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 4 {
		return 0
	}
	sid, _ := strconv.Atoi(fields[3])
	return sid
}
