package tools

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"golang.org/x/sync/semaphore"

	"moorage/sandbox"
)

// Bounds of one connection. When they are reached nothing more is read from it
// until a request has been answered, and the answer has been taken.
const (
	// InFlight is how many requests of a connection are carried out at once.
	InFlight = 128
	// inFlightBytes bounds their messages; each counts as requestBytes at least.
	inFlightBytes = InFlight * requestBytes
)

// client is one connected client: a stdio pipe or an SSE stream. What it sends
// goes through accept; what it is sent, through write, one message at a time.
type client struct {
	server     *Server
	bot        sandbox.Bot
	id         string
	legacyOnly bool                       // refuse versions that know no sessions
	write      func(message []byte) error // does not keep it
	account    Lines                      // told of requests; nil over SSE

	ctx     context.Context
	cancel  context.CancelCauseFunc
	space   *semaphore.Weighted
	out     sync.Mutex
	version atomic.Pointer[string] // as negotiated by initialize
	ready   atomic.Bool

	mu       sync.Mutex
	requests map[string]*request
	closed   bool
	running  sync.WaitGroup
	workers  *workers
}

var errDuplicateID = errors.New("a request with this id is in flight")

func (s *Server) newClient(ctx context.Context, bot sandbox.Bot, write func([]byte) error) *client {
	c := &client{
		server: s, bot: bot, id: "conn-" + uuid.NewString(), write: write,
		space: semaphore.NewWeighted(inFlightBytes), requests: map[string]*request{},
	}
	c.ctx, c.cancel = context.WithCancelCause(withBot(ctx, bot))
	c.workers = newWorkers(c.ctx.Done())
	return c
}

// accept takes one message. It waits, until ctx ends, for there to be room for
// it, and returns before it is carried out.
func (c *client) accept(ctx context.Context, m message) error {
	r, err := c.take(ctx, m)
	if r != nil {
		c.workers.run(r.run)
	}
	return err
}

// take is accept, but the request, if it is one, is for the caller to run.
func (c *client) take(ctx context.Context, m message) (*request, error) {
	switch {
	case m.method == string(mcp.MethodNotificationCancelled):
		c.cancelRequest(m.cancels())
		return nil, nil
	case !m.isRequest():
		return nil, nil // nothing is asked of clients, so nothing is answered by them
	}
	weight := min(max(int64(len(m.raw)), requestBytes), inFlightBytes)
	if err := c.space.Acquire(ctx, weight); err != nil {
		return nil, err
	}
	r, err := c.begin(m, weight)
	if err != nil {
		c.space.Release(weight)
	}
	if errors.Is(err, errDuplicateID) {
		err = c.send(rpcError(m.id, mcp.INVALID_REQUEST, "invalid request: "+err.Error()))
	}
	return r, err
}

// begin makes a request known, so that it can be cancelled.
func (c *client) begin(m message, weight int64) (*request, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := idKey(m.id)
	if c.closed {
		return nil, context.Canceled
	}
	if err := context.Cause(c.ctx); err != nil {
		return nil, err
	}
	if c.requests[key] != nil {
		return nil, errDuplicateID
	}
	r := &request{client: c, message: m, key: key, weight: weight, alone: len(c.requests) == 0}
	r.ctx, r.cancel = context.WithCancelCause(c.ctx)
	if c.account != nil {
		r.slot = c.account.Begin(m.id, m.method)
	}
	c.requests[key] = r
	c.running.Add(1)
	return r, nil
}

func (c *client) cancelRequest(key string) {
	c.mu.Lock()
	r := c.requests[key]
	c.mu.Unlock()
	if r != nil {
		r.dropped.Store(true)
		r.cancel(sandbox.ErrGivenUp)
	}
}

// send writes one message. When that fails the connection is of no use, and
// everything on it is cancelled.
func (c *client) send(v any) error {
	b, err := encode(v)
	if err != nil {
		return err
	}
	defer giveBuffer(b)
	c.out.Lock()
	defer c.out.Unlock()
	if err := context.Cause(c.ctx); err != nil {
		return err
	}
	if err := c.write(b); err != nil {
		err = fmt.Errorf("write message: %w", err)
		c.cancel(err)
		return err
	}
	return nil
}

// close cancels what is in flight and waits until it has ended.
func (c *client) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel(context.Canceled)
	c.running.Wait()
	c.workers.wait()
}

