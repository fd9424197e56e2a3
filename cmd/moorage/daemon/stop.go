package daemon

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
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
	err = syscall.Kill(holder.PID, syscall.SIGTERM)
	if errors.Is(err, syscall.EPERM) {
		return s, fmt.Errorf("stop the server, pid %d: only root may; run: sudo moorage stop --root %s --run %s", holder.PID, d.Root, d.Run)
	}
	if err != nil {
		return s, fmt.Errorf("stop the server, pid %d: %w", holder.PID, err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, held, err := FindHolder(d.Root); err != nil || !held {
			return s, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s, fmt.Errorf("wait for the end of the server, pid %d: %w", holder.PID, ctx.Err())
		}
	}
}
