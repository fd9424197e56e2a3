// Package pipe joins an MCP client on standard input and output with a Moorage
// server on a unix socket.
//
// Where both can, the server is handed the client's descriptors, and the pipe
// only waits (handover.go). Else it copies line by line.
//
// The server may end while the client goes on: it was killed, or updated. Then
// every request that waits for an answer gets one that says so, and the next
// line from the client connects again, which starts a new server. The client's
// initialize message is kept and said again, so that the client notices nothing.
package pipe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"

	"moorage/cmd/moorage/daemon"
	"moorage/cmd/moorage/handover"
)

// Bounds of the pipe.
const (
	bufferSize = 64 << 10
	// maxLine is the longest line that is looked into; longer ones pass through
	// unread, and the server refuses them.
	maxLine = 4 << 20
	// maxWaiting is the most requests whose answers are remembered to be due.
	maxWaiting = 4096
)

// Pipe is one client's connection.
type Pipe struct {
	Dial func(ctx context.Context) (daemon.Conn, error) // connects, starting a server if need be
	In   io.Reader
	Out  io.Writer
	Ends *handover.Ends // In and Out, to be handed over; nil if they cannot be
	Log  *slog.Logger

	in  input      // of copyIn alone
	out sync.Mutex // Out

	mu      sync.Mutex
	waiting map[string]string // id of a request without answer, as raw JSON: its method
	hello   []byte            // the client's initialize request
	swallow string            // id of an answer that the client must not see again
	conn    *net.UnixConn     // nil when there is no server
	readers sync.WaitGroup
}

// Run connects and copies until the client ends its input and all answers are
// written, until its output breaks, or until ctx ends. The first connection
// must succeed.
func (p *Pipe) Run(ctx context.Context) error {
	p.waiting = map[string]string{}
	p.in = newInput(nil, p.In)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	first, err := p.Dial(ctx)
	if err != nil {
		return err
	}
	defer p.readers.Wait()
	stop := context.AfterFunc(ctx, p.hangUp)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- p.copyIn(ctx, cancel, first) }() // a read of standard input cannot be interrupted
	select {
	case err := <-ended:
		if err != nil {
			p.hangUp()
			return err
		}
		p.finish()
		p.readers.Wait()
	case <-ctx.Done():
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// finish tells the server that the client sends no more.
func (p *Pipe) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		_ = p.conn.CloseWrite() // if the server is gone its reader says so
	}
}

func (p *Pipe) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		p.conn.Close()
	}
}

// connect begins to use a connection: it gives it the client's descriptors, and
// waits for as long as the server has them; or it starts copying its lines.
// next is what was read of the input and not said yet.
func (p *Pipe) connect(ctx context.Context, cancel context.CancelCauseFunc, c daemon.Conn, next []byte) error {
	p.mu.Lock()
	p.conn = c.UnixConn
	hello := p.hello
	p.mu.Unlock()
	if ctx.Err() != nil { // hangUp may have come before
		c.Close()
	}
	if c.Handover {
		if err := p.handOver(ctx, c.UnixConn, next); err != nil {
			return err
		}
	}
	p.readers.Add(1)
	go func() {
		defer p.readers.Done()
		if err := p.copyOut(c.UnixConn); err != nil {
			cancel(err)
		}
	}()
	if hello != nil {
		_, _ = c.Write(hello) // if it fails, so does the next write
	}
	return nil
}

// copyIn carries the client's lines to the server.
func (p *Pipe) copyIn(ctx context.Context, cancel context.CancelCauseFunc, first daemon.Conn) error {
	err := p.connect(ctx, cancel, first, nil)
	for err == nil || errors.Is(err, errTakenBack) || errors.Is(err, errNotGiven) {
		err = p.copyLine(ctx, cancel)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// copyLine carries one line. After the last it is io.EOF.
func (p *Pipe) copyLine(ctx context.Context, cancel context.CancelCauseFunc) error {
	line, whole, readErr := readLine(p.in.Reader)
	if len(bytes.TrimSpace(line)) > 0 {
		if err := p.send(ctx, cancel, line, whole); err != nil {
			return err
		}
		if !whole {
			if err := p.passRest(p.in.Reader); err != nil {
				return err
			}
		}
	}
	if readErr != nil && !errors.Is(readErr, io.EOF) {
		return fmt.Errorf("read from the client: %w", readErr)
	}
	return readErr
}

// readLine reads up to a line's end. whole is false if it is longer than maxLine.
func readLine(r *bufio.Reader) (line []byte, whole bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, true, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			if len(line) > 0 {
				line = append(line, '\n')
			}
			return line, true, err
		case len(line) > maxLine:
			return line, false, nil
		}
	}
}

// passRest copies what is left of a line that is too long to be looked into.
func (p *Pipe) passRest(r *bufio.Reader) error {
	for {
		part, err := r.ReadSlice('\n')
		p.mu.Lock()
		c := p.conn
		p.mu.Unlock()
		if c != nil {
			_, _ = c.Write(part) // a lost server is noticed by its reader
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("read from the client: %w", err)
		}
	}
}

// send writes one line to the server, connecting first if there is none. A
// server that is lost before it has the whole line never carries it out, so the
// line is sent again, once. errTakenBack says that the line was handed over, and
// what came of that was seen to.
func (p *Pipe) send(ctx context.Context, cancel context.CancelCauseFunc, line []byte, whole bool) error {
	var m message
	if whole {
		m = look(line)
	}
	for range 2 {
		c, err := p.connection(ctx, cancel, line)
		switch {
		case errors.Is(err, errTakenBack), errors.Is(err, io.EOF):
			return err
		case errors.Is(err, errNotGiven):
			continue
		}
		if err != nil {
			return p.answerLost(m, fmt.Sprintf("unavailable: the Moorage server is not there: %v. Try again.", err))
		}
		p.expect(m, line)
		if _, err := c.Write(line); err == nil || !p.unexpect(m) {
			return nil
		}
		p.lost(c)
	}
	return p.answerLost(m, lostText)
}

func (p *Pipe) connection(ctx context.Context, cancel context.CancelCauseFunc, line []byte) (*net.UnixConn, error) {
	p.mu.Lock()
	c := p.conn
	p.mu.Unlock()
	if c != nil {
		return c, nil
	}
	p.Log.Info("connect to the server again")
	again, err := p.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return again.UnixConn, p.connect(ctx, cancel, again, p.in.after(line))
}

// expect notes that a request waits for an answer.
func (p *Pipe) expect(m message, line []byte) {
	if m.method == "" || m.id == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) < maxWaiting {
		p.waiting[m.id] = m.method
	}
	if m.method == "initialize" {
		p.hello = bytes.Clone(line)
	}
}

// unexpect takes a request back that was not sent. It is false if the request
// has been answered meanwhile.
func (p *Pipe) unexpect(m message) bool {
	if m.method == "" || m.id == "" {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, waits := p.waiting[m.id]
	delete(p.waiting, m.id)
	return waits
}
