package fsbridge

import (
	"context"
	"io"
	"sync"
)

// Inbox is the receiving end of a request's stream. What came in and was not
// taken is bounded by the credit that was given: Window at first.
type Inbox struct {
	wake chan struct{}

	mu      sync.Mutex
	pending []byte
	credit  int   // bytes the sender may still send
	err     error // how the stream ended
	dropped bool
}

// NewInbox makes an Inbox whose sender has the Window as credit.
func NewInbox() *Inbox {
	return &Inbox{wake: make(chan struct{}, 1), credit: Window}
}

// Push adds received bytes. The error is a *ProtocolError when the sender had no
// credit for them or had ended the stream.
func (b *Inbox) Push(p []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return violation("data after the end of a stream")
	}
	if len(p) > b.credit {
		return violation("%d bytes of data with %d bytes of credit", len(p), b.credit)
	}
	b.credit -= len(p)
	if !b.dropped {
		b.pending = append(b.pending, p...)
		b.signal()
	}
	return nil
}

// End says that no more comes: err is io.EOF after a whole stream. Only the
// first call counts.
func (b *Inbox) End(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
		b.signal()
	}
}

// Ended reports whether End was called.
func (b *Inbox) Ended() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err != nil
}

// Drop frees what is pending and lets what still comes within the credit go.
func (b *Inbox) Drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropped, b.pending = true, nil
}

// Take waits for bytes and returns all there are; spare, which the caller is
// done with, is used for those that come next. After the last byte it returns
// the error given to End.
func (b *Inbox) Take(ctx context.Context, spare []byte) ([]byte, error) {
	for {
		b.mu.Lock()
		if len(b.pending) > 0 {
			got := b.pending
			b.pending = spare[:0]
			b.mu.Unlock()
			return got, nil
		}
		err := b.err
		b.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-b.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Grant notes that the sender is about to be given n more bytes of credit.
func (b *Inbox) Grant(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.credit += n
}

func (b *Inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Credit is the sending end of a request's stream: how much may be sent now.
type Credit struct {
	wake chan struct{}

	mu   sync.Mutex
	left int
}

// NewCredit makes a Credit of one Window.
func NewCredit() *Credit { return &Credit{wake: make(chan struct{}, 1), left: Window} }

// Grant adds what the receiver gave. The error is a *ProtocolError when that is
// more than it can have received.
func (c *Credit) Grant(n uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n == 0 || int64(n) > int64(Window-c.left) {
		return violation("credit of %d bytes with %d under way", n, Window-c.left)
	}
	c.left += int(n)
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return nil
}

// Take waits until something may be sent and returns how much of want that is,
// at least 1. It gives up with ctx, or with io.ErrClosedPipe when done closes.
func (c *Credit) Take(ctx context.Context, done <-chan struct{}, want int) (int, error) {
	for {
		c.mu.Lock()
		n := min(want, c.left)
		c.left -= n
		c.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		select {
		case <-c.wake:
		case <-done:
			return 0, io.ErrClosedPipe
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
