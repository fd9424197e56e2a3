package sandbox

import (
	"context"
	"errors"
	"testing"
)

// TestFinishOrUndoStopsForErrGivenUpAlone: who waits no longer leaves the work going
// on, who gives it up ends it.
func TestFinishOrUndoStopsForErrGivenUpAlone(t *testing.T) {
	for _, c := range []struct{ cause, seen error }{{ErrGivenUp, ErrGivenUp}, {context.DeadlineExceeded, ErrPending}, {nil, ErrPending}} {
		m := &Manager{closing: t.Context()}
		ctx, leave := context.WithCancelCause(t.Context())
		begun, end := make(chan struct{}), make(chan struct{})
		var cut error
		unlocked := false
		go func() {
			<-begun
			leave(c.cause)
		}()
		_, err := finishOrUndo(ctx, m, "work", func() { unlocked = true }, func(ctx context.Context) (int, error) {
			close(begun)
			if c.cause == ErrGivenUp {
				<-ctx.Done()
			}
			<-end
			cut = ctx.Err()
			return 0, cut
		})
		if !errors.Is(err, c.seen) {
			t.Errorf("left by %v: got %v, want %v", c.cause, err, c.seen)
		}
		close(end)
		m.watch.Wait()
		if want := c.cause == ErrGivenUp; (cut != nil) != want || !unlocked {
			t.Errorf("left by %v: the work saw %v, unlocked %v", c.cause, cut, unlocked)
		}
	}
}
