package tools

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"moorage/fsbridge"
	"moorage/sandbox"
)

// CallTime is how long a call lives. Clients give up after 60 s, progress or
// not; what takes longer goes on in the background and the answer says so.
const CallTime = 49 * time.Second

// leaveTime is how long a call whose time has passed, or which was cancelled, is
// still waited for. Then it is answered as it is; what it began and cannot give
// up, such as the start of a container, is finished without it.
const leaveTime = 500 * time.Millisecond

var errCallTime = errors.New("the call took too long")

// definition is what a tool is to a client, beside its schemas.
type definition struct {
	name        string
	description string
	hints       hints
	long        bool // it may wait for something; see LongCalls
}

// hints are the four annotations.
type hints struct{ readOnly, destructive, idempotent, openWorld bool }

// call is one call of a tool.
type call struct {
	server   *Server
	bot      sandbox.Bot
	tool     string
	progress *progress
	notices  []string // about the container: made, started

	container atomic.Pointer[string] // as the caller gave it, then as it was resolved
}

// in notes which container the call is about.
func (c *call) in(container string) { c.container.Store(&container) }

func (c *call) containerName() string {
	if p := c.container.Load(); p != nil {
		return *p
	}
	return ""
}

// notice adds what was done to have the container, once.
func (c *call) notice(text string) {
	if !slices.Contains(c.notices, text) {
		c.notices = append(c.notices, text)
	}
}

// where are the facts of a call that worked in a container. Those that are rare
// are left out of the schemas: every tool would repeat them to every model.
type where struct {
	ContainerID string `json:"container_id"`
	Started     bool   `json:"started,omitempty" schema:"-"`
	Made        bool   `json:"container_created,omitempty" schema:"-"`
}

// agent gives the agent of the container that the caller means.
func (c *call) agent(ctx context.Context, id string) (sandbox.Agent, where, error) {
	c.in(id)
	if id != "" {
		if _, err := containerID(id); err != nil {
			return sandbox.Agent{}, where{}, err
		}
	}
	a, err := c.server.manager.Agent(ctx, c.bot, sandbox.ContainerID(id))
	if err != nil {
		return a, where{}, err
	}
	name := string(a.Ref.ID)
	c.in(name)
	switch {
	case a.Created:
		c.notice("made container " + name + " from the default image, as you had none")
	case a.Started:
		c.notice("started container " + name)
	}
	return a, where{name, a.Started, a.Created}, nil
}

// readings is how often a call that changes nothing is begun at most: its
// connection may end under it when its container is stopped, or dies.
const readings = 5

// reading calls op, which changes nothing, on the agent of a container. It is
// repeated if the connection ended under it.
func reading[R any](ctx context.Context, c *call, id string, op func(*fsbridge.Client) (R, error)) (R, where, error) {
	for n := 1; ; n++ {
		var r R
		a, at, err := c.agent(ctx, id)
		if err != nil {
			return r, at, err
		}
		r, err = op(a.Client)
		if n == readings || !errors.Is(err, fsbridge.ErrClosed) || ctx.Err() != nil {
			return r, at, err
		}
	}
}

func containerID(s string) (sandbox.ContainerID, error) {
	id, err := sandbox.ParseContainerID(s)
	if err != nil {
		return "", badArgument("container_id", s, "1 to 63 of a-z 0-9 . _ - that begin with a letter or digit")
	}
	return id, nil
}

// handler carries out a tool: input in, facts and contents out.
type handler[I, F any] func(ctx context.Context, c *call, in I) (reply[F], error)

// add registers a tool.
func add[I, F any](s *Server, d definition, h handler[I, F]) {
	in := inputSchema(reflect.TypeFor[I]())
	tool := mcp.Tool{
		Name: d.name, Description: d.description, RawInputSchema: in.raw,
		RawOutputSchema: readSchema(reflect.TypeFor[F](), false).raw,
		Annotations: mcp.ToolAnnotation{
			ReadOnlyHint: &d.hints.readOnly, DestructiveHint: &d.hints.destructive,
			IdempotentHint: &d.hints.idempotent, OpenWorldHint: &d.hints.openWorld,
		},
	}
	work := func(ctx context.Context, c *call, arguments any) (*mcp.CallToolResult, error) {
		var input I
		if err := in.read(d.name, arguments, reflect.ValueOf(&input).Elem()); err != nil {
			return nil, err
		}
		r, err := h(ctx, c, input)
		if err != nil {
			return nil, err
		}
		return r.result(c.notices), nil
	}
	s.tools[d.name] = &served{d, work}
	s.mcp.AddTool(tool, func(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return s.serve(ctx, s.tools[d.name], req.Params.Meta, req.Params.Arguments), nil
	})
}

