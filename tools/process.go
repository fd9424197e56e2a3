package tools

import (
	"context"
	"fmt"
	"strings"
	"time"

	"moorage/fsbridge"
)

// followDefault is how long process waits when the caller does not say.
const followDefault = time.Second

// The actions of process.
const (
	actionList   = "list"
	actionRead   = "read"
	actionWrite  = "write"
	actionSignal = "signal"
)

type processInput struct {
	Action      string   `json:"action" doc:"What to do." enum:"list,read,write,signal"`
	ProcessID   string   `json:"process_id,omitempty" doc:"Handle that exec gave; not for list."`
	Cursor      string   `json:"cursor,omitempty" doc:"next_cursor to read on from (default after what was read last), 0 for all, or end."`
	WaitSeconds *float64 `json:"wait_seconds,omitempty" doc:"How long to wait for its end or wait_for." min:"0" max:"50" default:"1"`
	WaitFor     string   `json:"wait_for,omitempty" doc:"Wait only until new output matches this (RE2)."`
	Input       string   `json:"input,omitempty" doc:"With write: text for its stdin, with newline."`
	CloseStdin  bool     `json:"close_stdin,omitempty" doc:"With write: end its stdin."`
	Signal      string   `json:"signal,omitempty" doc:"With signal: such as INT or KILL (default TERM)."`
	ContainerID string   `json:"container_id,omitempty" doc:"Container, else the current one."`
}

// check refuses parameters that do not go with the action.
func (in *processInput) check() error {
	given := map[string]bool{
		"process_id": in.ProcessID != "", "cursor": in.Cursor != "", "wait_for": in.WaitFor != "",
		"input": in.Input != "", "close_stdin": in.CloseStdin, "signal": in.Signal != "", "wait_seconds": in.WaitSeconds != nil,
	}
	goes := map[string][]string{
		actionRead:   {"process_id", "cursor", "wait_seconds", "wait_for"},
		actionWrite:  {"process_id", "cursor", "wait_seconds", "wait_for", "input", "close_stdin"},
		actionSignal: {"process_id", "cursor", "wait_seconds", "wait_for", "signal"},
	}[in.Action]
	for _, name := range goes {
		given[name] = false
	}
	var wrong []string
	for _, name := range []string{"process_id", "cursor", "wait_seconds", "wait_for", "input", "close_stdin", "signal"} {
		if given[name] {
			wrong = append(wrong, name+" does not go with action "+in.Action)
		}
	}
	switch {
	case len(wrong) > 0:
		return fail(invalidArgument, "Input and close_stdin go with write, signal with signal", "%s", strings.Join(wrong, "; "))
	case in.Action != actionList && in.ProcessID == "":
		return fail(invalidArgument, "process with action list shows them", "process_id is missing, takes the handle that exec gave")
	case in.Action == actionWrite && in.Input == "" && !in.CloseStdin:
		return fail(invalidArgument, "", "action write takes input, close_stdin, or both")
	case len(in.Input) > contentMax:
		return fail(tooLarge, "Write it to a file with fs_write and have the program read that", "input has %d bytes, at most %d are taken", len(in.Input), contentMax)
	}
	return nil
}

func (in *processInput) request() fsbridge.FollowRequest {
	req := fsbridge.FollowRequest{
		ProcessID: in.ProcessID, Cursor: in.Cursor, WaitFor: in.WaitFor, MaxOutput: streamMax,
		Wait: seconds(in.WaitSeconds, followDefault), Close: in.CloseStdin, Signal: in.Signal,
	}
	if in.Action == actionSignal && req.Signal == "" {
		req.Signal = "TERM"
	}
	return req
}

// processFacts are those of the process that was followed, or the list.
type processFacts struct {
	where
	*processState
	Matched   *bool           `json:"matched,omitempty"`
	More      bool            `json:"more,omitempty"`
	Processes []processListed `json:"processes,omitzero" schema:"-"`
}

type processListed struct {
	ProcessID  string    `json:"process_id"`
	PID        int       `json:"pid"`
	State      string    `json:"state"`
	ExitCode   *int      `json:"exit_code,omitempty"`
	Signal     string    `json:"signal,omitempty"`
	Command    string    `json:"command"`
	StartedAt  time.Time `json:"started_at"`
	DurationMS int64     `json:"duration_ms"`
	Output     int64     `json:"output_bytes"`
	StdinOpen  bool      `json:"stdin_open,omitempty"`
}

