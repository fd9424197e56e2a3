package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Bounds of HTTP.
const (
	bodyTime    = 30 * time.Second // for a request's body to come
	waitTime    = 10 * time.Second // for room when a bot has HTTPBytes under way
	recheckTime = 15 * time.Second // how soon a revoked token's streams end
)

// HTTPOptions configure HTTPHandler. Tokens is required.
type HTTPOptions struct {
	Tokens         TokenStore
	Addr           string        // where the server listens: its host may be asked for in Host
	AllowedHosts   []string      // other names of the server, with or without a port
	AllowedOrigins []string      // such as https://example.com; the server's own is always allowed
	SessionIdle    time.Duration // after which a session of streamable HTTP ends; 1 h if 0
}

// web is the HTTP side of a Server.
type web struct {
	server     *Server
	guard      *guard
	sessions   *sessions
	streamable *server.StreamableHTTPServer
	streams    sseStreams
	closing    context.Context
}

// HTTPHandler serves streamable HTTP at /mcp, and SSE at /sse and /message, to
// whoever has a token. It panics without Tokens. The http.Server around it needs
// a ReadHeaderTimeout and no WriteTimeout. What it runs ends with Close.
func (s *Server) HTTPHandler(o HTTPOptions) http.Handler {
	if o.Tokens == nil {
		panic("tools: HTTPHandler without Tokens")
	}
	if o.SessionIdle <= 0 {
		o.SessionIdle = time.Hour
	}
	closing, closeStreams := context.WithCancel(context.Background())
	w := &web{server: s, guard: newGuard(o), closing: closing}
	w.sessions = newSessions(w.endSession)
	w.streamable = server.NewStreamableHTTPServer(s.mcp,
		server.WithSessionIdManagerResolver(w.sessions),
		server.WithSessionIdleTTL(o.SessionIdle),
		server.WithDisableLocalhostProtection(true), // the guard's is stricter
		server.WithStreamableHTTPLogger(slog.New(errorsOnly{s.log.Handler()})),
	)
	s.onClose(func() {
		closeStreams()
		_ = w.streamable.Shutdown(context.Background()) // it runs no server, so there is nothing to wait for
	})
	mux := http.NewServeMux()
	mux.Handle("POST /mcp", w.body(w.postMCP))
	mux.Handle("GET /mcp", w.stream(w.getMCP))
	mux.HandleFunc("DELETE /mcp", w.deleteMCP)
	mux.Handle("GET /sse", w.stream(w.sse))
	mux.Handle("POST /message", w.body(w.sseMessage))
	return w.guard.around(mux)
}

// handled is a handler of a request whose message has been read.
type handled func(w http.ResponseWriter, r *http.Request, m message)

// body reads a POST's message, within bounds.
func (w *web) body(next handled) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
			refuse(rw, http.StatusUnsupportedMediaType, rpcError(nil, mcp.INVALID_REQUEST, "Content-Type must be application/json"))
			return
		}
		weight := r.ContentLength
		if weight < 0 || weight > MessageMax {
			weight = MessageMax
		}
		weight = max(weight, requestBytes)
		room := w.server.limits.of(botOf(r.Context())).http
		ctx, cancel := context.WithTimeout(r.Context(), waitTime)
		err := room.Acquire(ctx, weight)
		cancel()
		if err != nil {
			tooMany(rw, "too many requests of this bot are under way")
			return
		}
		defer room.Release(weight)
		raw, ok := readBody(rw, r)
		if !ok {
			return
		}
		m, bad := parseMessage(raw)
		if bad != nil {
			refuse(rw, http.StatusBadRequest, bad)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(raw))
		next(rw, r, m)
	})
}

// readBody reads a body of at most MessageMax bytes; when it cannot it answers.
func readBody(rw http.ResponseWriter, r *http.Request) ([]byte, bool) {
	rc := http.NewResponseController(rw)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTime)) // not every ResponseWriter can
	raw, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, MessageMax))
	_ = rc.SetReadDeadline(time.Time{})
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		refuse(rw, http.StatusRequestEntityTooLarge, rpcError(nil, mcp.INVALID_REQUEST, fmt.Sprintf("a message has at most %d bytes; send large content in pieces", MessageMax)))
	case err != nil:
		refuse(rw, http.StatusBadRequest, rpcError(nil, mcp.PARSE_ERROR, "the body did not come whole"))
	}
	return raw, err == nil
}

