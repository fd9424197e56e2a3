package tools

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"moorage/fsbridge"
	"moorage/sandbox"
)

// code classes a failure for the model that reads it.
type code string

// The codes of the contract.
const (
	invalidArgument  code = "invalid_argument"
	notFound         code = "not_found"
	alreadyExists    code = "already_exists"
	conflict         code = "conflict"
	notRunning       code = "not_running"
	permissionDenied code = "permission_denied"
	tooLarge         code = "too_large"
	limitExceeded    code = "limit_exceeded"
	unsupported      code = "unsupported"
	imageUnavailable code = "image_unavailable"
	timedOut         code = "timeout"
	cancelled        code = "cancelled"
	unavailable      code = "unavailable"
	internal         code = "internal"
)

// errorMax is the most bytes of an error's text.
const errorMax = 3900

// failure is an error as the client reads it: "code: cause. Hint."
type failure struct {
	code  code
	cause string
	hint  string // a sentence that says what to do; may be empty
	err   error  // what is behind it, for the log; may be nil

	passages []fsbridge.Passage // of a file, shown after the hint
}

func (f *failure) Error() string {
	text := string(f.code) + ": " + strings.TrimSuffix(clean(f.cause, errorMax-600), ".") + "."
	if f.hint != "" {
		text += " " + strings.TrimSuffix(clean(f.hint, 500), ".") + "."
	}
	return text + numbered(f.passages, errorMax-len(text))
}

// numbered writes passages with their lines' numbers, as many lines as fit in
// max bytes.
func numbered(passages []fsbridge.Passage, max int) string {
	var b strings.Builder
	for i, p := range passages {
		if i > 0 && strings.Contains(p.Text, "\n") {
			max -= 3
			b.WriteString("\n--")
		}
		n := p.Line
		for text := range strings.Lines(p.Text) {
			line := fmt.Sprintf("\n%6d: %s", n, clip(cleanLine(strings.TrimRight(text, "\r\n")), 200))
			if b.Len()+len(line) > max-4 {
				return b.String() + "\n..."
			}
			b.WriteString(line)
			n++
		}
	}
	return b.String()
}

func (f *failure) Unwrap() error { return f.err }

// fail makes an error that the model can mend.
func fail(c code, hint, format string, args ...any) *failure {
	return &failure{code: c, cause: fmt.Sprintf(format, args...), hint: hint}
}

// badArgument says of one parameter what was seen and what it takes.
func badArgument(param string, seen any, takes string) *failure {
	return fail(invalidArgument, "", "%s: got %s, takes %s", param, brief(seen), takes)
}

// noContainer is the answer for a container that does not exist or belongs to
// another bot: the same to the byte.
func noContainer(id string) *failure {
	if id == "" {
		return fail(notFound, "Make one with create_container", "you have no container")
	}
	return fail(notFound, "list_containers shows yours; create_container makes one", "container %s does not exist", brief(id))
}

// reference is the word by which an internal error is found in the log.
func reference() string {
	var b [4]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// explain turns any error of a call into the one that is shown.
func explain(ctx context.Context, err error, c *call) *failure {
	var f *failure
	var inside *fsbridge.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, sandbox.ErrImagePending):
		return &failure{code: timedOut, cause: "the image is still being pulled, which goes on", hint: "Call " + c.tool + " again with the same arguments in a while", err: err}
	case errors.Is(err, sandbox.ErrPending):
		return &failure{code: timedOut, cause: hidePaths(err.Error()), hint: pendingHint(c.tool), err: err}
	case ctx.Err() != nil:
		return ended(ctx, err)
	case errors.As(err, &inside):
		return explainInside(inside)
	case errors.Is(err, fsbridge.ErrClosed):
		return &failure{code: unavailable, cause: "the connection to the container ended before the answer came; what was asked may or may not have been done", hint: "Check the state with a reading tool, then call again", err: err}
	case errors.Is(err, sandbox.ErrNoSnapshot):
		return &failure{code: notFound, cause: hidePaths(err.Error()), hint: "list_snapshots shows yours; create_snapshot takes one", err: err}
	case errors.Is(err, sandbox.ErrNotFound):
		return noContainer(c.containerName())
	}
	for _, s := range sentinelCodes {
		if errors.Is(err, s.is) {
			return &failure{code: s.code, cause: hidePaths(err.Error()), hint: s.hint, err: err}
		}
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, sandbox.ErrNoSpace) {
		return &failure{code: limitExceeded, cause: "the server's disk is full; nothing was changed", hint: "Delete snapshots, files or containers that are not needed, or tell the operator", err: err}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &failure{code: timedOut, cause: "the container did not answer in time", hint: "Call again; list_containers shows its state", err: err}
	}
	return hidden(err)
}

