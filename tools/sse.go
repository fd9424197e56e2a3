package tools

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"moorage/sandbox"
)

const (
	// keepAlive is how often an idle stream gets a comment, which shows whether
	// its client is still there.
	keepAlive = 15 * time.Second
	// eventTime is how long one write to a stream may take.
	eventTime = 30 * time.Second
)

// sseStreams are the open streams of HTTP+SSE by their ids.
type sseStreams struct{ all sync.Map }

// find returns a bot's stream. Another bot's is as if it did not exist.
func (s *sseStreams) find(id string, bot sandbox.Bot) *client {
	c, _ := s.all.Load(id)
	if c, ok := c.(*client); ok && c.bot == bot {
		return c
	}
	return nil
}

// sse serves one stream. Its calls end with it.
func (w *web) sse(rw http.ResponseWriter, r *http.Request) {
	e := &events{rw, http.NewResponseController(rw)}
	c := w.server.newClient(r.Context(), botOf(r.Context()), func(b []byte) error { return e.send("message", b) })
	c.legacyOnly = true
	defer c.close()
	rw.Header().Set("Content-Type", "text/event-stream")
	rw.WriteHeader(http.StatusOK)
	w.streams.all.Store(c.id, c)
	defer w.streams.all.Delete(c.id)
	c.out.Lock()
	err := e.send("endpoint", []byte("/message?sessionId="+c.id))
	c.out.Unlock()
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for err == nil {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
			c.out.Lock()
			err = e.write(": keep-alive\n\n")
			c.out.Unlock()
		}
	}
}

// sseMessage takes one message for a stream. The answer goes there.
func (w *web) sseMessage(rw http.ResponseWriter, r *http.Request, m message) {
	c := w.streams.find(r.URL.Query().Get("sessionId"), botOf(r.Context()))
	if c == nil {
		refuse(rw, http.StatusNotFound, rpcError(nil, mcp.INVALID_REQUEST, "session not found; open /sse first"))
		return
	}
	if err := c.accept(r.Context(), m); err != nil {
		tooMany(rw, "the stream takes no more messages")
		return
	}
	rw.WriteHeader(http.StatusAccepted)
	fmt.Fprint(rw, "Accepted")
}

// events writes to a stream; its caller sees to it that one write is at a time.
type events struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (e *events) send(name string, data []byte) error {
	return e.write("event: " + name + "\ndata: " + string(data) + "\n\n")
}

func (e *events) write(text string) error {
	_ = e.rc.SetWriteDeadline(time.Now().Add(eventTime)) // not every ResponseWriter can
	if _, err := fmt.Fprint(e.w, text); err != nil {
		return err
	}
	return e.rc.Flush()
}
