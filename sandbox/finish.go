package sandbox

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// snapshotTimeout bounds what changes snapshots, once it has begun: a copy of
// terabytes ends, and so does a disk that hangs.
const snapshotTimeout = 30 * time.Minute

// ErrGivenUp is the cause with which a context ends whose caller does not just
// wait no longer, but wants what it has begun to stop.
var ErrGivenUp = errors.New("given up by the caller")

// finishOrUndo is finish for work that undoes itself when its context ends before
// the last moment for that: it is cut short also if ctx ends by ErrGivenUp, which
// is the error then.
func finishOrUndo[T any](ctx context.Context, m *Manager, what string, unlock func(), work func(context.Context) (T, error)) (T, error) {
	r, err := finish(ctx, m, what, unlock, func(lasting context.Context) (T, error) {
		lasting, cancel := context.WithCancel(lasting)
		defer cancel()
		defer context.AfterFunc(ctx, func() {
			if errors.Is(context.Cause(ctx), ErrGivenUp) {
				cancel()
			}
		})()
		return work(lasting)
	})
	if cause := context.Cause(ctx); errors.Is(err, ErrPending) && errors.Is(cause, ErrGivenUp) {
		err = fmt.Errorf("%s: %w", what, cause)
	}
	return r, err
}

// finish carries work out to its end, whether or not its caller stays: when ctx
// ends the error is ErrPending and the work goes on, until Close cuts it short.
// unlock is called when the work has ended, or is not begun at all.
func finish[T any](ctx context.Context, m *Manager, what string, unlock func(), work func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		result T
		err    error
	}
	done := make(chan outcome, 1)
	m.mu.Lock()
	closed := m.closed
	if !closed {
		m.watch.Go(func() {
			defer unlock()
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), snapshotTimeout)
			defer cancel()
			defer context.AfterFunc(m.closing, cancel)()
			r, err := work(ctx)
			done <- outcome{r, err}
		})
	}
	m.mu.Unlock()
	var none T
	if closed {
		unlock()
		return none, fmt.Errorf("%s: %w: the server is stopping", what, ErrUnavailable)
	}
	select {
	case o := <-done:
		return o.result, o.err
	case <-ctx.Done():
	}
	select {
	case o := <-done: // both at once
		return o.result, o.err
	default:
		return none, fmt.Errorf("%s: %w", what, ErrPending)
	}
}
