package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"moorage/sandbox"
)

// site is an HTTP server over a bench, with a token for each of two bots.
type site struct {
	*bench
	http       *httptest.Server
	tokens     *Tokens
	alice, bob string
}

func newSite(t *testing.T, change ...func(*HTTPOptions)) *site {
	t.Helper()
	s := &site{bench: newBench(t), tokens: OpenTokens(filepath.Join(t.TempDir(), "tokens.json"))}
	for bot, token := range map[sandbox.Bot]*string{"alice": &s.alice, "bob": &s.bob} {
		var err error
		if *token, _, err = s.tokens.Add(bot); err != nil {
			t.Fatal(err)
		}
	}
	o := HTTPOptions{Tokens: s.tokens, AllowedOrigins: []string{"https://good.example"}, AllowedHosts: []string{"moorage.example"}}
	for _, f := range change {
		f(&o)
	}
	s.http = httptest.NewServer(s.HTTPHandler(o))
	t.Cleanup(func() {
		s.Close()
		s.http.Close()
		s.http.Client().CloseIdleConnections()
	})
	return s
}

// ask is one HTTP request; headers are name, value pairs, "Host" too.
type ask struct {
	method, path, token, body string
	headers                   []string
}

type got struct {
	status int
	header http.Header
	body   string
}

func (s *site) request(t testing.TB, ctx context.Context, a ask) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, a.method, s.http.URL+a.path, strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	if a.method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	for i := 0; i < len(a.headers); i += 2 {
		if a.headers[i] == "Host" {
			r.Host = a.headers[i+1]
		} else {
			r.Header.Set(a.headers[i], a.headers[i+1])
		}
	}
	return r
}

func (s *site) do(t testing.TB, a ask) got {
	t.Helper()
	res, err := s.http.Client().Do(s.request(t, context.Background(), a))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got{res.StatusCode, res.Header, string(b)}
}

func (s *site) post(t testing.TB, token, body string, headers ...string) got {
	t.Helper()
	return s.do(t, ask{http.MethodPost, "/mcp", token, body, headers})
}

const initLine = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

// open initializes a session and returns the header that names it.
func (s *site) open(t testing.TB, token string) []string {
	t.Helper()
	r := s.post(t, token, initLine)
	id := r.header.Get("Mcp-Session-Id")
	if r.status != 200 || id == "" {
		t.Fatalf("initialize: %+v", r)
	}
	return []string{"Mcp-Session-Id", id, "Mcp-Protocol-Version", "2025-11-25"}
}

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"}}`

func modernCall(id any, tool, args string) (body string, headers []string) {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":%s,%s}}`, mustJSON(id), tool, args, modernMeta),
		[]string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", tool}
}

func TestNoTokenNoAnswer(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/mcp", "/sse", "/message?sessionId=x", "/", "/nosuch"} {
		for _, method := range []string{"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT"} {
			r := s.do(t, ask{method: method, path: path, body: initLine})
			if r.status != 401 || r.header.Get("WWW-Authenticate") != `Bearer realm="moorage"` {
				t.Errorf("%s %s without a token: %d %v", method, path, r.status, r.header)
			}
			r = s.do(t, ask{method: method, path: path, body: initLine, token: "moor_" + strings.Repeat("a", 43)})
			if r.status != 401 || !strings.Contains(r.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
				t.Errorf("%s %s with a wrong token: %d %v", method, path, r.status, r.header)
			}
		}
	}
	for _, auth := range []string{"Basic " + s.alice, s.alice, "Bearer", "Bearer  "} {
		if r := s.post(t, "", initLine, "Authorization", auth); r.status != 401 {
			t.Errorf("Authorization %.20q: %d", auth, r.status)
		}
	}
	if r := s.post(t, "", initLine, "Authorization", "bearer "+s.alice); r.status != 200 {
		t.Errorf("the scheme's case matters: %+v", r)
	}
	if r := s.post(t, "", initLine+"?token="+s.alice); r.status != 401 {
		t.Errorf("%+v", r)
	}
}

func TestRevokedTokenEndsAtOnce(t *testing.T) {
	s := newSite(t)
	session := s.open(t, s.alice)
	if _, err := s.tokens.Revoke(nil, "alice"); err != nil {
		t.Fatal(err)
	}
	if r := s.post(t, s.alice, callLine(1, "noop", "{}"), session...); r.status != 401 {
		t.Errorf("%+v", r)
	}
}

