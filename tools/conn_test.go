package tools

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"moorage/sandbox"

	"github.com/mark3labs/mcp-go/mcp"
)

// bench is a server with tools that need no container, for what surrounds tools.
type bench struct {
	*Server
	running atomic.Int64
	entered chan string   // each hold that began, by its name
	ended   chan string   // each hold that ended by cancellation
	release chan struct{} // lets all holds return
	log     *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

type echoInput struct {
	Text string `json:"text" doc:"What to say."`
	N    int64  `json:"n,omitempty" doc:"How often."`
}

type echoFacts struct {
	Bot string `json:"bot"`
}

func newBench(t testing.TB) *bench {
	b := &bench{
		entered: make(chan string, 1000), ended: make(chan string, 1000),
		release: make(chan struct{}), log: &syncBuffer{},
	}
	b.Server = newServer(Options{Version: "test", Log: slog.New(slog.NewJSONHandler(b.log, nil))})
	type none struct{}
	add(b.Server, definition{name: "noop"}, func(context.Context, *call, none) (r reply[echoFacts], err error) {
		r.say("ok")
		return r, nil
	})
	add(b.Server, definition{name: "echo"}, func(_ context.Context, c *call, in echoInput) (r reply[echoFacts], err error) {
		r.say(in.Text)
		r.facts.Bot = string(c.bot)
		return r, nil
	})
	add(b.Server, definition{name: "progress"}, func(_ context.Context, c *call, in echoInput) (r reply[echoFacts], err error) {
		for i := range in.N {
			c.progress.set(float64(i+1), float64(in.N), in.Text)
		}
		r.say("done")
		return r, nil
	})
	add(b.Server, definition{name: "hold"}, func(ctx context.Context, _ *call, in echoInput) (r reply[echoFacts], err error) {
		b.running.Add(1)
		defer b.running.Add(-1)
		b.entered <- in.Text
		select {
		case <-ctx.Done():
			b.ended <- in.Text
			return r, ctx.Err()
		case <-b.release:
			r.say("released")
			return r, nil
		}
	})
	add(b.Server, definition{name: "stubborn", long: true}, func(ctx context.Context, _ *call, in echoInput) (r reply[echoFacts], err error) {
		b.entered <- in.Text
		<-b.release
		b.ended <- in.Text
		return r, nil
	})
	add(b.Server, definition{name: "panic"}, func(context.Context, *call, none) (r reply[echoFacts], err error) {
		panic("secret of /var/lib/host")
	})
	t.Cleanup(func() { b.Close() })
	return b
}

// await returns what comes on ch.
func await[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s within %v", what, patience)
		panic("unreachable")
	}
}

// TestEverythingReadIsAnswered: calls, then the end of input at once. mcp-go's
// own loop answers a third.
func TestEverythingReadIsAnswered(t *testing.T) {
	b := newBench(t)
	c := dial(t, b.Server, "bot")
	const n = 400
	go func() {
		for i := range n {
			c.conn.Write([]byte(callLine(i, "echo", map[string]any{"text": "x"}) + "\n"))
		}
		c.conn.CloseWrite()
	}()
	seen := map[string]bool{}
	for {
		a, err := c.next(t)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || a.Result == nil {
			t.Fatalf("%s %v", a.raw, err)
		}
		seen[string(a.ID)] = true
	}
	if len(seen) != n {
		t.Errorf("%d of %d calls were answered", len(seen), n)
	}
	if err := await(t, c.err, "end"); err != nil {
		t.Errorf("ServeConn: %v", err)
	}
	c.err <- nil
}

