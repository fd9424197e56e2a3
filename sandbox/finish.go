package sandbox

import (
	"context"
	"fmt"
	"time"
)

// snapshotTimeout bounds what changes snapshots, once it has begun: a copy of
// terabytes ends, and so does a disk that hangs.
const snapshotTimeout = 30 * time.Minute

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
