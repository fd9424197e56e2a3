package containerd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"

	"moorage/sandbox"
)

// engineError translates an error of containerd. What only says that containerd
// cannot answer now becomes ErrUnavailable; anything else is kept as its text.
func engineError(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", doing, err)
	case isFull(err):
		return fmt.Errorf("%s: %w: the server's disk, or the bot's share of it, is full: %v", doing, sandbox.ErrLimit, err)
	case errdefs.IsUnavailable(err):
		return fmt.Errorf("%s: %w: %v", doing, sandbox.ErrUnavailable, err)
	default:
		return fmt.Errorf("%s: %v", doing, err)
	}
}

// notRunning is engineError where a task that does not exist is the likely case.
func notRunning(doing string, err error) error {
	if errdefs.IsNotFound(err) || errdefs.IsFailedPrecondition(err) {
		return fmt.Errorf("%s: %w", doing, sandbox.ErrNotRunning)
	}
	return engineError(doing, err)
}

// isFull also looks at the text, which is all that parts of containerd keep.
func isFull(err error) bool {
	for _, full := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, full) || strings.Contains(err.Error(), full.Error()) {
			return true
		}
	}
	return false
}