var sentinelCodes = []struct {
	is   error
	code code
	hint string
}{
	{sandbox.ErrInvalid, invalidArgument, ""},
	{fsbridge.ErrInvalid, invalidArgument, ""},
	{fsbridge.ErrTooLarge, tooLarge, "Send it in pieces"},
	{fsbridge.ErrVersion, unavailable, "Stop the container with stop_container, then call again"},
	{sandbox.ErrAlreadyExists, alreadyExists, "Leave out what differs to use it as it is, or choose another container_id"},
	{sandbox.ErrConflict, conflict, ""},
	{sandbox.ErrLimit, limitExceeded, ""},
	{sandbox.ErrImage, imageUnavailable, "Check the image's name, or leave image out for the default one"},
	{sandbox.ErrUnsupported, unsupported, ""},
	{sandbox.ErrNotRunning, notRunning, "Call again: a call that needs a container starts it"},
	{sandbox.ErrUnavailable, unavailable, "Call again; if it stays so, make another container with create_container"},
}

// pendingHint is how to see whether what goes on without its call is done.
func pendingHint(tool string) string {
	if tool == "create_container" {
		return "list_containers shows the container when it is made"
	}
	return "list_snapshots shows when it is done"
}

// ended is a call that was cancelled or took too long.
func ended(ctx context.Context, err error) *failure {
	if errors.Is(context.Cause(ctx), errCallTime) {
		return &failure{code: timedOut, cause: "the call took too long", hint: "What it began may go on; check with a reading tool before you call again", err: err}
	}
	return &failure{code: cancelled, cause: "the call was cancelled", hint: "", err: err}
}

// hidden is an error that a model cannot mend and must not see.
func hidden(err error) *failure {
	ref := reference()
	return &failure{code: internal, cause: "the server could not carry this out; reference " + ref, hint: "Call again; if it stays so, tell the operator the reference", err: fmt.Errorf("reference %s: %w", ref, err)}
}

// explainInside words an error from inside a container.
func explainInside(e *fsbridge.Error) *failure {
	path := show(e.Path)
	f := &failure{err: e}
	f.code, f.cause, f.hint = insideCode(e, path)
	f.passages = e.Passages
	switch {
	case errors.Is(e, fs.ErrNotExist) && e.Parent != "":
		if f.hint = missingHint(e); e.Op == fsbridge.OpPatch.String() {
			f.hint += "; a file that the patch makes has --- /dev/null as its old name, a rename the lines rename from and rename to"
		}
	case f.code == alreadyExists && e.Op == fsbridge.OpPatch.String():
		f.hint = "Change what is there by hunks with --- a/FILE and +++ b/FILE, or delete it before"
	case e.Code == fsbridge.CodeConflict && e.Op == fsbridge.OpPatch.String():
		f.hint = "Read the file again and make the patch anew"
	case e.Code == fsbridge.CodeConflict && e.Revision == "":
		f.cause, f.hint = path+" does not exist", `Call again with if_revision "" to make it`
	case e.Code == fsbridge.CodeConflict:
		f.cause = fmt.Sprintf("%s has changed: its revision is now %s", path, clean(e.Revision, 100))
		f.hint = "Read it again, and give that revision as if_revision"
	}
	return f
}

