package fsbridge

import "time"

// Limits of processes.
const (
	// ProcessesMax is the most processes that one list names.
	ProcessesMax = 1300
	// CommandMax is the most bytes of a command in a list.
	CommandMax = 200
	// InputMax is the most bytes of input in one Follow. At most StdinMax bytes
	// may wait until a process reads them.
	InputMax = MaxData
	// WaitForMax is the most bytes of a WaitFor.
	WaitForMax = 4096
)

// ExecRequest starts a command in a process group of its own. The data is its
// standard input, which is closed after it.
type ExecRequest struct {
	Command string            `json:"command,omitempty"` // a line for /bin/sh -c
	Argv    []string          `json:"argv,omitempty"`    // or a program and its arguments
	Cwd     Path              `json:"cwd,omitempty"`     // default: the data mount
	Env     map[string]string `json:"env,omitempty"`     // added to the container's
	User    string            `json:"user,omitempty"`    // name, uid, name:group or uid:gid; default root
	TTY     *WinSize          `json:"tty,omitempty"`     // a pseudo-terminal of this size; stderr is then part of stdout
	Wait    time.Duration     `json:"wait,omitempty"`    // how long to wait for the end, at most WaitMax
	Timeout time.Duration     `json:"timeout,omitempty"` // then the process group is killed; 0 means TimeoutMax
	// MaxOutput is the most bytes of stdout, and again of stderr, in the
	// result: the head and the tail when there is more. At most OutputMax/2.
	// 0 means that.
	MaxOutput int `json:"max_output,omitempty"`
	// StdinOpen keeps standard input open after the data, for Follow to write to.
	// A terminal's stays open without it too, but then its end (EOT) is typed
	// after data.
	StdinOpen bool `json:"stdin_open,omitempty"`
	// Stream says that stdin follows as a stream instead of the frame's data.
	// The Client sets it.
	Stream bool `json:"stream,omitempty"`
}

// Streamed reports whether a stream follows the request.
func (r *ExecRequest) Streamed() bool { return r.Stream }

// WinSize is a terminal's size in characters.
type WinSize struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// ProcessState says where a process is in its life.
type ProcessState string

// The states of a process. All but Running are final.
const (
	Running  ProcessState = "running"
	Exited   ProcessState = "exited"    // by itself; ExitCode is set
	Signaled ProcessState = "signaled"  // by a signal; Signal is set
	TimedOut ProcessState = "timed_out" // killed because its Timeout passed
)

// ExecResult tells about a process: its end, or that it still runs.
type ExecResult struct {
	ProcessID string        `json:"process_id"`
	PID       int           `json:"pid"` // in the container's pid namespace
	State     ProcessState  `json:"state"`
	ExitCode  *int          `json:"exit_code,omitempty"`
	Signal    string        `json:"signal,omitempty"` // "SIGKILL"
	OOMKilled bool          `json:"oom_killed,omitempty"`
	Duration  time.Duration `json:"duration"`
	// While it ran, the kernel killed a process of the container for want of
	// memory, or refused a fork at the limit of processes: often one of its own
	// children, of which its exit code need not tell.
	MemoryMet bool `json:"memory_met,omitempty"`
	PIDsMet   bool `json:"pids_met,omitempty"`

	StdoutBytes int64 `json:"stdout_bytes"` // written so far
	StderrBytes int64 `json:"stderr_bytes"`
	// The data holds stdout's head, stdout's tail, stderr's head, stderr's
	// tail, of these lengths. A tail is there only when bytes were left out
	// between it and the head.
	StdoutHead int `json:"stdout_head,omitempty"`
	StdoutTail int `json:"stdout_tail,omitempty"`
	StderrHead int `json:"stderr_head,omitempty"`
	StderrTail int `json:"stderr_tail,omitempty"`

	StdoutPath Path   `json:"stdout_path,omitempty"` // the spooled stdout, at most SpoolMax; "" of one that has ended without any
	StderrPath Path   `json:"stderr_path,omitempty"` // "" if there is none
	SpoolCut   bool   `json:"spool_cut,omitempty"`   // more than SpoolMax was written; the rest is lost
	NextCursor string `json:"next_cursor"`           // where output after this begins
	// SpoolError: a spool file could not be made or takes no more, as a full disk
	// does not: the cause in words, at most SpoolErrorMax bytes. The file, if
	// there is one, lacks the end of the output.
	SpoolError string `json:"spool_error,omitempty"`
}

// FollowRequest goes on with a process: its data, if any, at most InputMax, is
// written to standard input, which Close then closes; Signal is sent; and then
// new output is waited for and returned. What is wrong with any of them is found
// before the first is done.
type FollowRequest struct {
	ProcessID string `json:"process_id"`
	// Cursor is where output begins that is new: a NextCursor, "0" for the
	// beginning of all, "end" for what comes after this request. "" goes on after
	// what the last Exec or Follow of the process has returned.
	Cursor string        `json:"cursor,omitempty"`
	Wait   time.Duration `json:"wait,omitempty"` // how long to wait for its end or WaitFor, at most WaitMax
	// WaitFor is an RE2, looked for in new stdout and in new stderr, and waited for
	// until the process has ended and nothing holds its output; "" means: wait for
	// the end. ^ and $ match at the edges of lines too, and $ at the end of
	// what is there, as of a prompt. Of a match over several lines, or in a line
	// longer than that, at most 16 KiB are seen at once. On a terminal it may also
	// match what is left without escape sequences.
	WaitFor   string `json:"wait_for,omitempty"`
	MaxOutput int    `json:"max_output,omitempty"` // most bytes of each stream, 4 at least; 0 or over OutputMax/2 means that
	Close     bool   `json:"close,omitempty"`      // on a terminal: types EOT
	// Signal is "SIGTERM", "TERM" or "15". It goes to the process group, on a
	// terminal also to the foreground group, as Ctrl-C would; SIGKILL, and any
	// after the process has ended, also to all its descendants that can be found.
	Signal string `json:"signal,omitempty"`
}

// FollowResult tells about a process, as ExecResult does. The data holds new
// stdout and new stderr, from where the cursor was: StdoutHead and StderrHead
// bytes, without tails. Each goes on to the end of what is there or to MaxOutput,
// but not into the middle of a character if that can be avoided.
type FollowResult struct {
	ExecResult
	Matched    bool  `json:"matched,omitempty"` // WaitFor was found
	More       bool  `json:"more,omitempty"`    // there is more at NextCursor already
	StdoutFrom int64 `json:"stdout_from"`       // which byte of stdout the data begins with
	StderrFrom int64 `json:"stderr_from"`
	// Lost is how many bytes between the cursor and what is returned are no
	// longer, or never were, kept. Of a stream that is longer than SpoolMax the
	// newest 64 KiB are kept besides, or 4 KiB when many are.
	StdoutLost int64 `json:"stdout_lost,omitempty"`
	StderrLost int64 `json:"stderr_lost,omitempty"`
}

// ProcessesResult lists the processes whose handles are kept: those that run,
// then the finished ones, each the newest first.
type ProcessesResult struct {
	Processes []ProcessInfo `json:"processes"` // at most ProcessesMax
	Total     int           `json:"total"`
}

// ProcessInfo is one process of a ProcessesResult. Its output is left out.
type ProcessInfo struct {
	ExecResult
	Command   string    `json:"command"` // the line, or argv as a shell would take it; at most CommandMax bytes
	Started   time.Time `json:"started"`
	TTY       bool      `json:"tty,omitempty"`
	StdinOpen bool      `json:"stdin_open,omitempty"` // Follow may write to it
}
