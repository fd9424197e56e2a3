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

	"moorage/sandbox"
)

// drainTime is how long, after the end of input, requests may take to be
// answered: each ends by itself within CallTime.
const drainTime = CallTime + 3*time.Second

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
	c := s.newClient(ctx, bot, func(b []byte) error {
		_, err := out.Write(append(b, '\n'))
		return err
	})
	defer c.close()
	leaveAlone := context.AfterFunc(c.ctx, func() { unblock(in); unblock(out) })
	err := c.readLines(in)
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

// readLines takes messages until the end of input.
func (c *client) readLines(in io.Reader) error {
	r := bufio.NewReaderSize(in, 64<<10)
	for {
		line, err := readLine(r)
		var long *tooLong
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &long):
			err = c.send(rpcError(long.id, mcp.INVALID_REQUEST, fmt.Sprintf("invalid request: a message has at most %d bytes; send large content in pieces", MessageMax)))
		case err == nil && len(bytes.TrimSpace(line)) > 0:
			err = c.acceptLine(line)
		}
		if err != nil {
			return err
		}
	}
}

func (c *client) acceptLine(line []byte) error {
	m, bad := parseMessage(line)
	if bad != nil {
		return c.send(bad)
	}
	return c.accept(c.ctx, m)
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