func (s *Server) process(ctx context.Context, c *call, in processInput) (r reply[processFacts], err error) {
	if err := in.check(); err != nil {
		return r, err
	}
	if in.Action == actionList {
		return s.listProcesses(ctx, c, in)
	}
	req := in.request()
	a, at, err := c.agent(ctx, in.ContainerID)
	if err != nil {
		return r, err
	}
	req.Wait = withinCall(ctx, req.Wait)
	c.progress.elapse(req.Wait, "waiting")
	res, out, err := a.Follow(ctx, req, []byte(in.Input))
	if err != nil {
		return r, err
	}
	state := stateOf(res.ExecResult)
	r.facts.where, r.facts.processState = at, &state
	r.facts.More, r.facts.Truncated = res.More, res.More || res.SpoolCut || res.StdoutLost+res.StderrLost > 0
	if in.WaitFor != "" {
		r.facts.Matched = &res.Matched
	}
	r.say(newOutput("stdout", out.StdoutHead, res.More, &r.notices))
	if len(out.StderrHead) > 0 {
		r.say("stderr:\n" + newOutput("stderr", out.StderrHead, res.More, &r.notices))
	}
	for _, n := range r.facts.followed(&res, in.WaitFor) {
		r.note("%s", n)
	}
	return r, nil
}

// newOutput is new output as text.
func newOutput(name string, b []byte, more bool, notices *[]string) string {
	text, replaced := valid(b, false, more)
	if replaced {
		*notices = append(*notices, name+" is not all UTF-8: other bytes are shown as U+FFFD")
	}
	return text
}

// followed says where the process is and how to go on.
func (f *processFacts) followed(res *fsbridge.FollowResult, waitFor string) (notices []string) {
	add := func(format string, args ...any) { notices = append(notices, fmt.Sprintf(format, args...)) }
	if lost := res.StdoutLost + res.StderrLost; lost > 0 {
		why := fmt.Sprintf("a stream's first %d and its newest are", fsbridge.SpoolMax)
		if res.SpoolError != "" {
			why = clean(res.SpoolError, fsbridge.SpoolErrorMax)
		}
		add("%s before this are not kept: %s", count(lost, "byte"), why)
	}
	if n := f.limitNotice(); n != "" {
		add("%s", n)
	}
	text := f.end(0)
	if f.State == string(fsbridge.Running) {
		text = fmt.Sprintf("running for %v", f.duration())
	}
	if res.StdoutHead+res.StderrHead == 0 {
		text = "(no new output) " + text
	}
	if waitFor != "" && !res.Matched {
		text += "; nothing matched wait_for " + brief(waitFor)
	}
	if f.More {
		text += "; there is more output: process read again"
	}
	add("%s; next_cursor %s", text, f.NextCursor)
	return notices
}

func (s *Server) listProcesses(ctx context.Context, c *call, in processInput) (r reply[processFacts], err error) {
	res, at, err := reading(ctx, c, in.ContainerID, func(a *fsbridge.Client) (fsbridge.ProcessesResult, error) {
		return a.Processes(ctx)
	})
	if err != nil {
		return r, err
	}
	r.facts.where = at
	r.facts.Processes = []processListed{}
	var b strings.Builder
	for i := range res.Processes {
		p := &res.Processes[i]
		listed := listedProcess(p)
		line := listed.text()
		if b.Len()+len(line) > ResultChars-1000 {
			break
		}
		r.facts.Processes = append(r.facts.Processes, listed)
		b.WriteString(line + "\n")
	}
	r.say(strings.TrimSuffix(b.String(), "\n"))
	r.note("%d of %s; a finished one is kept for an hour or until 256 newer ones have finished", len(r.facts.Processes), processes(res.Total))
	return r, nil
}

func processes(n int) string {
	if n == 1 {
		return "1 process"
	}
	return fmt.Sprintf("%d processes", n)
}

func listedProcess(p *fsbridge.ProcessInfo) processListed {
	return processListed{
		ProcessID: clean(p.ProcessID, 100), PID: p.PID, State: clean(string(p.State), 40), ExitCode: p.ExitCode,
		Signal: clean(p.Signal, 40), Command: clean(p.Command, fsbridge.CommandMax), StartedAt: p.Started.UTC(),
		DurationMS: p.Duration.Milliseconds(), Output: p.StdoutBytes + p.StderrBytes, StdinOpen: p.StdinOpen,
	}
}

func (p *processListed) text() string {
	state := p.State
	switch {
	case p.ExitCode != nil:
		state = fmt.Sprintf("exit code %d", *p.ExitCode)
	case p.Signal != "":
		state += " by " + p.Signal
	}
	return fmt.Sprintf("%s  %s  pid %d  started %s, %v  %s of output  %s", p.ProcessID, state, p.PID,
		stamp(p.StartedAt), time.Duration(p.DurationMS)*time.Millisecond, count(p.Output, "byte"), p.Command)
}