// served is a tool as calls of it are carried out.
type served struct {
	definition
	work worker
}

// serve is what surrounds every call: who calls, how long it may take, its slot,
// its errors and panics, and its line in the log. The arguments are as package
// json decodes them, or a json.RawMessage.
func (s *Server) serve(ctx context.Context, t *served, meta *mcp.Meta, arguments any) *mcp.CallToolResult {
	begun := time.Now()
	c := &call{server: s, bot: botOf(ctx), tool: t.name}
	ctx, cancel := context.WithTimeoutCause(ctx, s.callTime, errCallTime)
	defer cancel()
	c.progress = newProgress(ctx, s, meta)
	res, err := s.limited(ctx, c, t, arguments)
	c.progress.end()
	var f *failure
	if err != nil {
		f = explain(ctx, err, c)
		res = mcp.NewToolResultError(f.Error() + c.noticed())
	}
	s.logCall(ctx, c, t.name, begun, f)
	return res
}

// noticed are the notices of a call that failed: what was done on the way to the
// failure stays done.
func (c *call) noticed() string {
	if len(c.notices) == 0 {
		return ""
	}
	return " [" + strings.Join(c.notices, "; ") + "]"
}

// worker is a tool from its arguments to its result.
type worker func(ctx context.Context, c *call, arguments any) (*mcp.CallToolResult, error)

// limited runs work in a slot of the bot's. What may be long is left behind when
// it goes on after ctx has ended: the Manager finishes creations, stops and
// deletions that it has begun, each within a time of its own. All else returns
// with its context, and needs no goroutine of its own.
func (s *Server) limited(ctx context.Context, c *call, t *served, arguments any) (*mcp.CallToolResult, error) {
	if c.bot == "" {
		return nil, hidden(errors.New("a call without a bot: the transport set none"))
	}
	free, err := s.limits.take(ctx, c.bot, t.long)
	if err != nil {
		return nil, err
	}
	if !t.long {
		defer free()
		return recovered(ctx, c, arguments, t.work)
	}
	type outcome struct {
		res *mcp.CallToolResult
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		defer free()
		res, err := recovered(ctx, c, arguments, t.work)
		done <- outcome{res, err}
	}()
	select {
	case o := <-done:
		return o.res, o.err
	case <-ctx.Done():
	}
	late := time.NewTimer(leaveTime)
	defer late.Stop()
	select {
	case o := <-done:
		return o.res, o.err
	case <-late.C:
		return nil, ctx.Err()
	}
}

// recovered turns a panic of work into an error.
func recovered(ctx context.Context, c *call, arguments any, work worker) (_ *mcp.CallToolResult, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = hidden(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	return work(ctx, c, arguments)
}

// logCall writes a call's one line. What the caller can mend is told by its code
// alone, as its text may quote arguments; what he cannot by its cause.
func (s *Server) logCall(ctx context.Context, c *call, tool string, begun time.Time, f *failure) {
	attrs := make([]slog.Attr, 0, 6)
	attrs = append(attrs, slog.String("bot", string(c.bot)), slog.String("container", clip(c.containerName(), 64)),
		slog.String("tool", tool), slog.Duration("dur", time.Since(begun)))
	level := slog.LevelInfo
	if f != nil {
		attrs = append(attrs, slog.String("err", string(f.code)))
		if f.err != nil && (f.code == internal || f.code == unavailable) {
			level = slog.LevelError
			attrs = append(attrs, slog.String("cause", f.err.Error()))
		}
	}
	s.log.LogAttrs(ctx, level, "call", attrs...)
}

// botKey is the context key of the bot that a request is carried out for.
type botKey struct{}

func withBot(ctx context.Context, bot sandbox.Bot) context.Context {
	return context.WithValue(ctx, botKey{}, bot)
}

func botOf(ctx context.Context) sandbox.Bot {
	bot, _ := ctx.Value(botKey{}).(sandbox.Bot)
	return bot
}
