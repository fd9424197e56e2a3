package fsbridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// maxAbandoned is how many requests that were cancelled an agent may leave
// without an answer before the connection is given up.
const maxAbandoned = MaxInFlight / 2

// Client is the server's end of a connection to an agent. Its methods may be
// called from any number of goroutines.
type Client struct {
	conn  *Conn
	hello Hello
	done  chan struct{}  // closed when the connection has ended
	wg    sync.WaitGroup // the receiver and cancels under way

	mu        sync.Mutex
	calls     map[uint64]*call // in flight, the abandoned ones too
	lastID    uint64
	abandoned int
	err       error // why it ended; nil while it is open
	hold      *hold // requests wait for its end; nil mostly
	held      int   // how many wait
	reader    reader
	direct    uint64 // how often a caller has become the reader

	wake chan struct{} // the receiver is the reader again
}

// Connect reads the agent's hello, answers it with w, and starts a goroutine
// that receives until the connection ends. It owns rw from the call on, and
// closes it when it fails: with ErrVersion if the agent speaks another version,
// with a *ProtocolError if it does not say hello within HelloTimeout.
//
// The fastest rw is a *net.UnixConn as it was accepted, not wrapped.
func Connect(ctx context.Context, rw io.ReadWriteCloser, w Welcome) (*Client, error) {
	return connect(ctx, NewConn(rw), w)
}

func connect(ctx context.Context, conn *Conn, w Welcome) (*Client, error) {
	hello, err := greet(ctx, conn, w)
	if err != nil {
		conn.Close()
		return nil, err
	}
	c := &Client{
		conn:  conn,
		hello: hello,
		done:  make(chan struct{}),
		calls: make(map[uint64]*call),
		wake:  make(chan struct{}, 1),
	}
	c.wg.Go(c.receive)
	return c, nil
}

// greet exchanges hello and welcome.
func greet(ctx context.Context, conn *Conn, w Welcome) (Hello, error) {
	limit, cancel := context.WithTimeoutCause(ctx, HelloTimeout, violation("no hello within %v", HelloTimeout))
	defer cancel()
	var f Frame
	if err := conn.ReadGreeting(limit, KindHello, &f); err != nil {
		if ctx.Err() == nil && limit.Err() != nil {
			err = context.Cause(limit)
		}
		return Hello{}, fmt.Errorf("connect to agent: %w", err)
	}
	var hello Hello
	if err := json.Unmarshal(f.JSON, &hello); err != nil {
		return Hello{}, fmt.Errorf("connect to agent: %w", violation("hello: %v", err))
	}
	if hello.Version != Version {
		return Hello{}, fmt.Errorf("connect to agent: %w: it has %d, this is %d", ErrVersion, hello.Version, Version)
	}
	if reason := checkHello(&hello); reason != "" {
		return Hello{}, fmt.Errorf("connect to agent: %w", violation("hello: %s", reason))
	}
	w.Version = Version
	if err := conn.WriteJSON(limit, Header{Kind: KindWelcome}, w, nil); err != nil {
		return Hello{}, fmt.Errorf("connect to agent: %w", err)
	}
	return hello, nil
}

// Hello returns what the agent said of itself.
func (c *Client) Hello() Hello { return c.hello }

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns nil while the connection is open, then an error that wraps
// ErrClosed and the cause.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection and waits for the client's goroutines. Requests in
// flight end with ErrClosed; what they started in the agent is finished or, for
// a command, goes on. It returns nil, also when called again.
func (c *Client) Close() error {
	c.fail(nil)
	c.wg.Wait()
	return c.conn.Close()
}

// Ping asks the agent for a sign of life.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.call(ctx, OpPing, nil, nil, nil)
	return err
}

// receive gives each frame to its call until the connection ends.
func (c *Client) receive() {
	var f Frame
	for {
		err := c.conn.Read(&f)
		if err == nil {
			err = c.dispatch(&f)
		}
		if err != nil {
			c.fail(err)
			return
		}
		if !c.rest() {
			return
		}
	}
}

func (c *Client) dispatch(f *Frame) error {
	switch f.Kind {
	case KindResponse, KindError:
		return c.settle(f)
	case KindData:
		call := c.find(f.ID)
		if call == nil || call.in == nil {
			return violation("data for id %d, which has no stream", f.ID)
		}
		return call.in.Push(f.Data)
	case KindCredit:
		call := c.find(f.ID)
		if call == nil || call.out == nil {
			return violation("credit for id %d, which has no stream", f.ID)
		}
		return call.out.Grant(f.Credit())
	}
	return violation("%v from the agent", f.Kind)
}

func (c *Client) find(id uint64) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[id]
}

// settle ends the call that f answers.
func (c *Client) settle(f *Frame) error {
	c.mu.Lock()
	call := c.calls[f.ID]
	delete(c.calls, f.ID)
	if call != nil && call.abandoned {
		c.abandoned--
	}
	if call != nil {
		c.left()
	}
	c.mu.Unlock()
	if call == nil {
		return violation("%v for id %d, which is not in flight", f.Kind, f.ID)
	}
	call.settle(f.Kind, f.JSON, f.Data)
	return nil
}

// fail ends the connection and every call in flight. The first cause counts.
func (c *Client) fail(cause error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = closedBy(cause)
	calls := c.calls
	c.calls = nil
	close(c.done)
	c.mu.Unlock()
	c.conn.shut()
	for _, call := range calls {
		call.fail(c.err)
	}
}

// closedBy says why the connection ended. Only a *ProtocolError can be found in
// it besides ErrClosed: an io.EOF of the connection is none of the caller's.
func closedBy(cause error) error {
	var broken *ProtocolError
	switch {
	case cause == nil:
		return ErrClosed
	case errors.As(cause, &broken):
		return fmt.Errorf("%w: %w", ErrClosed, broken)
	case cause == io.EOF:
		return fmt.Errorf("%w: the agent hung up", ErrClosed)
	}
	return fmt.Errorf("%w: %v", ErrClosed, cause)
}

// broken ends the connection because of what an answer said, and returns the
// error for the caller.
func (c *Client) broken(op Op, reason string) error {
	err := violation("%v: %s", op, reason)
	c.fail(err)
	return fmt.Errorf("%v: %w", op, closedBy(err))
}
