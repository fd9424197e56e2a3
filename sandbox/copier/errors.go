package copier

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// ErrChanged says that the source changed during Finish, which needs it to be
// still.
var ErrChanged = errors.New("the source changed while it was copied for the last time; freeze everything that writes to it, then copy again")

// ErrRecord says that what ReadRecord was given is no record, or a damaged one.
var ErrRecord = errors.New("not a record of a copy")

// maxPathShown is how many bytes of a path an error tells.
const maxPathShown = 400

// pathError says what failed and where; errors.Is finds the errno.
func pathError(op, path string, err error) error {
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// vanished tells that a file is not there any more, or is another one.
func vanished(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) ||
		errors.Is(err, unix.ESTALE) || errors.Is(err, unix.ENXIO) || errors.Is(err, errOther)
}

// retry repeats a call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
