package tools

import (
	"fmt"
	"time"

	"moorage/fsbridge"
)

func factsOfExec(res fsbridge.ExecResult, at where) execFacts {
	f := execFacts{
		where: at, ProcessID: clean(res.ProcessID, 100), PID: res.PID, State: clean(string(res.State), 40),
		ExitCode: res.ExitCode, Signal: clean(res.Signal, 40), OOMKilled: res.OOMKilled,
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

// ending says how the command ended, or that it has not, so that the text can
// be understood without the facts.
func (f *execFacts) ending(in execInput) string {
	text := ""
	if f.StdoutBytes == 0 && f.StderrBytes == 0 {
		text = "(no output) "
	}
	switch fsbridge.ProcessState(f.State) {
	case fsbridge.Running:
		text += fmt.Sprintf("still running after %v: process_id %s, pid %d; its output so far and later: fs_read %s; to stop it: exec kill -- -%d",
			time.Duration(f.DurationMS)*time.Millisecond, f.ProcessID, f.PID, f.OutputPath, f.PID)
	case fsbridge.TimedOut:
		text += fmt.Sprintf("killed, as it ran longer than timeout_seconds %v", seconds(in.TimeoutSeconds, timeoutDefault))
	case fsbridge.Signaled:
		text += "ended by " + f.Signal
	default:
		code := -1
		if f.ExitCode != nil {
			code = *f.ExitCode
		}
		text += fmt.Sprintf("exit code %d", code)
	}
	if f.OOMKilled {
		text += "; out of memory: the container's memory limit was reached"
	}
	return text
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
		*notices = append(*notices, fmt.Sprintf("%s is not all UTF-8: other bytes are shown as U+FFFD; exact: fs_read %s with encoding base64", o.name, show(o.path)))
	}
	if !more {
		return head + tail
	}
	*cut = true
	left := o.written - end
	*notices = append(*notices, fmt.Sprintf("%s is cut: %s of %d left out; they are in fs_read %s with byte_offset %d", o.name, count(left, "byte"), o.written, show(o.path), len(o.head)))
	return fmt.Sprintf("%s\n... %s left out ...\n%s", head, count(left, "byte"), tail)
}
