package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"moorage/fsbridge"
)

// link is one connection.
type link struct {
	a    *Agent
	conn *fsbridge.Conn
	base fsbridge.Path // where relative paths start

	mu    sync.Mutex
	calls map[uint64]*call
	wg    sync.WaitGroup
}

// call is one request under way.
type call struct {
	id     uint64
	op     fsbridge.Op
	cancel context.CancelCauseFunc
	in     *fsbridge.Inbox  // the server's stream, or nil
	out    *fsbridge.Credit // of a stream to the server, or nil
}

// Serve says hello on rw, which it owns, and carries out what comes until the
// connection or ctx ends. It waits for the requests under way; commands that run
// go on. The error says why the connection ended and is never nil.
func (a *Agent) Serve(ctx context.Context, rw io.ReadWriteCloser) error {
	l := &link{a: a, conn: fsbridge.NewConn(rw), calls: make(map[uint64]*call)}
	defer l.conn.Close()
	if err := l.greet(ctx); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { rw.Close() })
	defer stop()
	gone, lost := context.WithCancelCause(context.WithoutCancel(ctx))
	err := l.receive(gone, lost)
	l.conn.Close()
	l.wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (l *link) greet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fsbridge.HelloTimeout)
	defer cancel()
	if err := l.conn.WriteJSON(ctx, fsbridge.Header{Kind: fsbridge.KindHello}, l.a.hello, nil); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	var f fsbridge.Frame
	if err := l.conn.ReadGreeting(ctx, fsbridge.KindWelcome, &f); err != nil {
		return err
	}
	var w fsbridge.Welcome
	if err := json.Unmarshal(f.JSON, &w); err != nil {
		return fmt.Errorf("read welcome: %w", err)
	}
	if w.Version != fsbridge.Version {
		return fmt.Errorf("read welcome: %w: it has %d, this is %d", fsbridge.ErrVersion, w.Version, fsbridge.Version)
	}
	l.base = w.DataDir
	return nil
}

// receive takes frames until there is an error. Who reads a request that is alone
// carries it out.
func (l *link) receive(ctx context.Context, lost context.CancelCauseFunc) error {
	var relay fsbridge.Relay
	return relay.Run(func() (work func(), err error) {
		var f fsbridge.Frame
		if err = l.conn.Read(&f); err != nil {
			err = fmt.Errorf("read frame: %w", err)
		} else {
			work, err = l.dispatch(ctx, &f)
		}
		if err != nil {
			lost(fsbridge.ErrClosed) // which ends the work under way
		}
		return work, err
	})
}

// dispatch starts a request, or returns it if it can be carried out at once, and
// gives the other frames to theirs. It waits for nothing.
func (l *link) dispatch(ctx context.Context, f *fsbridge.Frame) (work func(), err error) {
	switch f.Kind {
	case fsbridge.KindRequest:
		return l.begin(ctx, f)
	case fsbridge.KindData, fsbridge.KindEnd, fsbridge.KindCredit, fsbridge.KindCancel:
		c := l.find(f.ID)
		if c == nil {
			return nil, nil // it has ended; the server did not know yet
		}
		return nil, c.take(f)
	}
	return nil, &fsbridge.ProtocolError{Reason: fmt.Sprintf("%v from the server", f.Kind)}
}

func (l *link) find(id uint64) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls[id]
}

// take gives a call what is for it.
func (c *call) take(f *fsbridge.Frame) error {
	switch {
	case f.Kind == fsbridge.KindCancel:
		c.cancel(fsbridge.ErrCancelled)
	case f.Kind == fsbridge.KindCredit && c.out != nil:
		return c.out.Grant(f.Credit())
	case f.Kind == fsbridge.KindData && c.in != nil:
		return c.in.Push(f.Data)
	case f.Kind == fsbridge.KindEnd && c.in != nil:
		c.in.End(io.EOF)
	default:
		return &fsbridge.ProtocolError{Reason: fmt.Sprintf("%v for %v, which has no such stream", f.Kind, c.op)}
	}
	return nil
}

// begin starts a request. One that is alone, and will neither wait nor take more
// frames, is returned instead.
func (l *link) begin(ctx context.Context, f *fsbridge.Frame) (work func(), err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	c := &call{id: f.ID, op: f.Op, cancel: cancel}
	if f.Op == fsbridge.OpFetch {
		c.out = fsbridge.NewCredit()
	}
	r := &request{l: l, call: c, ctx: ctx, data: f.Data}
	if r.decode(f.JSON) {
		c.in = fsbridge.NewInbox()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.calls[f.ID] != nil:
		cancel(nil)
		return nil, &fsbridge.ProtocolError{Reason: fmt.Sprintf("id %d is in flight already", f.ID)}
	case len(l.calls) >= fsbridge.MaxInFlight:
		cancel(nil)
		return nil, &fsbridge.ProtocolError{Reason: fmt.Sprintf("more than %d requests in flight", fsbridge.MaxInFlight)}
	}
	l.calls[f.ID] = c
	if len(l.calls) == 1 && c.in == nil && c.out == nil && !r.op.waits && !l.conn.Buffered() {
		return r.run, nil
	}
	l.wg.Go(r.run)
	return nil, nil
}

// end forgets a call, before its answer is sent.
func (l *link) end(c *call) {
	l.mu.Lock()
	delete(l.calls, c.id)
	l.mu.Unlock()
	c.cancel(nil)
}

// answer sends a call's one answer. An error of the connection is found by the
// reader.
func (l *link) answer(c *call, result any, data []byte, err error) {
	l.end(c)
	if err != nil {
		l.fail(c, err)
		return
	}
	h := fsbridge.Header{ID: c.id, Kind: fsbridge.KindResponse}
	if result == nil {
		l.conn.Write(context.Background(), h, nil, data)
		return
	}
	err = l.conn.WriteJSON(context.Background(), h, result, data)
	if err != nil && !errors.Is(err, fsbridge.ErrClosed) {
		l.fail(c, fsbridge.Errorf(c.op, "", fsbridge.CodeTooLarge, "the result cannot be sent: %v", err))
	}
}

func (l *link) fail(c *call, err error) {
	e := fsbridge.NewError(c.op, "", err)
	if len(e.Message) > 1024 {
		e.Message = e.Message[:1024]
	}
	h := fsbridge.Header{ID: c.id, Kind: fsbridge.KindError}
	l.conn.WriteJSON(context.Background(), h, e, nil)
}