// TestLastLineNeedsNoNewline and a message after the end of input is none.
func TestLastLineNeedsNoNewline(t *testing.T) {
	c := dial(t, newBench(t).Server, "bot")
	c.send(t, "", "   ", "\r")
	io.WriteString(c.conn, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	c.conn.CloseWrite()
	if a := c.must(t); string(a.Result) != "{}" {
		t.Errorf("ping: %s", a.raw)
	}
}

func TestProgressComesBeforeTheResult(t *testing.T) {
	c := dial(t, newBench(t).Server, "bot")
	for i := range 50 {
		c.send(t, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"progress","arguments":{"text":"layer","n":5},"_meta":{"progressToken":"t%d"}}}`, i, i))
		last, sent := 0.0, 0
		for {
			a := c.must(t)
			if a.Result != nil {
				break
			}
			var p struct {
				ProgressToken, Message string
				Progress, Total        float64
			}
			if err := json.Unmarshal(a.Params, &p); err != nil || a.Method != "notifications/progress" || p.ProgressToken != fmt.Sprint("t", i) || p.Message != "layer" {
				t.Fatalf("%s", a.raw)
			}
			if p.Progress <= last || p.Total != 5 {
				t.Errorf("progress %v of %v after %v", p.Progress, p.Total, last)
			}
			last = p.Progress
			sent++
		}
		if last != 5 || sent > 10 {
			t.Errorf("%d notifications, the last of %v, want 5", sent, last)
		}
	}
}

func TestProgressIsNotSentUnasked(t *testing.T) {
	c := dial(t, newBench(t).Server, "bot")
	if r := c.call(t, "progress", map[string]any{"text": "x", "n": 3}); r.text() != "done" {
		t.Errorf("%s", r.raw)
	}
}

func TestCancelledCallsEndAndAreNotAnswered(t *testing.T) {
	b := newBench(t)
	c := dial(t, b.Server, "bot")
	// The number 5 and the string "5" are two ids.
	c.send(t, callLine(5, "hold", `{"text":"number"}`), callLine("5", "hold", `{"text":"string"}`))
	await(t, b.entered, "call")
	await(t, b.entered, "call")
	c.send(t, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5,"reason":"test"}}`)
	if got := await(t, b.ended, "cancellation"); got != "number" {
		t.Errorf("%s was cancelled", got)
	}
	c.send(t, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"unknown"}}`,
		`{"jsonrpc":"2.0","method":"notifications/cancelled"}`, `{"jsonrpc":"2.0","id":"p","method":"ping"}`)
	if a := c.must(t); string(a.ID) != `"p"` {
		t.Errorf("a cancelled call was answered: %s", a.raw)
	}
	close(b.release)
	if a := c.must(t); string(a.ID) != `"5"` || a.Result == nil {
		t.Errorf("%s", a.raw)
	}
}

// TestWaitingCallsCanBeCancelled: calls over the bot's bound wait, the rest of
// the connection works, and a waiting call can be cancelled.
func TestWaitingCallsCanBeCancelled(t *testing.T) {
	b := newBench(t)
	c := dial(t, b.Server, "bot")
	for i := range QuickCalls {
		c.send(t, callLine(i, "hold", `{"text":"first"}`))
		await(t, b.entered, "call")
	}
	c.send(t, callLine("late", "hold", `{"text":"late"}`), `{"jsonrpc":"2.0","id":"p","method":"ping"}`)
	if a := c.must(t); string(a.ID) != `"p"` {
		t.Fatalf("%s", a.raw)
	}
	other := dial(t, b.Server, "other")
	if r := other.call(t, "noop", "{}"); r.text() != "ok" {
		t.Errorf("another bot has to wait: %s", r.raw)
	}
	c.send(t, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"late"}}`, `{"jsonrpc":"2.0","id":"r","method":"ping"}`)
	if a := c.must(t); string(a.ID) != `"r"` { // messages are taken in order: the cancellation is done
		t.Fatalf("%s", a.raw)
	}
	close(b.release)
	for range QuickCalls {
		if a := c.must(t); string(a.ID) == `"late"` {
			t.Error("a cancelled call was answered")
		}
	}
	c.result(t, `{"jsonrpc":"2.0","id":"q","method":"ping"}`)
	if len(b.entered) != 0 {
		t.Error("a call cancelled while it waited was carried out")
	}
}

func TestClientGoneCancelsItsCalls(t *testing.T) {
	b := newBench(t)
	theirs, ours := socketpair(t)
	defer theirs.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.ServeConn(ctx, theirs, theirs, "bot") }()
	io.WriteString(ours, callLine(1, "hold", `{"text":"x"}`)+"\n")
	await(t, b.entered, "call")
	ours.Close()
	cancel() // as the daemon does when it sees that the peer is gone
	await(t, b.ended, "cancellation")
	if err := await(t, done, "end"); !errors.Is(err, context.Canceled) {
		t.Errorf("ServeConn: %v", err)
	}
}

func TestFailedWriteCancelsEverything(t *testing.T) {
	b := newBench(t)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- b.ServeConn(context.Background(), r, failingWriter{}, "bot") }()
	io.WriteString(w, callLine(1, "hold", `{"text":"x"}`)+"\n")
	await(t, b.entered, "call")
	go io.WriteString(w, `{"jsonrpc":"2.0","id":2,"method":"ping"}`+"\n")
	await(t, b.ended, "cancellation")
	if err := await(t, done, "end"); !errors.Is(err, errFailing) {
		t.Errorf("ServeConn: %v", err)
	}
}

var errFailing = errors.New("disk on fire")

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errFailing }

func TestTwoClientsAtOnce(t *testing.T) {
	b := newBench(t)
	var wg sync.WaitGroup
	for _, bot := range []string{"one", "two"} {
		c := dial(t, b.Server, sandbox.Bot(bot))
		wg.Go(func() {
			for i := range 200 {
				c.send(t, callLine(i, "echo", map[string]any{"text": bot}))
			}
			for range 200 {
				a, err := c.next(t)
				if err != nil {
					t.Error(err)
					return
				}
				if r := parseResult(t, a.Result); r.text() != bot || r.Facts["bot"] != bot {
					t.Errorf("%s got %s", bot, a.raw)
				}
			}
		})
	}
	wg.Wait()
}