// stream bounds how many streams a bot holds, and ends one when the Server
// closes or the token that opened it is no longer valid.
func (w *web) stream(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		streams := w.server.limits.of(botOf(r.Context())).streams
		if !streams.TryAcquire(1) {
			tooMany(rw, fmt.Sprintf("this bot has %d streams open, which is the most", HTTPStreams))
			return
		}
		defer streams.Release(1)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(w.closing, cancel)()
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			w.guard.watch(ctx, r, cancel)
		}()
		next(rw, r.WithContext(ctx))
		cancel()
		<-watched
	})
}

// postMCP serves one message of streamable HTTP. Sessions of versions that have
// them are checked here, so that an id made up, or another bot's, is of no use.
func (w *web) postMCP(rw http.ResponseWriter, r *http.Request, m message) {
	modern := m.modern() != "" || mcp.IsModernProtocol(r.Header.Get(mcp.HeaderProtocolVersion))
	switch {
	case modern:
		r.Header.Del(server.HeaderKeySessionID)
		if m.method == string(mcp.MethodNotificationCancelled) {
			// Without sessions it would cancel whatever request has that id, of
			// whomever. A client cancels by closing its connection.
			rw.WriteHeader(http.StatusAccepted)
			return
		}
	case m.method != string(mcp.MethodInitialize):
		if !w.inSession(rw, r) {
			return
		}
	}
	w.streamable.ServeHTTP(rw, r)
}

func (w *web) getMCP(rw http.ResponseWriter, r *http.Request) {
	if mcp.IsModernProtocol(r.Header.Get(mcp.HeaderProtocolVersion)) || w.inSession(rw, r) {
		w.streamable.ServeHTTP(rw, r)
	}
}

func (w *web) deleteMCP(rw http.ResponseWriter, r *http.Request) {
	if mcp.IsModernProtocol(r.Header.Get(mcp.HeaderProtocolVersion)) || w.inSession(rw, r) {
		w.streamable.ServeHTTP(rw, r)
	}
}

// inSession checks that the request names a session of its bot; when it does not
// it answers.
func (w *web) inSession(rw http.ResponseWriter, r *http.Request) bool {
	id := r.Header.Get(server.HeaderKeySessionID)
	switch {
	case id == "":
		refuse(rw, http.StatusBadRequest, rpcError(nil, mcp.INVALID_REQUEST, "the header Mcp-Session-Id is missing; initialize gives one"))
	case !w.sessions.use(id, botOf(r.Context())):
		refuse(rw, http.StatusNotFound, rpcError(nil, mcp.INVALID_REQUEST, "session not found; initialize again"))
	default:
		return true
	}
	return false
}

// endSession has mcp-go forget a session, as if its client had deleted it.
func (w *web) endSession(id string) {
	r := &server.HTTPRequest{Method: http.MethodDelete, Header: http.Header{}, Context: context.Background()}
	r.Header.Set(server.HeaderKeySessionID, id)
	w.streamable.Handle(discard{http.Header{}}, r)
}

// discard is a response that nobody reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header       { return d.header }
func (discard) WriteHeader(int)             {}
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Flush()                      {}
func (discard) CanStream() bool             { return false }

// refuse answers a request that is not carried out.
func refuse(w http.ResponseWriter, status int, e *mcp.JSONRPCError) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(e) // the client may be gone
}

func tooMany(w http.ResponseWriter, text string) {
	w.Header().Set("Retry-After", strconv.Itoa(1))
	refuse(w, http.StatusTooManyRequests, rpcError(nil, mcp.INTERNAL_ERROR, "limit_exceeded: "+text))
}

// errorsOnly lets through what is worth a line: mcp-go logs session ids, which
// are secrets, at lower levels.
type errorsOnly struct{ slog.Handler }

// Enabled implements slog.Handler.
func (h errorsOnly) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError && h.Handler.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (h errorsOnly) WithAttrs(attrs []slog.Attr) slog.Handler {
	return errorsOnly{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h errorsOnly) WithGroup(name string) slog.Handler { return errorsOnly{h.Handler.WithGroup(name)} }