// insideCode is the code, cause and hint by the agent's code, then by errno.
func insideCode(e *fsbridge.Error, path string) (code, string, string) {
	cause := clean(e.Message, 1000)
	if e.Path != "" {
		cause = e.Op + " " + path + ": " + cause
	}
	switch e.Code {
	case fsbridge.CodeInvalid:
		return invalidArgument, cause, ""
	case fsbridge.CodeConflict:
		return conflict, cause, ""
	case fsbridge.CodeIrregular:
		return unsupported, cause, "Only regular files are read and written; use exec for pipes, sockets and devices"
	case fsbridge.CodeTooLarge:
		return tooLarge, cause, hintOf(e.Errno, "")
	case fsbridge.CodeLimit:
		return limitExceeded, cause, hintOf(e.Errno, "Stop processes or free space in the container, or make one with other limits")
	case fsbridge.CodeNoShell:
		return unsupported, "the image has no /bin/sh, which command needs", "Give argv instead, as [\"/path/of/program\",\"argument\"]"
	case fsbridge.CodeCancelled:
		return cancelled, "the call was cancelled", ""
	case fsbridge.CodeProcess:
		return notFound, cause, "process with action list shows what there is"
	case fsbridge.CodeMount:
		return permissionDenied, cause, "Mount points stay; delete or move what is in them"
	case fsbridge.CodeNoMatch, fsbridge.CodeAmbiguous:
		return explainMatch(e, cause)
	}
	for _, m := range errnoCodes {
		if e.Errno == m.errno {
			return m.code, cause, m.hint
		}
	}
	if e.Errno != 0 {
		return unsupported, cause, ""
	}
	return unavailable, cause, "Call again"
}

// hintOf is the hint that goes with an errno, or another if there is none.
func hintOf(errno syscall.Errno, otherwise string) string {
	for _, m := range errnoCodes {
		if m.errno == errno && m.hint != "" {
			return m.hint
		}
	}
	return otherwise
}

// explainMatch is insideCode for a text or a hunk that is not found as it should
// be. What is found instead follows as passages.
func explainMatch(e *fsbridge.Error, cause string) (code, string, string) {
	patch := e.Op == fsbridge.OpPatch.String()
	switch {
	case patch && e.Code == fsbridge.CodeAmbiguous:
		return invalidArgument, cause, ""
	case patch:
		return conflict, cause, "Read the file again and make the patch anew"
	case e.Code == fsbridge.CodeAmbiguous:
		return invalidArgument, cause, "Give old_text with more of what is around the one that is meant, or set replace_all"
	}
	return notFound, cause, "Copy old_text as it stands in the file"
}

var errnoCodes = []struct {
	errno syscall.Errno
	code  code
	hint  string
}{
	{syscall.ENOENT, notFound, ""},
	{syscall.EISDIR, invalidArgument, "List it with fs_list"},
	{syscall.ENOTDIR, invalidArgument, "A part of the path is a file and not a directory"},
	{syscall.ELOOP, invalidArgument, "Its symbolic links lead in a circle"},
	{syscall.ENAMETOOLONG, invalidArgument, "A name has at most 255 bytes, a path 4095"},
	{syscall.EACCES, permissionDenied, ""},
	{syscall.EPERM, permissionDenied, ""},
	{syscall.EROFS, permissionDenied, "That file system is read-only"},
	{syscall.EEXIST, alreadyExists, ""},
	{syscall.ENOTEMPTY, conflict, ""},
	{syscall.EBUSY, conflict, ""},
	{syscall.ETXTBSY, conflict, "It is a program that runs; stop it first"},
	{syscall.EFBIG, tooLarge, ""},
	{syscall.E2BIG, tooLarge, "Give the data by stdin or a file instead"},
	{syscall.ENOSPC, limitExceeded, "The disk is full; delete files that are not needed"},
	{syscall.EDQUOT, limitExceeded, "The disk quota is used up; delete files that are not needed"},
	{syscall.ENOMEM, limitExceeded, "The container's memory limit is reached"},
	{syscall.EAGAIN, limitExceeded, "The container's process limit is reached; stop processes"},
	{syscall.EMFILE, limitExceeded, "Call again"},
	{syscall.ENFILE, limitExceeded, "Call again"},
	{syscall.EIO, unavailable, "Call again"},
	{syscall.ENOEXEC, unsupported, "It is no program that this machine can run"},
}

// missingHint names the nearest existing parent and close names in it.
func missingHint(e *fsbridge.Error) string {
	hint := "The nearest directory that exists is " + show(e.Parent)
	if len(e.Close) == 0 {
		return hint
	}
	names := make([]string, 0, len(e.Close))
	for _, c := range e.Close[:min(len(e.Close), 5)] {
		names = append(names, clip(show(c), 80))
	}
	return hint + ", which has " + strings.Join(names, ", ")
}