// TestCallsEndInTime: what ends with its context is waited for, and what does not
// is left behind; both are answered.
func TestCallsEndInTime(t *testing.T) {
	b := newBench(t)
	b.callTime = 200 * time.Millisecond
	c := dial(t, b.Server, "bot")
	for _, tool := range []string{"hold", "stubborn"} {
		if text := c.fails(t, tool, `{"text":"x"}`); text != "timeout: the call took too long. What it began may go on; check with a reading tool before you call again." {
			t.Errorf("%s: %s", tool, text)
		}
	}
	await(t, b.ended, "end")
	close(b.release)
	await(t, b.ended, "end")
}

// TestTranscripts are sessions of each protocol version, word for word.
func TestTranscripts(t *testing.T) {
	for _, version := range []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"} {
		c := dial(t, newBench(t).Server, "bot")
		r := c.result(t, fmt.Sprintf(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":%q,"capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`, version))
		var init struct {
			ProtocolVersion, Instructions string
			ServerInfo                    struct{ Name, Version string }
			Capabilities                  map[string]any
		}
		if err := json.Unmarshal(r, &init); err != nil || init.ProtocolVersion != version || init.ServerInfo.Name != "moorage" ||
			init.ServerInfo.Version != "test" || init.Instructions != instructions || init.Capabilities["tools"] == nil {
			t.Errorf("%s: %s", version, r)
		}
		c.send(t, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
		c.result(t, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
		if r := c.result(t, `{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{}}`); !bytes.Contains(r, []byte(`"noop"`)) {
			t.Errorf("%s: %s", version, r)
		}
		if r := c.call(t, "noop", "{}"); r.text() != "ok" {
			t.Errorf("%s: %s", version, r.raw)
		}
	}
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"}}`
	c := dial(t, newBench(t).Server, "bot")
	if r := c.result(t, `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{`+meta+`}}`); !bytes.Contains(r, []byte("2026-07-28")) || !bytes.Contains(r, []byte("resultType")) {
		t.Errorf("%s", r)
	}
	if r := c.result(t, `{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{`+meta+`}}`); !bytes.Contains(r, []byte("ttlMs")) {
		t.Errorf("%s", r)
	}
	if r := parseResult(t, c.result(t, `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"noop",`+meta+`}}`)); r.text() != "ok" {
		t.Errorf("%s", r.raw)
	}
	c.send(t, `{"jsonrpc":"2.0","id":4,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},`+meta+`}}`)
	if a := c.must(t); !strings.Contains(a.raw, "subscriptions/acknowledged") {
		t.Errorf("%s", a.raw)
	}
	if a := c.must(t); string(a.ID) != "4" {
		t.Errorf("%s", a.raw)
	}
}

// TestPlainPipes: in and out need not be sockets.
func TestPlainPipes(t *testing.T) {
	b := newBench(t)
	in, w := io.Pipe()
	var out syncBuffer
	done := make(chan error, 1)
	go func() { done <- b.ServeConn(context.Background(), in, &out, "bot") }()
	io.WriteString(w, callLine(1, "noop", "null")+"\n")
	w.Close()
	if err := await(t, done, "end"); err != nil || !strings.Contains(out.String(), `"ok"`) {
		t.Errorf("%v %s", err, out.String())
	}
}

// TestLongMessageKeepsItsID: a client that waits for that answer gets one.
func TestLongMessageKeepsItsID(t *testing.T) {
	for begins, id := range map[string]string{
		`{"jsonrpc":"2.0","id":41,"method":"tools/call","params":{"x":"`:    "41",
		`{"jsonrpc":"2.0","id":"a b","method":"tools/call","params":{"x":"`: `"a b"`,
		`{"jsonrpc":"2.0","method":"tools/call","params":{"x":"`:            "null",
		`{"id":{"not":"one"},"x":"`:                                         "null",
	} {
		line := append([]byte(begins), bytes.Repeat([]byte("y"), MessageMax)...)
		_, err := readLine(bufio.NewReader(bytes.NewReader(append(line, '\n'))))
		var long *tooLong
		if !errors.As(err, &long) {
			t.Fatalf("%s: %v", begins, err)
		}
		answer, err := json.Marshal(rpcError(long.id, mcp.INVALID_REQUEST, "x"))
		if err != nil || !bytes.Contains(answer, []byte(`"id":`+id)) {
			t.Errorf("%s: %s, %v", begins, answer, err)
		}
	}
}
