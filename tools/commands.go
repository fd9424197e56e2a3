package tools

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"moorage/fsbridge"
)

const (
	waitDefault    = 30 * time.Second
	timeoutDefault = 600 * time.Second
	// answerTime is kept of CallTime for the way of the answer.
	answerTime = 500 * time.Millisecond
	// streamMax is the most bytes shown of stdout, and again of stderr: with
	// notices both are within ResultChars.
	streamMax = 18_000
	// The size of a terminal for which none is given, in characters.
	rowsDefault, colsDefault = 40, 120
)

func (s *Server) addCommands() {
	add(s, definition{
		name: "exec", long: true,
		description: "Run a shell line (command), or a program without a shell (argv); returns stdout, stderr and exit code. What outlives wait_seconds goes on in the background, by its process_id: follow, feed or stop it with process. Servers: wait_seconds 1. Programs that ask: stdin_open or tty true, then process write. Long output is cut to head and tail; all of it is at output_path.",
		hints:       hints{destructive: true, openWorld: true},
	}, s.exec)
	add(s, definition{
		name: "process", long: true,
		description: "Follow, feed or stop a command that exec started. read waits for its end, for wait_for or for the time, and returns only new output; write sends input, then reads; signal signals the whole process group, then reads; list shows all. Handles outlive this client and the server's restart.",
		hints:       hints{destructive: true, openWorld: true},
	}, s.process)
}

type execInput struct {
	Command        string            `json:"command,omitempty" doc:"Line for /bin/sh -c." min:"1"`
	Argv           []string          `json:"argv,omitempty" doc:"Program and its arguments." min:"1"`
	Cwd            string            `json:"cwd,omitempty" doc:"Directory to run in (default /data)."`
	Env            map[string]string `json:"env,omitempty" doc:"Extra environment variables."`
	Stdin          string            `json:"stdin,omitempty" doc:"Text for standard input."`
	User           string            `json:"user,omitempty" doc:"User or uid, also user:group (default root)."`
	WaitSeconds    *float64          `json:"wait_seconds,omitempty" doc:"How long to wait for its end." min:"0" max:"50" default:"30"`
	TimeoutSeconds *float64          `json:"timeout_seconds,omitempty" doc:"When to kill it." min:"0.1" max:"86400" default:"600"`
	StdinOpen      bool              `json:"stdin_open,omitempty" doc:"Keep stdin open for process write."`
	TTY            bool              `json:"tty,omitempty" doc:"Run on a terminal; stderr is then part of stdout."`
	Rows           int64             `json:"rows,omitempty" doc:"Height of the terminal." min:"1" max:"1000" default:"40"`
	Cols           int64             `json:"cols,omitempty" doc:"Width of the terminal." min:"1" max:"1000" default:"120"`
	ContainerID    string            `json:"container_id,omitempty" doc:"Container, else the current one."`
}

// request checks what the schema cannot.
func (in *execInput) request() (fsbridge.ExecRequest, error) {
	req := fsbridge.ExecRequest{
		Command: in.Command, Argv: in.Argv, Env: in.Env, User: in.User, MaxOutput: streamMax,
		Wait: seconds(in.WaitSeconds, waitDefault), Timeout: seconds(in.TimeoutSeconds, timeoutDefault),
	}
	if (in.Command == "") == (len(in.Argv) == 0) {
		return req, fail(invalidArgument, "", `exec takes either command, as {"command":"ls -la"}, or argv, as {"argv":["ls","-la"]}`)
	}
	if len(in.Argv) > 0 && in.Argv[0] == "" {
		return req, badArgument("argv.0", "", "the program's name or path")
	}
	if len(in.Stdin) > contentMax {
		return req, fail(tooLarge, "Write it to a file with fs_write and redirect that", "stdin has %d bytes, at most %d are taken", len(in.Stdin), contentMax)
	}
	if in.Cwd != "" {
		var err error
		if req.Cwd, err = parsePath("cwd", in.Cwd); err != nil {
			return req, err
		}
	}
	req.StdinOpen = in.StdinOpen
	if in.TTY {
		req.TTY = &fsbridge.WinSize{Rows: uint16(cmp.Or(in.Rows, rowsDefault)), Cols: uint16(cmp.Or(in.Cols, colsDefault))}
	} else if in.Rows > 0 || in.Cols > 0 {
		return req, fail(invalidArgument, "Set tty true, or leave them out", "rows and cols are of a terminal, and tty is not true")
	}
	return req, in.noNUL()
}

