package fsbridge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// Code classes an error that is not, or not only, an errno.
type Code string

// The codes an agent may send. An unknown one is treated as CodeIO.
const (
	CodeIO        Code = "io"         // see Errno
	CodeInvalid   Code = "invalid"    // a parameter is out of its range
	CodeConflict  Code = "conflict"   // if_revision does not match
	CodeIrregular Code = "irregular"  // not a regular file: FIFO, device, socket, or one of the kernel's
	CodeTooLarge  Code = "too_large"  // over a limit of this package
	CodeLimit     Code = "limit"      // pids, memory, processes, disk: a limit of the container
	CodeNoShell   Code = "no_shell"   // the image has no /bin/sh
	CodeCancelled Code = "cancelled"  // the request was cancelled
	CodeProcess   Code = "no_process" // no such process
	CodeNoMatch   Code = "no_match"   // the text to be replaced is not there; Passages are near it
	CodeAmbiguous Code = "ambiguous"  // it is there Count times; Passages are where
	CodeMount     Code = "mount"      // a mount point, or one is below it
)

// Sentinels that errors.Is finds in an *Error.
var (
	ErrInvalid   = errors.New("invalid argument")
	ErrConflict  = errors.New("revision conflict")
	ErrIrregular = errors.New("not a regular file")
	ErrTooLarge  = errors.New("too large")
	ErrLimit     = errors.New("limit of the container reached")
	ErrNoShell   = errors.New("no shell in the image")
	ErrCancelled = errors.New("cancelled")
	ErrNoProcess = errors.New("no such process")
	ErrNoMatch   = errors.New("no match")
	ErrAmbiguous = errors.New("more than one match")
	ErrMount     = errors.New("a mount point")
	// ErrClosed: the connection to the agent ended before the answer came. The
	// operation may or may not have been carried out.
	ErrClosed = errors.New("connection to the agent closed")
	// ErrVersion: the agent speaks another version of the wire.
	ErrVersion = errors.New("the agent speaks another version of the wire")
)

var sentinels = map[Code]error{
	CodeInvalid: ErrInvalid, CodeConflict: ErrConflict, CodeIrregular: ErrIrregular,
	CodeTooLarge: ErrTooLarge, CodeLimit: ErrLimit, CodeNoShell: ErrNoShell,
	CodeCancelled: ErrCancelled, CodeProcess: ErrNoProcess,
	CodeNoMatch: ErrNoMatch, CodeAmbiguous: ErrAmbiguous, CodeMount: ErrMount,
}

// Error is an operation that failed inside the container.
type Error struct {
	Op      string        `json:"op"`
	Path    Path          `json:"path,omitempty"`
	Code    Code          `json:"code"`
	Errno   syscall.Errno `json:"errno,omitempty"`   // 0 if no system call failed
	Message string        `json:"message,omitempty"` // the cause in words; for an errno, strerror

	// For a path that does not exist: its nearest existing parent, and names in
	// it that are close to the one asked for, at most 5.
	Parent Path   `json:"parent,omitempty"`
	Close  []Path `json:"close,omitempty"`
	// For a conflict: what the revision is now ("" when the file is not there).
	Revision string `json:"revision,omitempty"`
	// For CodeNoMatch and CodeAmbiguous: which edit or hunk it is (1-based), how
	// often its text is there, and where: at most PassagesMax.
	Item     int       `json:"item,omitempty"`
	Count    int       `json:"count,omitempty"`
	Passages []Passage `json:"passages,omitempty"`
}

// Passage is a run of whole lines of a file.
type Passage struct {
	Line int64  `json:"line"` // its first line's number
	Text string `json:"text"` // UTF-8, at most PassageMax bytes
}

func (e *Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("%s: %s", e.Op, e.Message)
	}
	return fmt.Sprintf("%s %q: %s", e.Op, string(e.Path), e.Message)
}

// Is reports whether the error is target: its errno, what io/fs calls that
// errno, or the sentinel of its code.
func (e *Error) Is(target error) bool {
	if s, ok := sentinels[e.Code]; ok && s == target {
		return true
	}
	if e.Errno == 0 {
		return false
	}
	if errno, ok := target.(syscall.Errno); ok {
		return e.Errno == errno
	}
	switch target {
	case fs.ErrNotExist, fs.ErrExist, fs.ErrPermission:
		return e.Errno.Is(target)
	}
	return false
}

// ProtocolError says how the other end broke the rules of the wire. The
// connection has ended.
type ProtocolError struct{ Reason string }

func (e *ProtocolError) Error() string { return "agent protocol: " + e.Reason }

// NewError makes the *Error of an operation that failed with err: an *Error is
// itself, an errno is CodeIO, or CodeLimit where it means a limit; the end of a
// context is CodeCancelled.
func NewError(op Op, path Path, err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	e := &Error{Op: op.String(), Path: path, Code: CodeIO, Message: err.Error()}
	if errors.As(err, &e.Errno) {
		e.Message = e.Errno.Error()
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.Code, e.Message = CodeCancelled, "cancelled"
	case e.Errno == syscall.ENOSPC, e.Errno == syscall.EDQUOT, e.Errno == syscall.EMFILE,
		e.Errno == syscall.ENFILE, e.Errno == syscall.ENOMEM:
		e.Code = CodeLimit
	case e.Errno == syscall.ENAMETOOLONG:
		e.Code = CodeInvalid
	}
	return e
}

// Errorf makes an *Error that is not of an errno.
func Errorf(op Op, path Path, code Code, format string, args ...any) *Error {
	return &Error{Op: op.String(), Path: path, Code: code, Message: fmt.Sprintf(format, args...)}
}
