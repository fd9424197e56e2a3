package tools

import (
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
)

func (s *Server) addCommands() {
	add(s, definition{
		name: "exec", long: true,
		description: "Run a command in the container and wait for it: a shell line by command, or a program and its arguments by argv (no shell). Returns stdout, stderr and the exit code; one other than 0 is a result, not an error. A command that outlives wait_seconds goes on in the background: read its output at output_path with fs_read, stop it with exec kill -- -PID. Long output is shown by head and tail, the whole is at output_path. Start servers with wait_seconds 0 or 1.",
		hints:       hints{destructive: true, openWorld: true},
	}, s.exec)
}

type execInput struct {
	Command        string            `json:"command,omitempty" doc:"Line for /bin/sh -c." min:"1"`
	Argv           []string          `json:"argv,omitempty" doc:"Program and arguments, instead of command." min:"1"`
	Cwd            string            `json:"cwd,omitempty" doc:"Directory to run in." default:"\"/data\""`
	Env            map[string]string `json:"env,omitempty" doc:"Variables to add to the container's." max:"100"`
	Stdin          string            `json:"stdin,omitempty" doc:"Text for its standard input, which then ends."`
	User           string            `json:"user,omitempty" doc:"User name or uid, also as user:group (default root)." max:"128"`
	WaitSeconds    *float64          `json:"wait_seconds,omitempty" doc:"How long to wait for its end." min:"0" max:"50" default:"30"`
	TimeoutSeconds *float64          `json:"timeout_seconds,omitempty" doc:"After this it is killed, in the background too." min:"0.1" max:"86400" default:"600"`
	TTY            bool              `json:"tty,omitempty" doc:"Run it on a terminal; stderr is then in stdout." default:"false"`
	ContainerID    string            `json:"container_id,omitempty" doc:"Container, if not the current one."`
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
	if in.TTY {
		req.TTY = &fsbridge.WinSize{Rows: 40, Cols: 120}
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
		named["env."+k] = k + v
		if k == "" || strings.Contains(k, "=") {
			return badArgument("env", k, "names of variables, which are not empty and hold no =")
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

type execFacts struct {
	where
	ProcessID   string `json:"process_id"`
	PID         int    `json:"pid"`
	State       string `json:"state"`
	ExitCode    *int   `json:"exit_code,omitempty"`
	Signal      string `json:"signal,omitempty"`
	OOMKilled   bool   `json:"oom_killed,omitempty"`
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
	if deadline, ok := ctx.Deadline(); ok {
		req.Wait = max(0, min(req.Wait, time.Until(deadline)-answerTime))
	}
	c.progress.elapse(req.Wait, "running")
	res, out, err := a.Exec(ctx, req, []byte(in.Stdin))
	if err != nil {
		return r, err
	}
	r.facts = factsOfExec(res, at)
	stdout := stream{"stdout", out.StdoutHead, out.StdoutTail, res.StdoutBytes, res.StdoutPath}
	stderr := stream{"stderr", out.StderrHead, out.StderrTail, res.StderrBytes, res.StderrPath}
	r.say(stdout.text(&r.notices, &r.facts.Truncated))
	if res.StderrBytes > 0 {
		r.say("stderr:\n" + stderr.text(&r.notices, &r.facts.Truncated))
	}
	if res.SpoolCut {
		r.note("more than %d bytes were written to one stream; what came after is lost", fsbridge.SpoolMax)
	}
	r.note("%s", r.facts.ending(in))
	return r, nil
}
