package fsbridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// call is one request in flight.
type call struct {
	id   uint64
	op   Op
	in   *Inbox  // of the stream that the agent sends, or nil
	out  *Credit // of the stream that is sent to it, or nil
	done chan struct{}

	// Set before done is closed.
	kind       Kind
	json, data []byte
	err        error // the connection ended

	abandoned bool // under Client.mu: the caller has gone, the answer is dropped
	direct    bool // its caller may read the answer itself
	reads     bool // it does
}

func newCall(op Op) *call { return &call{op: op, done: make(chan struct{})} }

func (l *call) settle(kind Kind, js, data []byte) {
	l.kind, l.json, l.data = kind, js, data
	if l.in != nil {
		l.in.End(io.EOF)
	}
	close(l.done)
}

func (l *call) fail(err error) {
	l.err = err
	if l.in != nil {
		l.in.End(err)
	}
	close(l.done)
}

// call carries out one operation: a frame out, a frame in. The answer's JSON is
// decoded into result unless that is nil; its data is returned.
func (c *Client) call(ctx context.Context, op Op, params any, data []byte, result any) ([]byte, error) {
	l := newCall(op)
	l.direct = true
	if err := c.begin(ctx, l, params, data); err != nil {
		c.stopReading(l)
		return nil, err
	}
	c.readAnswer(ctx, l)
	return c.finish(ctx, l, result)
}

// begin registers a call and sends its request.
func (c *Client) begin(ctx context.Context, l *call, params any, data []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%v: %w", l.op, err)
	}
	var js []byte
	if params != nil {
		var err error
		if js, err = Encode(params); err != nil {
			return fmt.Errorf("%v: encode parameters: %w: %w", l.op, ErrInvalid, err)
		}
	}
	if err := c.register(ctx, l); err != nil {
		return fmt.Errorf("%v: %w", l.op, err)
	}
	sent, err := c.conn.Write(ctx, Header{ID: l.id, Kind: KindRequest, Op: l.op}, js, data)
	switch {
	case err == nil:
		return nil
	case !sent:
		c.forget(l)
	default:
		c.abandon(l)
	}
	return fmt.Errorf("%v: %w", l.op, c.lost(err))
}

func (c *Client) register(ctx context.Context, l *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hold != nil {
		if err := c.passHold(ctx); err != nil {
			return err
		}
	}
	if c.err != nil {
		return c.err
	}
	if len(c.calls) >= MaxInFlight {
		return fmt.Errorf("%w: %d requests are in flight", ErrLimit, MaxInFlight)
	}
	c.lastID++
	l.id = c.lastID
	c.calls[l.id] = l
	c.chooseReader(l)
	return nil
}

// lost is the error of a frame that could not be sent: if that is because the
// connection has ended, then the cause of that.
func (c *Client) lost(err error) error {
	if !errors.Is(err, ErrClosed) {
		return err
	}
	c.fail(err)
	return c.Err()
}

// forget takes back a call whose request was not sent.
func (c *Client) forget(l *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, open := c.calls[l.id]; open {
		delete(c.calls, l.id)
		c.left()
	}
}

// finish waits for the answer.
func (c *Client) finish(ctx context.Context, l *call, result any) ([]byte, error) {
	select {
	case <-l.done:
	default:
		select {
		case <-l.done:
		case <-ctx.Done():
			c.abandon(l)
			return nil, fmt.Errorf("%v: %w", l.op, ctx.Err())
		}
	}
	return c.answer(l, result)
}

// answer decodes what a settled call got.
func (c *Client) answer(l *call, result any) ([]byte, error) {
	switch {
	case l.err != nil:
		return nil, fmt.Errorf("%v: %w", l.op, l.err)
	case l.kind == KindError:
		return nil, c.remoteError(l)
	case result == nil && len(l.json) > 0:
		return nil, c.broken(l.op, "a result where there is none")
	case result == nil:
		return l.data, nil
	}
	if err := Decode(l.json, result); err != nil {
		return nil, c.broken(l.op, "result: "+err.Error())
	}
	return l.data, nil
}

// remoteError is the error that the agent sent, with what it may say of itself
// held to bounds.
func (c *Client) remoteError(l *call) error {
	e := new(Error)
	if err := json.Unmarshal(l.json, e); err != nil {
		return c.broken(l.op, "error: "+err.Error())
	}
	if reason := checkError(e); reason != "" {
		return c.broken(l.op, reason)
	}
	e.Op = l.op.String()
	if _, known := sentinels[e.Code]; !known {
		e.Code = CodeIO
	}
	return e
}

// abandon gives a call up: the agent is told, and the id stays taken until it
// answers. An agent that answers none of many is given up itself.
func (c *Client) abandon(l *call) {
	c.mu.Lock()
	_, open := c.calls[l.id]
	if open {
		l.abandoned = true
		c.abandoned++
	}
	over := c.abandoned > maxAbandoned
	if open && !over {
		c.wg.Go(func() {
			c.conn.Write(context.Background(), Header{ID: l.id, Kind: KindCancel}, nil, nil)
		})
	}
	c.mu.Unlock()
	if l.in != nil {
		l.in.Drop()
	}
	if over {
		c.fail(violation("%d cancelled requests without an answer", maxAbandoned))
	}
}
