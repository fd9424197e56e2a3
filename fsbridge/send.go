package fsbridge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// packMax is up to which size a frame is copied into one buffer for one write;
// a longer one goes out with writev.
const packMax = 32 << 10

// outgoing is the frame that is being written.
type outgoing struct {
	head, data []byte // what is left of it
	err        error
}

func (o *outgoing) rest() int { return len(o.head) + len(o.data) }

func (o *outgoing) advance(n int) {
	k := min(n, len(o.head))
	o.head, o.data = o.head[k:], o.data[n-k:]
}

// Write sends a frame: with one system call when the stream takes it at once.
// When it does not, and ctx can end, the rest is copied and written by the
// connection, so that the call returns with ctx. sent tells whether the frame
// was begun (and so will be whole on the wire, or the connection ends).
//
// With a ctx that cannot end it waits until the frame is written, at most
// StallTimeout. A frame over a limit is ErrTooLarge and is not sent.
func (c *Conn) Write(ctx context.Context, h Header, js, data []byte) (sent bool, err error) {
	h.JSONLen, h.DataLen = len(js), len(data)
	if len(js) > MaxJSON || len(data) > MaxData {
		return false, fmt.Errorf("send %v: %d bytes of parameters, %d of data: %w", h.Kind, len(js), len(data), ErrTooLarge)
	}
	if err := c.lock(ctx); err != nil {
		return false, err
	}
	c.pack(h, js, data)
	if c.raw != nil {
		if err := c.raw.Write(c.attempt); err != nil {
			c.out.err = err
		}
	}
	if c.out.err != nil || c.out.rest() == 0 {
		return true, c.unlock()
	}
	if ctx.Done() == nil {
		return true, c.finish()
	}
	return true, c.handOver(ctx)
}

// WriteJSON is Write with v as the JSON, or in its compact form if it has one.
func (c *Conn) WriteJSON(ctx context.Context, h Header, v any, data []byte) error {
	js, err := Encode(v)
	if err != nil {
		return fmt.Errorf("encode %v: %w", h.Kind, err)
	}
	_, err = c.Write(ctx, h, js, data)
	return err
}

// WriteCredit lets the peer send n more bytes in the stream of id.
func (c *Conn) WriteCredit(ctx context.Context, id uint64, n int) error {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(n))
	_, err := c.Write(ctx, Header{ID: id, Kind: KindCredit}, nil, b[:])
	return err
}

// lock takes the right to write. Once the connection is closed nobody gets it.
func (c *Conn) lock(ctx context.Context) error {
	select {
	case c.writing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closed:
		return ErrClosed
	}
	select {
	case <-c.closed:
		<-c.writing
		return ErrClosed
	default:
		return nil
	}
}

// unlock gives the right to write back. After a write that failed the frame may
// be half on the wire, so the connection ends.
func (c *Conn) unlock() error {
	err := c.out.err
	c.out = outgoing{}
	if cap(c.packed) > 2*packMax {
		c.packed = nil
	}
	if err != nil {
		c.shut()
		err = c.writeError(err)
	}
	<-c.writing
	return err
}

func (c *Conn) writeError(err error) error {
	if c.stalled.Load() {
		err = violation("stalled: a frame was not taken within %v", c.stall)
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}

// pack makes the frame ready in c.out.
func (c *Conn) pack(h Header, js, data []byte) {
	c.packed = append(AppendHeader(c.packed[:0], h), js...)
	c.out = outgoing{data: data}
	if len(c.packed)+len(data) <= packMax {
		c.packed = append(c.packed, data...)
		c.out.data = nil
	}
	c.out.head = c.packed
}

// writeOnce writes what the socket takes now.
func (c *Conn) writeOnce(fd uintptr) bool {
	for c.out.rest() > 0 {
		n, err := writeVec(int(fd), c.out.head, c.out.data)
		switch {
		case err == nil:
			c.out.advance(n)
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return true
		default:
			c.out.err = err
			return true
		}
	}
	return true
}

func writeVec(fd int, head, data []byte) (int, error) {
	switch {
	case len(data) == 0:
		return unix.Write(fd, head)
	case len(head) == 0:
		return unix.Write(fd, data)
	}
	return unix.Writev(fd, [][]byte{head, data})
}

// finish writes the rest, waiting for the stream, and unlocks.
func (c *Conn) finish() error {
	done := c.watch()
	for _, b := range [][]byte{c.out.head, c.out.data} {
		if c.out.err == nil && len(b) > 0 {
			_, c.out.err = c.rw.Write(b)
		}
	}
	done()
	return c.unlock()
}

// handOver leaves the rest to a goroutine of the connection. It is copied, since
// the caller may use its buffer again when ctx ends.
func (c *Conn) handOver(ctx context.Context) error {
	if len(c.out.data) > 0 {
		rest := make([]byte, 0, c.out.rest())
		c.out = outgoing{head: append(append(rest, c.out.head...), c.out.data...)}
	}
	done := make(chan error, 1)
	c.late.Go(func() { done <- c.finish() })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// nonblocking returns the stream's raw connection if a write to it never waits.
func nonblocking(rw io.ReadWriteCloser) syscall.RawConn {
	sc, ok := rw.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	var flags int
	if err2 := raw.Control(func(fd uintptr) { flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0) }); err2 != nil {
		return nil
	}
	if err != nil || flags&unix.O_NONBLOCK == 0 {
		return nil
	}
	return raw
}
