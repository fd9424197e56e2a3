package tools

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

// sseClient is a client of HTTP+SSE.
type sseClient struct {
	site     *site
	token    string
	endpoint string
	events   *bufio.Reader
	body     io.Closer
	cancel   func()
}

func (s *site) sse(t *testing.T, token string) *sseClient {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	res, err := s.http.Client().Do(s.request(t, ctx, ask{method: "GET", path: "/sse", token: token}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	c := &sseClient{site: s, token: token, events: bufio.NewReader(res.Body), body: res.Body, cancel: cancel}
	name, data := c.event(t)
	if name != "endpoint" || !strings.HasPrefix(data, "/message?sessionId=") {
		t.Fatalf("%s %s", name, data)
	}
	c.endpoint = data
	return c
}

func (c *sseClient) event(t testing.TB) (name, data string) {
	t.Helper()
	for {
		line, err := c.events.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.HasPrefix(line, "event: "):
			name = line[7:]
		case strings.HasPrefix(line, "data: "):
			data = line[6:]
		case line == "" && name != "":
			return name, data
		}
	}
}

func (c *sseClient) post(t testing.TB, token, body string) got {
	t.Helper()
	return c.site.do(t, ask{http.MethodPost, c.endpoint, token, body, nil})
}

// answer posts a message and returns what comes on the stream.
func (c *sseClient) answer(t testing.TB, body string) string {
	t.Helper()
	if r := c.post(t, c.token, body); r.status != 202 {
		t.Fatalf("%+v", r)
	}
	_, data := c.event(t)
	return data
}

func TestSSE(t *testing.T) {
	s := newSite(t)
	c := s.sse(t, s.alice)
	if a := c.answer(t, strings.Replace(initLine, "2025-11-25", "2024-11-05", 1)); !strings.Contains(a, `"protocolVersion":"2024-11-05"`) {
		t.Errorf("%s", a)
	}
	if a := c.answer(t, callLine(1, "echo", `{"text":"hi"}`)); !strings.Contains(a, `"bot":"alice"`) {
		t.Errorf("%s", a)
	}
	// Versions without sessions cannot be had here.
	if a := c.answer(t, strings.Replace(initLine, "2025-11-25", "2026-07-28", 1)); !strings.Contains(a, `"protocolVersion":"2025-11-25"`) {
		t.Errorf("%s", a)
	}
	if a := c.answer(t, `{"jsonrpc":"2.0","id":2,"method":"server/discover","params":{`+modernMeta+`}}`); strings.Contains(a, `"2026-07-28"`) || !strings.Contains(a, `"2025-11-25"`) {
		t.Errorf("%s", a)
	}
	body, _ := modernCall(3, "echo", `{"text":"hi"}`)
	if a := c.answer(t, body); !strings.Contains(a, `"error"`) || !strings.Contains(a, `"supported"`) {
		t.Errorf("%s", a)
	}
	c.post(t, s.alice, `{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"progress","arguments":{"text":"x","n":3},"_meta":{"progressToken":"t"}}}`)
	for last := ""; !strings.Contains(last, `"done"`); {
		_, next := c.event(t)
		if strings.Contains(next, `"done"`) && !strings.Contains(last, `"progress":3`) {
			t.Errorf("%s then %s", last, next)
		}
		last = next
	}
}

func TestSSEStreamsBelongToOneBot(t *testing.T) {
	s := newSite(t)
	c := s.sse(t, s.alice)
	foreign := c.post(t, s.bob, callLine(1, "echo", `{"text":"hi"}`))
	unknown := s.do(t, ask{http.MethodPost, "/message?sessionId=conn-nosuch", s.bob, callLine(1, "echo", `{"text":"hi"}`), nil})
	none := s.do(t, ask{http.MethodPost, "/message", s.bob, callLine(1, "echo", `{"text":"hi"}`), nil})
	if foreign.status != 404 || unknown.status != 404 || none.status != 404 || foreign.body != unknown.body {
		t.Errorf("%+v\n%+v\n%+v", foreign, unknown, none)
	}
	if a := c.answer(t, `{"jsonrpc":"2.0","id":"mine","method":"ping"}`); !strings.Contains(a, `"mine"`) {
		t.Errorf("%s", a)
	}
}

func TestSSECallsEndWithTheStream(t *testing.T) {
	s := newSite(t)
	c := s.sse(t, s.alice)
	c.post(t, s.alice, callLine(1, "hold", `{"text":"x"}`))
	await(t, s.entered, "call")
	c.post(t, s.alice, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"hold","arguments":{"text":"y"}}}`)
	await(t, s.entered, "call")
	c.post(t, s.alice, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}`)
	if got := await(t, s.ended, "cancellation"); got != "y" {
		t.Errorf("%s", got)
	}
	c.cancel()
	if got := await(t, s.ended, "cancellation"); got != "x" {
		t.Errorf("%s", got)
	}
}

func TestStreamsAreBoundedAndEndWithTheServer(t *testing.T) {
	s := newSite(t)
	session := s.open(t, s.alice)
	var streams []*sseClient
	for range HTTPStreams - 1 {
		streams = append(streams, s.sse(t, s.alice))
	}
	res, err := s.http.Client().Do(s.request(t, t.Context(), ask{"GET", "/mcp", s.alice, "", append(session, "Accept", "text/event-stream")}))
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%v %v", res, err)
	}
	defer res.Body.Close()
	if r := s.do(t, ask{method: "GET", path: "/sse", token: s.alice}); r.status != 429 || r.header.Get("Retry-After") == "" {
		t.Errorf("%+v", r)
	}
	s.sse(t, s.bob)
	s.Close()
	for _, c := range streams {
		if _, err := io.Copy(io.Discard, c.events); err != nil && !strings.Contains(err.Error(), "EOF") {
			t.Errorf("%v", err)
		}
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Errorf("%v", err)
	}
}