// noNUL refuses what no program can be given.
func (in *execInput) noNUL() error {
	named := map[string]string{"command": in.Command, "user": in.User}
	for i, a := range in.Argv {
		named[fmt.Sprintf("argv.%d", i)] = a
	}
	for k, v := range in.Env {
		named["env."+k] = v
		if k == "" || strings.ContainsAny(k, "=\x00") {
			return badArgument("env", k, "names of variables, which are not empty and hold no = and no NUL")
		}
	}
	for name, v := range named {
		if strings.ContainsRune(v, 0) {
			return badArgument(clip(name, 80), v, "text without NUL bytes")
		}
	}
	return nil
}

func seconds(s *float64, otherwise time.Duration) time.Duration {
	if s == nil {
		return otherwise
	}
	return time.Duration(*s * float64(time.Second))
}

// withinCall shortens a wait so that the answer is there before the call's time is
// up.
func withinCall(ctx context.Context, wait time.Duration) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return wait
	}
	return max(0, min(wait, time.Until(deadline)-answerTime))
}

type execFacts struct {
	where
	processState
}

// processState are the facts of a process, and of the output that is shown.
type processState struct {
	ProcessID   string `json:"process_id"`
	PID         int    `json:"pid"`
	State       string `json:"state"`
	ExitCode    *int   `json:"exit_code,omitempty"`
	Signal      string `json:"signal,omitempty"`
	OOMKilled   bool   `json:"oom_killed,omitempty"`
	LimitMet    string `json:"limit_met,omitempty"` // the container's, meanwhile: limitMemory, limitPIDs or limitBoth
	StdoutBytes int64  `json:"stdout_bytes"`
	StderrBytes int64  `json:"stderr_bytes"`
	Truncated   bool   `json:"truncated"`
	OutputPath  string `json:"output_path,omitempty"`
	StderrPath  string `json:"stderr_path,omitempty"`
	NextCursor  string `json:"next_cursor,omitempty"`
	DurationMS  int64  `json:"duration_ms"`
}

func (s *Server) exec(ctx context.Context, c *call, in execInput) (r reply[execFacts], err error) {
	req, err := in.request()
	if err != nil {
		return r, err
	}
	a, at, err := c.agent(ctx, in.ContainerID)
	if err != nil {
		return r, err
	}
	req.Wait = withinCall(ctx, req.Wait)
	c.progress.elapse(req.Wait, "running")
	res, out, err := a.Exec(ctx, req, []byte(in.Stdin))
	if err != nil {
		return r, err
	}
	r.facts = execFacts{at, stateOf(res)}
	stdout := stream{"stdout", out.StdoutHead, out.StdoutTail, res.StdoutBytes, res.StdoutPath}
	stderr := stream{"stderr", out.StderrHead, out.StderrTail, res.StderrBytes, res.StderrPath}
	r.say(stdout.text(&r.notices, &r.facts.Truncated))
	if res.StderrBytes > 0 {
		r.say("stderr:\n" + stderr.text(&r.notices, &r.facts.Truncated))
	}
	if n := spoolNotice(res); n != "" {
		r.note("%s", n)
	}
	if n := r.facts.limitNotice(); n != "" {
		r.note("%s", n)
	}
	r.note("%s", r.facts.ending(in))
	return r, nil
}
