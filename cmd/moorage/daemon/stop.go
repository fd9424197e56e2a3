package daemon

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Stopped tells what Stop did.
type Stopped struct {
	PID        int // of the server; 0 if none ran
	Containers int
}

// Stop stops the server of these directories and waits for its end; with
// containers it has it stop those first.
func Stop(ctx context.Context, d Dirs, containers bool) (Stopped, error) {
	holder, held, err := FindHolder(d.Root)
	if err != nil || !held {
		return Stopped{}, err
	}
	s := Stopped{PID: holder.PID}
	if containers {
		if err := NewAdmin(d, false).StopAll(ctx, func(e Event) { s.Containers = int(e.Done) }); err != nil {
			return s, fmt.Errorf("stop containers: %w", err)
		}
	}
	process, err := unix.PidfdOpen(holder.PID, 0)
	if err != nil {
		return s, fmt.Errorf("find the server, pid %d: %w", holder.PID, err)
	}
	defer unix.Close(process)
	err = syscall.Kill(holder.PID, syscall.SIGTERM)
	if errors.Is(err, syscall.EPERM) {
		return s, fmt.Errorf("stop the server, pid %d: only root may; run: sudo moorage stop --root %s --run %s", holder.PID, d.Root, d.Run)
	}
	if err != nil {
		return s, fmt.Errorf("stop the server, pid %d: %w", holder.PID, err)
	}
	if err := waitExit(ctx, process); err != nil {
		return s, fmt.Errorf("wait for the end of the server, pid %d: %w", holder.PID, err)
	}
	return s, nil
}

// waitExit waits for a process's end, which comes a moment after that of its
// locks: until then it has files open in the directories.
func waitExit(ctx context.Context, pidfd int) error {
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(exitPoll.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n > 0 {
			return nil
		}
	}
	return ctx.Err()
}

// exitPoll is how late the end of a context may be noticed.
const exitPoll = 50 * time.Millisecond