// request is one request of a client. To mcp-go it is a session of its own, so
// that what is sent on behalf of a request comes before its answer.
type request struct {
	*client
	message
	key     string
	slot    int   // in the connection's account
	weight  int64 // in client.space
	alone   bool  // no other was in flight when it came
	ctx     context.Context
	cancel  context.CancelCauseFunc
	dropped atomic.Bool // cancelled by the client: it gets no answer

	notesOnce sync.Once
	notes     chan mcp.JSONRPCNotification // what mcp-go itself sends
	noted     chan struct{}
}

// requestOf is the request that ctx belongs to, nil over streamable HTTP.
func requestOf(ctx context.Context) *request {
	r, _ := server.ClientSessionFromContext(ctx).(*request)
	return r
}

// quick reports whether the request does not wait for what may be long.
func (r *request) quick() bool {
	if r.call == nil {
		return false
	}
	t := r.server.tools[r.call.name]
	return t != nil && !t.long
}

// run serves the request and gives its room back.
func (r *request) run() {
	defer r.running.Done()
	defer r.space.Release(r.weight)
	r.serve()
}

// serve carries the request out and answers it.
func (r *request) serve() {
	resp := r.handle()
	r.cancel(nil)
	if r.notes != nil {
		close(r.notes)
		<-r.noted
	}
	r.forget()
	if resp != nil && !r.dropped.Load() && r.send(answering(resp, r.message.id)) != nil && context.Cause(r.client.ctx) != nil {
		return // the connection has ended, and the request remains without answer
	}
	if r.account != nil {
		r.account.End(r.slot)
	}
}

// forget frees the request's id, which the client may use again as soon as it
// has the answer.
func (r *request) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.requests, r.key)
}

func (r *request) handle() (resp mcp.JSONRPCMessage) {
	defer func() {
		if p := recover(); p != nil {
			ref := reference()
			r.server.log.Error("panic in a request", "bot", r.bot, "err", fmt.Sprint(p), "reference", ref, "stack", string(debug.Stack()))
			resp = *rpcError(nil, mcp.INTERNAL_ERROR, "internal error, reference "+ref)
		}
	}()
	ctx := r.server.mcp.WithContext(r.ctx, r)
	if r.call != nil {
		if t := r.server.tools[r.call.name]; t != nil {
			return callAnswer{r.message.id, r.server.serve(ctx, t, r.call.meta, r.call.arguments)}
		}
	}
	if r.legacyOnly {
		ctx = server.WithSupportedProtocolVersions(ctx, mcp.LegacyProtocolVersions())
		if v := r.modern(); v != "" && r.method != string(mcp.MethodServerDiscover) {
			return mcp.UnsupportedProtocolVersionError{Version: v, Supported: mcp.LegacyProtocolVersions()}.JSONRPCError()
		}
	}
	return r.server.mcp.HandleMessage(ctx, r.raw)
}

// notify sends a notification, waiting for the client to take it.
func (r *request) notify(n mcp.JSONRPCNotification) error {
	if r.dropped.Load() {
		return context.Canceled
	}
	return r.send(n)
}

// SessionID implements server.ClientSession: the connection's.
func (r *request) SessionID() string { return r.client.id }

// Initialize implements server.ClientSession.
func (r *request) Initialize() { r.ready.Store(true) }

// Initialized implements server.ClientSession. Every request may be notified.
func (r *request) Initialized() bool { return true }

// NotificationChannel implements server.ClientSession. The goroutine that
// forwards exists only once it is asked for; it ends before the answer is sent.
func (r *request) NotificationChannel() chan<- mcp.JSONRPCNotification {
	r.notesOnce.Do(func() {
		r.notes, r.noted = make(chan mcp.JSONRPCNotification, 64), make(chan struct{})
		go func() {
			defer close(r.noted)
			for n := range r.notes {
				_ = r.notify(n) // on failure send has ended the connection
			}
		}()
	})
	return r.notes
}

// SetProtocolVersion keeps what initialize negotiated.
func (r *request) SetProtocolVersion(v string) { r.version.Store(&v) }

// ProtocolVersion implements server.SessionWithProtocolVersion.
func (r *request) ProtocolVersion() string {
	if v := r.version.Load(); v != nil {
		return *v
	}
	return ""
}

var _ server.SessionWithProtocolVersion = (*request)(nil)