func TestHostAndOriginAreCheckedEverywhere(t *testing.T) {
	s := newSite(t)
	own := s.http.Listener.Addr().String()
	for _, x := range []struct {
		headers []string
		refused bool
	}{
		{nil, false},
		{[]string{"Host", "localhost:80"}, false},
		{[]string{"Host", "LOCALHOST."}, false},
		{[]string{"Host", "[::1]:1"}, false},
		{[]string{"Host", "moorage.example"}, false},
		{[]string{"Host", "moorage.example:8443"}, false},
		{[]string{"Host", "evil.example"}, true},
		{[]string{"Host", "127.0.0.1.evil.example"}, true},
		{[]string{"Host", "10.1.2.3"}, true},
		{[]string{"Origin", "http://" + own}, false},
		{[]string{"Origin", "https://good.example"}, false},
		{[]string{"Origin", "https://good.example.evil.example"}, true},
		{[]string{"Origin", "http://good.example"}, true},
		{[]string{"Origin", "http://evil.example"}, true},
		{[]string{"Origin", "http://localhost:3000"}, true}, // not any localhost
		{[]string{"Origin", "http://127.0.0.1"}, true},
		{[]string{"Origin", "null"}, true},
		{[]string{"Origin", "file://"}, true},
		{[]string{"Sec-Fetch-Site", "cross-site"}, true},
		{[]string{"Sec-Fetch-Site", "same-site"}, true},
		{[]string{"Sec-Fetch-Site", "none"}, false},
		{[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://good.example"}, false},
	} {
		for _, p := range []string{"POST /mcp", "GET /mcp", "DELETE /mcp", "POST /message", "GET /nosuch"} {
			method, path, _ := strings.Cut(p, " ")
			r := s.do(t, ask{method, path, s.alice, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, x.headers})
			if (r.status == 403) != x.refused {
				t.Errorf("%s %v: %d %s", p, x.headers, r.status, r.body)
			}
			if o := r.header.Get("Access-Control-Allow-Origin"); o != "" && o != "https://good.example" {
				t.Errorf("%s %v: Access-Control-Allow-Origin %s", p, x.headers, o)
			}
		}
	}
	r := s.do(t, ask{method: "OPTIONS", path: "/mcp", headers: []string{"Origin", "https://good.example", "Access-Control-Request-Method", "POST"}})
	if r.status != 204 || r.header.Get("Access-Control-Allow-Origin") != "https://good.example" || !strings.Contains(r.header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("preflight of an allowed origin: %+v", r)
	}
	if r := s.do(t, ask{method: "OPTIONS", path: "/mcp", headers: []string{"Origin", "http://evil.example"}}); r.status != 403 {
		t.Errorf("preflight of another: %+v", r)
	}
}

func TestBodiesAreBoundedAndTyped(t *testing.T) {
	s := newSite(t)
	big := callLine(1, "echo", map[string]any{"text": strings.Repeat("a", MessageMax)})
	for _, path := range []string{"/mcp", "/message?sessionId=x"} {
		for _, x := range []struct {
			body, kind string
			status     int
		}{
			{big, "application/json", 413},
			{initLine, "text/plain", 415},
			{initLine, "", 415},
			{initLine, "application/json; charset=", 415},
			{`{bad`, "application/json", 400},
			{`[` + initLine + `]`, "application/json; charset=utf-8", 400},
			{``, "application/json", 400},
		} {
			r := s.do(t, ask{http.MethodPost, path, s.alice, x.body, []string{"Content-Type", x.kind}})
			if r.status != x.status || !strings.Contains(r.body, `"error"`) {
				t.Errorf("%s %.30s as %q: %d %s", path, x.body, x.kind, r.status, r.body)
			}
		}
	}
	// Of unknown length, too.
	r := s.request(t, context.Background(), ask{http.MethodPost, "/mcp", s.alice, "", nil})
	r.Body, r.ContentLength = io.NopCloser(io.LimitReader(neverEnding('x'), MessageMax+1)), -1
	res, err := s.http.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 413 {
		t.Errorf("%d", res.StatusCode)
	}
	if r := s.do(t, ask{method: "PUT", path: "/mcp", token: s.alice}); r.status != 405 {
		t.Errorf("PUT: %d", r.status)
	}
}

type neverEnding byte

func (b neverEnding) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

func TestSessionsBelongToOneBot(t *testing.T) {
	s := newSite(t)
	session := s.open(t, s.alice)
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	if r := s.post(t, s.alice, ping, session...); r.status != 200 {
		t.Fatalf("%+v", r)
	}
	made := append([]string{"Mcp-Session-Id", "mcp-session-00000000-0000-0000-0000-000000000000"}, session[2:]...)
	for _, method := range []string{"POST", "GET", "DELETE"} {
		foreign := s.do(t, ask{method, "/mcp", s.bob, ping, session})
		unknown := s.do(t, ask{method, "/mcp", s.alice, ping, made})
		if foreign.status != 404 || unknown.status != 404 || foreign.body != unknown.body {
			t.Errorf("%s: another bot's session %d %s, one made up %d %s", method, foreign.status, foreign.body, unknown.status, unknown.body)
		}
		if r := s.do(t, ask{method, "/mcp", s.alice, ping, nil}); r.status != 400 {
			t.Errorf("%s without a session: %d", method, r.status)
		}
	}
	if r := s.post(t, s.alice, ping, session...); r.status != 200 {
		t.Errorf("another bot ended the session: %+v", r)
	}
	if r := s.do(t, ask{"DELETE", "/mcp", s.alice, "", session}); r.status != 200 {
		t.Errorf("%+v", r)
	}
	if r := s.post(t, s.alice, ping, session...); r.status != 404 {
		t.Errorf("after DELETE: %+v", r)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	s := newSite(t)
	bobs := s.open(t, s.bob)
	first := s.open(t, s.alice)
	for range SessionsPerBot {
		s.open(t, s.alice)
	}
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	if r := s.post(t, s.alice, ping, first...); r.status != 404 {
		t.Errorf("the oldest session goes on: %d", r.status)
	}
	if r := s.post(t, s.bob, ping, bobs...); r.status != 200 {
		t.Errorf("another bot's session ended: %d", r.status)
	}
}

// TestHTTPProgressIsAllThere: mcp-go alone loses five of six.
func TestHTTPProgressIsAllThere(t *testing.T) {
	s := newSite(t)
	session := s.open(t, s.alice)
	const n = 100
	whole := 0
	for i := range n {
		r := s.post(t, s.alice, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"progress","arguments":{"text":"x","n":3},"_meta":{"progressToken":"t"}}}`, i), session...)
		at, end := strings.Index(r.body, `"progress":3`), strings.Index(r.body, `"done"`)
		if at >= 0 && at < end {
			whole++
		}
	}
	if whole != n {
		t.Errorf("the last progress came before the result in %d of %d calls", whole, n)
	}
}

func TestModernAndLegacyOnOneEndpoint(t *testing.T) {
	s := newSite(t)
	body, headers := modernCall(1, "echo", `{"text":"hi"}`)
	r := s.post(t, s.alice, body, headers...)
	if r.status != 200 || !strings.Contains(r.body, `"bot":"alice"`) || !strings.Contains(r.body, "resultType") || r.header.Get("Mcp-Session-Id") != "" {
		t.Errorf("%+v", r)
	}
	// A session id on it is ignored, whosever it is.
	if r := s.post(t, s.bob, body, append(headers, s.open(t, s.alice)[:2]...)...); r.status != 200 || !strings.Contains(r.body, `"bot":"bob"`) {
		t.Errorf("%+v", r)
	}
	if r := s.post(t, s.alice, callLine(1, "echo", `{"text":"hi"}`), s.open(t, s.alice)...); r.status != 200 || !strings.Contains(r.body, `"bot":"alice"`) {
		t.Errorf("%+v", r)
	}
}

// TestNobodyCancelsForOthers: a cancellation posted by one client ends no call of
// another, whatever the version.
func TestNobodyCancelsForOthers(t *testing.T) {
	s := newSite(t)
	body, headers := modernCall(5, "hold", `{"text":"modern"}`)
	session := s.open(t, s.alice)
	var wg sync.WaitGroup
	answers := make(chan got, 2)
	wg.Go(func() { answers <- s.post(t, s.alice, body, headers...) })
	wg.Go(func() { answers <- s.post(t, s.alice, callLine(5, "hold", `{"text":"legacy"}`), session...) })
	await(t, s.entered, "call")
	await(t, s.entered, "call")
	for _, token := range []string{s.alice, s.bob} {
		r := s.post(t, token, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5,`+modernMeta+`}}`,
			"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "notifications/cancelled")
		if r.status != 202 {
			t.Errorf("%+v", r)
		}
		r = s.post(t, token, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}`, s.open(t, token)...)
		if r.status != 202 {
			t.Errorf("%+v", r)
		}
		s.post(t, token, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}`)
		s.post(t, s.bob, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}`, session...)
	}
	if s.running.Load() != 2 {
		t.Fatal("a call was cancelled by another client")
	}
	// Its own session may.
	s.post(t, s.alice, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}`, session...)
	if got := await(t, s.ended, "cancellation"); got != "legacy" {
		t.Errorf("%s was cancelled", got)
	}
	close(s.release)
	wg.Wait()
}

func TestDisconnectCancels(t *testing.T) {
	s := newSite(t)
	session := s.open(t, s.alice)
	modern, headers := modernCall(5, "hold", `{"text":"modern"}`)
	for _, a := range []ask{
		{http.MethodPost, "/mcp", s.alice, modern, headers},
		{http.MethodPost, "/mcp", s.alice, callLine(5, "hold", `{"text":"legacy"}`), session},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if res, err := s.http.Client().Do(s.request(t, ctx, a)); err == nil {
				res.Body.Close()
			}
		}()
		await(t, s.entered, "call")
		cancel()
		await(t, s.ended, "cancellation")
		<-done
	}
}

func TestHTTPLogsNoSecrets(t *testing.T) {
	s := newSite(t)
	session := s.open(t, s.alice)
	s.post(t, s.alice, callLine(1, "echo", `{"text":"private"}`), session...)
	s.post(t, s.alice, callLine(1, "echo", `{"txet":"private"}`), session...)
	s.do(t, ask{"DELETE", "/mcp", s.alice, "", session})
	for _, secret := range []string{s.alice, session[1], "private"} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log holds %s:\n%s", secret, s.log)
		}
	}
	var line struct{ Bot string }
	if first, _, _ := bytes.Cut([]byte(s.log.String()), []byte("\n")); json.Unmarshal(first, &line) != nil || line.Bot != "alice" {
		t.Errorf("%s", s.log)
	}
}
