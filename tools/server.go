package tools

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"moorage/sandbox"
)

// instructions are what a client may show its model before any tool. The first
// 512 characters say how to begin, as some clients cut there.
const instructions = `Moorage gives you a Linux container of your own, which keeps running between calls. Begin with any tool: exec runs a command (exec {"command":"ls -la"}), fs_read, fs_edit and fs_write work on files, fs_grep and fs_glob find them; a container is made on the first call, or by create_container with the image you want. Without container_id a call means your current container. Relative paths start at /data, which outlives the container; files elsewhere live as long as the container.
Change files by fs_edit or fs_patch; give the revision of your last read as if_revision to overwrite nobody's change. Before a risky step take a create_snapshot, of files everywhere in the container and of /data; restore_snapshot goes back to it. A command that outlives wait_seconds goes on in the background: process follows, feeds and stops it. A result that was cut says which call gets the rest. An error reads "code: cause. Hint.": follow the hint.`

// Options configure a Server. The zero value is usable.
type Options struct {
	Version string       // of Moorage, told to clients; "devel" if empty
	Log     *slog.Logger // discards if nil
}

// Server serves the tools over a Manager to any number of clients.
type Server struct {
	manager *sandbox.Manager
	mcp     *server.MCPServer
	log     *slog.Logger
	tools   map[string]*served // by name; complete when NewServer returns
	limits  limits

	callTime time.Duration // CallTime, but in tests

	mu      sync.Mutex
	closers []func()
	closed  bool
}

// NewServer makes a Server. It starts nothing and does not close the Manager.
func NewServer(m *sandbox.Manager, o Options) *Server {
	s := newServer(o)
	s.manager = m
	s.addContainers()
	s.addSnapshots()
	s.addFiles()
	s.addEditing()
	s.addTree()
	s.addSearching()
	s.addCommands()
	return s
}

// newServer makes a Server without tools.
func newServer(o Options) *Server {
	if o.Version == "" {
		o.Version = "devel"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{log: o.Log, callTime: CallTime, tools: map[string]*served{}, mcp: server.NewMCPServer("moorage", o.Version,
		server.WithTitle("Moorage"),
		server.WithToolCapabilities(false),
		server.WithInstructions(instructions),
		server.WithCacheHints(60_000, mcp.CacheScopePrivate),
	)}
}

// Close ends the streams of HTTP clients and what handlers made by HTTPHandler
// run in the background. It is safe to call it twice. Connections of ServeConn
// end with their context.
func (s *Server) Close() error {
	s.mu.Lock()
	closers := s.closers
	s.closers, s.closed = nil, true
	s.mu.Unlock()
	for _, c := range closers {
		c()
	}
	return nil
}

// onClose has f called by Close, at once if that was called already.
func (s *Server) onClose(f func()) {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.closers = append(s.closers, f)
	}
	s.mu.Unlock()
	if closed {
		f()
	}
}

// notify sends a notification to the client of the request in ctx, before the
// answer to that request.
func (s *Server) notify(ctx context.Context, method string, params map[string]any) error {
	r := requestOf(ctx)
	if r == nil {
		return s.mcp.SendNotificationToClient(ctx, method, params)
	}
	return r.notify(mcp.JSONRPCNotification{JSONRPC: mcp.JSONRPC_VERSION, Notification: mcp.Notification{
		Method: method, Params: mcp.NotificationParams{AdditionalFields: params},
	}})
}
