package fsbridge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readBuffer = 16 << 10 // a small frame comes in with one read
	keepChunk  = 256 << 10
)

// Conn carries frames over a byte stream. One goroutine at a time reads, any number
// write. Both ends of the wire use it.
type Conn struct {
	rw    io.ReadWriteCloser
	stall time.Duration

	// Of the goroutine that reads.
	br    *bufio.Reader
	chunk []byte // reused for the data of KindData

	// Of whoever holds the token in writing.
	writing chan struct{}
	raw     syscall.RawConn // nil: a write may block
	attempt func(fd uintptr) bool
	packed  []byte
	out     outgoing

	stalled atomic.Bool
	once    sync.Once
	closed  chan struct{}
	late    sync.WaitGroup // writes that outlive their caller
}

// NewConn makes a Conn of a byte stream, which it owns from then on. It starts
// nothing. A stream that is a syscall.Conn in non-blocking mode (a *net.UnixConn,
// an *os.File of a non-blocking socket) is written to without a detour.
func NewConn(rw io.ReadWriteCloser) *Conn {
	c := &Conn{
		rw:      rw,
		stall:   StallTimeout,
		br:      bufio.NewReaderSize(rw, readBuffer),
		writing: make(chan struct{}, 1),
		closed:  make(chan struct{}),
	}
	c.raw = nonblocking(rw)
	c.attempt = c.writeOnce
	return c
}

// Close ends the connection and waits for writes that are under way. It may be
// called again and from anywhere but a Conn method.
func (c *Conn) Close() error {
	c.shut()
	c.writing <- struct{}{} // whoever writes now is the last
	<-c.writing
	c.late.Wait()
	return nil
}

// shut closes the stream, once, without waiting.
func (c *Conn) shut() {
	c.once.Do(func() {
		close(c.closed)
		c.rw.Close()
	})
}

// Read fills f with the next frame. f.JSON and f.Data belong to the caller, but
// the Data of a KindData frame is valid only until the next Read. It waits for
// the first byte for ever; a frame that was begun must be whole StallTimeout
// later. The error is io.EOF between frames, a *ProtocolError, or the stream's.
func (c *Conn) Read(f *Frame) error {
	if _, err := c.br.Peek(1); err != nil {
		return c.readError(err)
	}
	raw, err := c.peek(HeaderSize)
	if err != nil {
		return c.readError(err)
	}
	if f.Header, err = ParseHeader(raw); err != nil {
		return err
	}
	c.br.Discard(HeaderSize)
	return c.readError(c.readBody(f))
}

// Buffered reports whether a part of the next frame has been received. Only who
// reads may ask.
func (c *Conn) Buffered() bool { return c.br.Buffered() > 0 }

// pollable reports whether poll works on the stream.
func (c *Conn) pollable() bool { return c.raw != nil }

// poll waits, on the thread of its caller, until there is something to read or
// the connection has ended, at most for as long. It reports whether that is so.
func (c *Conn) poll(most time.Duration) (ready bool) {
	if most <= 0 {
		return false
	}
	timeout := unix.NsecToTimespec(int64(most))
	err := c.raw.Control(func(fd uintptr) {
		n, err := unix.Ppoll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, &timeout, nil)
		ready = n > 0 && err == nil
	})
	return ready || err != nil // Read says what is wrong with it
}

// whole reports whether Read would not wait, when there is something to read:
// the next frame is there, or is none.
func (c *Conn) whole() bool {
	if _, err := c.br.Peek(1); err != nil {
		return true
	}
	n := c.br.Buffered()
	if n < HeaderSize {
		return false
	}
	raw, _ := c.br.Peek(HeaderSize) // it is buffered
	h, err := ParseHeader(raw)
	return err != nil || n >= HeaderSize+h.JSONLen+h.DataLen
}

// peek is br.Peek under the stall timeout.
func (c *Conn) peek(n int) ([]byte, error) {
	if c.br.Buffered() < n {
		defer c.watch()()
	}
	b, err := c.br.Peek(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// readBody reads what follows f's header. JSON and data share one allocation.
func (c *Conn) readBody(f *Frame) error {
	n := f.JSONLen + f.DataLen
	f.JSON, f.Data = nil, nil
	if n == 0 {
		return nil
	}
	if c.br.Buffered() < n {
		defer c.watch()()
	}
	b := c.buffer(f.Kind, n)
	if _, err := io.ReadFull(c.br, b); err == io.EOF {
		return io.ErrUnexpectedEOF
	} else if err != nil {
		return err
	}
	f.JSON, f.Data = b[:f.JSONLen:f.JSONLen], b[f.JSONLen:]
	return nil
}

func (c *Conn) buffer(k Kind, n int) []byte {
	if k != KindData || n > keepChunk {
		return make([]byte, n)
	}
	if cap(c.chunk) < n {
		c.chunk = make([]byte, n)
	}
	return c.chunk[:n]
}

// watch closes the stream if the function that it returns is not called within
// the stall timeout.
func (c *Conn) watch() (done func()) {
	t := time.AfterFunc(c.stall, func() {
		c.stalled.Store(true)
		c.shut()
	})
	return func() { t.Stop() }
}

func (c *Conn) readError(err error) error {
	switch {
	case err == nil:
		return nil
	case c.stalled.Load():
		return violation("stalled: a frame was not whole after %v", c.stall)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("read frame: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// ReadGreeting reads the first frame, which must be of kind, and gives up when
// ctx ends. The connection is closed after an error.
func (c *Conn) ReadGreeting(ctx context.Context, kind Kind, f *Frame) error {
	stop := context.AfterFunc(ctx, c.shut)
	defer stop()
	err := c.Read(f)
	if err == nil && f.Kind != kind {
		err = violation("%v in place of %v", f.Kind, kind)
	}
	if err == nil {
		return nil
	}
	c.shut()
	if ctx.Err() != nil {
		return fmt.Errorf("wait for %v: %w", kind, ctx.Err())
	}
	return fmt.Errorf("wait for %v: %w", kind, err)
}
