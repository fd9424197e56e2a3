package tools

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/tidwall/gjson"

	"moorage/fsbridge"
	"moorage/sandbox"
)

// drainTime is how long, after the end of input, requests may take to be
// answered: each ends by itself within CallTime.
const drainTime = CallTime + 3*time.Second

// Lines is a connection of messages, a line each, that keeps account of which
// of them are dealt with. A Server reads from one goroutine at a time, writes one
// message at a time, and ends requests from any goroutine.
type Lines interface {
	// ReadLine returns the next line without its end, in memory of its own;
	// TooLong for one over MessageMax; io.EOF after the last. What it returned
	// before has been dealt with: it was begun, or answered, or wants no answer.
	ReadLine() ([]byte, error)
	// More reports whether a part of a further line is there already.
	More() bool
	// WriteLine writes a message with its end.
	WriteLine(message []byte) error
	// Begin notes, before it is carried out, that the line which was read last is
	// a request. At most InFlight of them have begun and not ended. Its id has at
	// most IDMax bytes, and the message HelloMax if the method is initialize.
	Begin(id json.RawMessage, method string) (slot int)
	// End notes that a request was answered, or that its client wants no answer.
	// What was broken off without one never ends.
	End(slot int)
	// Unblock makes a ReadLine or WriteLine that is under way return.
	Unblock()
}

// Bounds of what Lines must keep of a request, in bytes.
const (
	IDMax    = 1000
	HelloMax = 1 << 20
)

// TooLong is the error of ReadLine for a line over MessageMax that begins so.
func TooLong(beginning []byte) error {
	return &tooLong{idOf(beginning[:min(len(beginning), idWithin)])}
}

// tooLong is a line over MessageMax. Its request's id is told if it stands near
// the beginning, so that a client that waits for that answer gets it.
type tooLong struct{ id json.RawMessage }

func (*tooLong) Error() string { return "the line is too long" }

// idWithin is how much of a line that is too long is searched for the id.
const idWithin = 4 << 10

var (
	errDrained = errors.New("requests were not answered in time after the end of input")
)

// ServeConn serves one client that sends JSON-RPC messages a line each, for one
// bot. It returns nil at the end of input, when every request that was read has
// been answered; ctx's error when ctx ends, whose requests are then cancelled
// without an answer; or what went wrong with in or out.
//
// When ctx ends, or a write fails, in and out are unblocked by their
// SetReadDeadline and SetWriteDeadline if they have them, else by Close. With
// neither, ServeConn returns when the Read or Write under way does.
func (s *Server) ServeConn(ctx context.Context, in io.Reader, out io.Writer, bot sandbox.Bot) error {
	return s.ServeLines(ctx, &plainLines{in, bufio.NewReaderSize(in, 64<<10), out}, bot)
}

// ServeLines is ServeConn for a connection that keeps account.
func (s *Server) ServeLines(ctx context.Context, l Lines, bot sandbox.Bot) error {
	c := s.newClient(ctx, bot, func(b []byte) error { return l.WriteLine(append(b, '\n')) })
	c.account = l
	defer c.close()
	leaveAlone := context.AfterFunc(c.ctx, l.Unblock)
	err := c.readLines(l)
	if err == nil {
		err = c.drain()
	}
	if cause := context.Cause(c.ctx); cause != nil {
		return cause
	}
	if err == nil {
		leaveAlone() // all is answered; close has nothing to wake
	}
	return err
}

// readLines takes messages until the end of input. Who reads a quick call that is
// alone carries it out.
func (c *client) readLines(l Lines) error {
	var relay fsbridge.Relay
	err := relay.Run(func() (func(), error) {
		work, err := c.readMessage(l)
		if err != nil && !errors.Is(err, io.EOF) {
			c.cancel(err) // which ends the work that Run waits for
		}
		return work, err
	})
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// readMessage takes a message, and returns what is left to do for it.
func (c *client) readMessage(l Lines) (work func(), err error) {
	line, err := l.ReadLine()
	var long *tooLong
	switch {
	case errors.As(err, &long):
		return nil, c.send(rpcError(long.id, mcp.INVALID_REQUEST, fmt.Sprintf("invalid request: a message has at most %d bytes; send large content in pieces", MessageMax)))
	case err != nil || len(bytes.TrimSpace(line)) == 0:
		return nil, err
	}
	m, bad := parseMessage(line)
	switch {
	case bad != nil:
		return nil, c.send(bad)
	case len(m.id) > IDMax:
		return nil, c.send(rpcError(m.id, mcp.INVALID_REQUEST, fmt.Sprintf("invalid request: an id has at most %d bytes", IDMax)))
	case m.method == string(mcp.MethodInitialize) && len(m.raw) > HelloMax:
		return nil, c.send(rpcError(m.id, mcp.INVALID_REQUEST, fmt.Sprintf("invalid request: an initialize message has at most %d bytes", HelloMax)))
	}
	q, err := c.take(c.ctx, m)
	switch {
	case q == nil:
		return nil, err
	case q.alone && q.quick() && !l.More():
		return q.run, nil
	}
	c.workers.run(q.run)
	return nil, nil
}

// drain waits for the requests in flight.
func (c *client) drain() error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.running.Wait() // ends at the latest by close
	}()
	late := time.NewTimer(drainTime)
	defer late.Stop()
	select {
	case <-done:
		return nil
	case <-late.C:
		return errDrained
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
}

// plainLines are Lines of which no account is kept.
type plainLines struct {
	in     io.Reader
	buffer *bufio.Reader
	out    io.Writer
}

func (s *plainLines) ReadLine() ([]byte, error) { return readLine(s.buffer) }

func (s *plainLines) More() bool { return s.buffer.Buffered() > 0 }

func (s *plainLines) WriteLine(b []byte) error {
	_, err := s.out.Write(b)
	return err
}

func (s *plainLines) Begin(json.RawMessage, string) int { return 0 }
func (s *plainLines) End(int)                           {}

func (s *plainLines) Unblock() {
	unblock(s.in)
	unblock(s.out)
}

// readLine returns the next line without its end, in memory of its own. A line
// over MessageMax is read to its end without being kept, and is a *tooLong. The
// last line need not have an end; after it comes io.EOF.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	var long *tooLong
	for {
		part, err := r.ReadSlice('\n')
		if long == nil && len(line)+len(part) > MessageMax+1 {
			long = &tooLong{idOf(line[:min(len(line), idWithin)])}
		}
		if long != nil {
			line = nil
		} else {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || len(line) == 0 && long == nil):
			return nil, err
		case long != nil:
			return nil, long
		}
		return bytes.TrimSuffix(line, []byte("\n")), nil
	}
}

// idOf finds a request's id in the beginning of a message; nil if it is not there.
func idOf(beginning []byte) json.RawMessage {
	id := gjson.GetBytes(beginning, "id")
	if id.Type != gjson.Number && id.Type != gjson.String || !json.Valid([]byte(id.Raw)) {
		return nil
	}
	return json.RawMessage(id.Raw)
}

// unblock makes a Read or Write that is under way return.
func unblock(v any) {
	past := time.Unix(1, 0)
	if d, ok := v.(interface{ SetReadDeadline(time.Time) error }); ok && d.SetReadDeadline(past) == nil {
		if w, ok := v.(interface{ SetWriteDeadline(time.Time) error }); ok {
			_ = w.SetWriteDeadline(past) // what was set for reading can be set for writing
		}
		return
	}
	if c, ok := v.(io.Closer); ok {
		_ = c.Close() // only to wake who waits; the owner closes it again
	}
}
