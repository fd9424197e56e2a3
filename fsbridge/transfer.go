package fsbridge

import (
	"context"
	"errors"
	"fmt"
	"io"
)

const (
	// ChunkSize is how many bytes of a stream a sender puts into one frame.
	ChunkSize = 64 << 10
	// CreditStep is after how many bytes a receiver grants credit again.
	CreditStep = Window / 4
)

// ReadTo copies n bytes of a regular file, from offset on, to w; n below 0 means
// to the end. It returns how many were written to w; fewer than n when the file
// ends before. A slow w holds up nothing but this call.
func (c *Client) ReadTo(ctx context.Context, path Path, offset, n int64, w io.Writer) (int64, error) {
	l := newCall(OpFetch)
	l.in = NewInbox()
	if err := c.begin(ctx, l, &FetchRequest{Path: path, Offset: offset, Length: n}, nil); err != nil {
		return 0, err
	}
	written, err := c.drain(ctx, l, n, w)
	if err != nil {
		return written, err
	}
	var res FetchResult
	data, err := c.finish(ctx, l, &res)
	if err == nil && (len(data) > 0 || res.Bytes != written) {
		err = c.broken(OpFetch, fmt.Sprintf("%d bytes were said, %d sent", res.Bytes, written))
	}
	return written, err
}

// drain writes a call's stream to w and grants credit as it goes.
func (c *Client) drain(ctx context.Context, l *call, limit int64, w io.Writer) (written int64, err error) {
	var chunk []byte
	used := 0
	for {
		chunk, err = l.in.Take(ctx, chunk)
		if err == io.EOF { // the answer came; finish has it
			return written, nil
		}
		if err != nil {
			c.abandon(l)
			return written, fmt.Errorf("%v: %w", l.op, err)
		}
		if limit >= 0 && written+int64(len(chunk)) > limit {
			return written, c.broken(l.op, "more bytes than asked for")
		}
		n, err := w.Write(chunk)
		written += int64(n)
		if err != nil {
			c.abandon(l)
			return written, fmt.Errorf("%v: write received bytes: %w", l.op, err)
		}
		if used += len(chunk); used >= CreditStep && !l.settled() {
			l.in.Grant(used)
			if err := c.conn.WriteCredit(ctx, l.id, used); err != nil {
				c.abandon(l)
				return written, fmt.Errorf("%v: %w", l.op, c.lost(err))
			}
			used = 0
		}
	}
}

func (l *call) settled() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// WriteFrom is Write with the content from r. If r fails or ctx ends, nothing
// has changed in the container. It returns only after a Read of r that is under
// way has returned.
func (c *Client) WriteFrom(ctx context.Context, req WriteRequest, r io.Reader) (WriteResult, error) {
	req.Stream = true
	var res WriteResult
	if _, err := c.upload(ctx, OpWrite, &req, r, &res); err != nil {
		return WriteResult{}, err
	}
	return c.written(&req, res)
}

// upload is call with a stream after the request.
func (c *Client) upload(ctx context.Context, op Op, params any, r io.Reader, result any) ([]byte, error) {
	l := newCall(op)
	l.out = NewCredit()
	if err := c.begin(ctx, l, params, nil); err != nil {
		return nil, err
	}
	switch err := c.feed(ctx, l, r); {
	case err == nil, errors.Is(err, errAnswered):
		return c.finish(ctx, l, result)
	default:
		c.abandon(l)
		return nil, fmt.Errorf("%v: %w", op, c.lost(err))
	}
}

// errAnswered: the agent ended the request before the whole stream was sent.
var errAnswered = errors.New("answered early")

// feed sends r as the call's stream.
func (c *Client) feed(ctx context.Context, l *call, r io.Reader) error {
	buf := make([]byte, ChunkSize)
	for {
		n, rerr := fill(r, buf)
		if err := c.sendData(ctx, l, buf[:n]); err != nil {
			return err
		}
		if rerr == io.EOF {
			_, err := c.conn.Write(ctx, Header{ID: l.id, Kind: KindEnd}, nil, nil)
			return err
		}
		if rerr != nil {
			return fmt.Errorf("read content: %w", rerr)
		}
	}
}

// fill reads until buf is full or r ends. Unlike io.ReadFull it hands through
// an io.ErrUnexpectedEOF that is r's own: a cut stream is not a whole one.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var k int
		k, err = r.Read(buf[n:])
		n += k
	}
	return n, err
}

// sendData sends p within the call's credit.
func (c *Client) sendData(ctx context.Context, l *call, p []byte) error {
	for len(p) > 0 {
		if l.settled() {
			return errAnswered
		}
		n, err := l.out.Take(ctx, l.done, len(p))
		if errors.Is(err, io.ErrClosedPipe) {
			return errAnswered
		}
		if err != nil {
			return err
		}
		if _, err := c.conn.Write(ctx, Header{ID: l.id, Kind: KindData}, nil, p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}
