package files

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// turnWait is the longest wait for a directory's turn. It lasts a check and a
	// few renames, so only a program that holds the lock for itself makes a change
	// wait so long; then the change goes on without.
	turnWait = 250 * time.Millisecond
	// turnPause is the longest time between two looks at it.
	turnPause = 2 * time.Millisecond
)

// turn takes the turn of changing names in the target's directory: between the
// look at what a change was made of and its rename no other agent renames there.
// Containers that share a mount have an agent each, so it is the kernel's lock on
// the directory (flock); agents do not share the locks of places.
func (t *Tree) turn(ctx context.Context, g *target) (done func(), err error) {
	unlock, err := t.locks.lock(ctx, placeOf(&g.st, ""))
	if err != nil {
		return nil, err
	}
	locked, err := lockDir(ctx, g.dir)
	if err != nil {
		unlock()
		return nil, err
	}
	return func() {
		if locked {
			unix.Flock(g.dir, unix.LOCK_UN)
		}
		unlock()
	}, nil
}

// lockDir waits for the kernel's lock on a directory, and reports whether it has
// it: not every file system has locks, nor every descriptor.
func lockDir(ctx context.Context, dir int) (bool, error) {
	end := time.Now().Add(turnWait)
	for pause := turnPause / 32; ; pause = min(2*pause, turnPause) {
		err := retry(func() error { return unix.Flock(dir, unix.LOCK_EX|unix.LOCK_NB) })
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			return err == nil, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}
