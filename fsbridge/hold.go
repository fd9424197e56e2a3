package fsbridge

import (
	"context"
	"fmt"
	"sync"
)

// hold keeps requests from being sent. Both channels are closed once.
type hold struct {
	idle chan struct{} // under Client.mu: nothing is in flight any more
	over chan struct{} // by its release
}

// Hold waits until the agent owes no answer, and keeps new requests from being
// sent until release is called: meanwhile the agent does nothing that was asked
// of it. Every request counts until its answer is there: one that waits for a
// command as long as it waits, a stream until its end, and one whose caller has
// gone until the agent has noticed. A command that goes on after its request was
// answered does not count.
//
// New requests wait already while Hold does, each as long as its own context; so
// ctx should end soon. When it ends first, all goes on as if nothing had been.
// Of several holders each has its turn. When the connection ends, Hold and those
// who wait get its error, and release does nothing. Release is safe to call
// twice.
func (c *Client) Hold(ctx context.Context) (release func(), err error) {
	h, err := c.startHold(ctx)
	if err != nil {
		return nil, fmt.Errorf("hold requests: %w", err)
	}
	release = sync.OnceFunc(func() { c.endHold(h) })
	select {
	case <-h.idle:
		return release, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-c.done:
		err = c.Err()
	}
	release()
	return nil, fmt.Errorf("hold requests: %w", err)
}

func (c *Client) startHold(ctx context.Context) (*hold, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.passHold(ctx); err != nil {
		return nil, err
	}
	if c.err != nil {
		return nil, c.err
	}
	h := &hold{idle: make(chan struct{}), over: make(chan struct{})}
	c.hold = h
	if len(c.calls) == 0 {
		close(h.idle)
	}
	return h, nil
}

func (c *Client) endHold(h *hold) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = nil
	close(h.over)
}

// passHold waits while there is a hold. c.mu is held, but not while it waits.
func (c *Client) passHold(ctx context.Context) error {
	if c.hold != nil && c.held >= MaxInFlight {
		return fmt.Errorf("%w: %d requests wait for a hold to end", ErrLimit, MaxInFlight)
	}
	for c.hold != nil && c.err == nil {
		over := c.hold.over
		c.held++
		c.mu.Unlock()
		var err error
		select {
		case <-over:
		case <-c.done:
		case <-ctx.Done():
			err = ctx.Err()
		}
		c.mu.Lock()
		if c.held--; err != nil {
			return err
		}
	}
	return nil
}

// left tells who holds that a call is no longer in flight, if it was the last
// one. c.mu is held.
func (c *Client) left() {
	if c.hold != nil && len(c.calls) == 0 {
		close(c.hold.idle) // once: no call begins before the hold is over
	}
}
