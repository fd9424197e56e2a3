package tools

import (
	"fmt"
	"time"

	"moorage/fsbridge"
)

func stateOf(res fsbridge.ExecResult) processState {
	f := processState{
		ProcessID: clean(res.ProcessID, 100), PID: res.PID, State: clean(string(res.State), 40),
		ExitCode: res.ExitCode, Signal: clean(res.Signal, 40), OOMKilled: res.OOMKilled,
		LimitMet:    limitMet(&res),
		StdoutBytes: res.StdoutBytes, StderrBytes: res.StderrBytes, Truncated: res.SpoolCut,
		NextCursor: clean(res.NextCursor, 200), DurationMS: res.Duration.Milliseconds(),
	}
	if res.StdoutPath != "" {
		f.OutputPath = show(res.StdoutPath)
	}
	if res.StderrPath != "" {
		f.StderrPath = show(res.StderrPath)
	}
	return f
}

// spoolNotice says what the output files lack, and whether that is shown; "" if
// they lack nothing.
func spoolNotice(res fsbridge.ExecResult) string {
	if res.SpoolError == "" {
		if res.SpoolCut {
			return fmt.Sprintf("more than %d bytes were written to one stream; its file has the first of them, and the newest 64 KiB are read by process", fsbridge.SpoolMax)
		}
		return ""
	}
	file, shown := "the output file is incomplete", "all of the output"
	if res.StdoutPath == "" {
		file = "there is no output file"
	}
	if res.State == fsbridge.Running {
		shown += " so far"
	}
	if res.StdoutBytes > int64(res.StdoutHead+res.StdoutTail) || res.StderrBytes > int64(res.StderrHead+res.StderrTail) {
		shown = "its beginning and its end; of what is left out, what the file lacks is lost"
	}
	return fmt.Sprintf("%s: %s; what is shown here is %s", file, clean(res.SpoolError, fsbridge.SpoolErrorMax), shown)
}

// ending says how the command ended, or that it has not, so that the text can
// be understood without the facts.
func (f *processState) ending(in execInput) string {
	text := ""
	if f.StdoutBytes == 0 && f.StderrBytes == 0 {
		text = "(no output) "
	}
	if f.State == string(fsbridge.Running) {
		return text + fmt.Sprintf("still running after %v: process_id %s, pid %d; process with action read shows what comes, signal stops it",
			f.duration(), f.ProcessID, f.PID)
	}
	return text + f.end(seconds(in.TimeoutSeconds, timeoutDefault))
}

func (f *processState) duration() time.Duration {
	return time.Duration(f.DurationMS) * time.Millisecond
}

// end says how a process has ended. timeout is 0 where it is not known.
func (f *processState) end(timeout time.Duration) (text string) {
	switch fsbridge.ProcessState(f.State) {
	case fsbridge.TimedOut:
		text = "killed, as it ran longer than timeout_seconds"
		if timeout > 0 {
			text += fmt.Sprintf(" %v", timeout)
		}
	case fsbridge.Signaled:
		text = "ended by " + f.Signal
	default:
		code := -1
		if f.ExitCode != nil {
			code = *f.ExitCode
		}
		text = fmt.Sprintf("exit code %d", code)
	}
	if f.OOMKilled {
		text += "; out of memory: the container's memory limit was reached"
	}
	return text
}

// Limits of the container that may be met while a command runs.
const (
	limitMemory = "memory"
	limitPIDs   = "pids"
	limitBoth   = "memory, pids"
)

func limitMet(res *fsbridge.ExecResult) string {
	switch {
	case res.MemoryMet && res.PIDsMet:
		return limitBoth
	case res.MemoryMet:
		return limitMemory
	case res.PIDsMet:
		return limitPIDs
	}
	return ""
}

// limitNotice says which limit was met, as far as the end does not; "" if none was.
func (f *processState) limitNotice() string {
	const memory = "meanwhile the container's memory limit was reached and a process in it killed for that"
	const pids = "meanwhile the container's pids limit was reached: new processes or threads were refused"
	switch {
	case f.LimitMet == limitBoth && !f.OOMKilled:
		return memory + "; " + pids
	case f.LimitMet == limitMemory && !f.OOMKilled:
		return memory
	case f.LimitMet == limitPIDs, f.LimitMet == limitBoth:
		return pids
	}
	return ""
}

// stream is what came back of one output stream. There is a tail when bytes
// were left out between it and the head.
type stream struct {
	name       string
	head, tail []byte
	written    int64
	path       fsbridge.Path
}

// text puts head and tail together. What is cut or replaced becomes a notice.
func (o *stream) text(notices *[]string, cut *bool) string {
	end := int64(len(o.head) + len(o.tail))
	more := o.written > end
	head, badHead := valid(o.head, false, more)
	tail, badTail := valid(o.tail, more, false)
	if badHead || badTail {
		exact := ""
		if o.path != "" {
			exact = fmt.Sprintf("; exact: fs_read %s with encoding base64", show(o.path))
		}
		*notices = append(*notices, o.name+" is not all UTF-8: other bytes are shown as U+FFFD"+exact)
	}
	if !more {
		return head + tail
	}
	*cut = true
	left := o.written - end
	rest := "they are lost, as there is no output file"
	if o.path != "" {
		rest = fmt.Sprintf("to read on: fs_read %s with byte_offset %d", show(o.path), len(o.head))
	}
	*notices = append(*notices, fmt.Sprintf("%s is cut: %s of %d left out; %s", o.name, count(left, "byte"), o.written, rest))
	return fmt.Sprintf("%s\n... %s left out ...\n%s", head, count(left, "byte"), tail)
}
