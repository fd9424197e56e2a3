package tools

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestNotJSONRPC(t *testing.T) {
	c := dial(t, newBench(t).Server, "bot")
	for _, x := range []struct {
		line string
		id   string
		code int
		has  string
	}{
		{`{bad json`, "null", -32700, "parse error"},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\xff\"}", "null", -32700, "UTF-8"},
		{`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, "null", -32600, "batches are not supported"},
		{`[]`, "null", -32600, "batches"},
		{`5`, "null", -32600, "object"},
		{`"ping"`, "null", -32600, "object"},
		{`null`, "null", -32600, "no method"},
		{`{}`, "null", -32600, "no method"},
		{`{"jsonrpc":"2.0","id":7}`, "7", -32600, "no method"},
		{`{"jsonrpc":"2.0","id":7,"method":5}`, "null", -32600, "object"},
		{`{"jsonrpc":"2.0","id":null,"method":"ping"}`, "null", -32600, "id must be"},
		{`{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}`, "null", -32600, "id must be"},
		{`{"jsonrpc":"1.0","id":2,"method":"ping"}`, "2", -32600, "version"},
		{`{"jsonrpc":"2.0","id":3,"method":"no/such"}`, "3", -32601, ""},
		{`{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"nosuch","arguments":{}}}`, "4", -32602, "nosuch"},
		{`{"jsonrpc":"2.0","id":9007199254740993,"method":"no/such"}`, "9007199254740993", -32601, ""},
	} {
		c.send(t, x.line)
		a := c.must(t)
		if a.Error == nil || a.Error.Code != x.code || string(a.ID) != x.id || !strings.Contains(a.Error.Message, x.has) {
			t.Errorf("%s\n-> %s\nwant id %s, code %d, %q", x.line, a.raw, x.id, x.code, x.has)
		}
	}
	// Notifications and answers to questions that nobody asked get no reply.
	c.send(t, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, `{"jsonrpc":"2.0","method":"no/such"}`, `{"jsonrpc":"2.0","id":77,"result":{}}`)
	if r := c.result(t, `{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}`); string(r) != "{}" {
		t.Errorf("ping: %s", r)
	}
}

func TestIDsAreEchoedExactly(t *testing.T) {
	c := dial(t, newBench(t).Server, "bot")
	for _, id := range []string{"9007199254740993", "-5", "1.5", `"a\u0000b"`, `""`, `"5"`} {
		c.send(t, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"ping"}`, id))
		if a := c.must(t); string(a.ID) != id {
			t.Errorf("id %s came back as %s", id, a.ID)
		}
	}
}

func TestSameIDTwiceInFlight(t *testing.T) {
	b := newBench(t)
	c := dial(t, b.Server, "bot")
	c.send(t, callLine(1, "hold", `{"text":"x"}`))
	await(t, b.entered, "call")
	c.send(t, callLine(1, "noop", `{}`))
	if a := c.must(t); a.Error == nil || a.Error.Code != -32600 {
		t.Errorf("%s", a.raw)
	}
	close(b.release)
	if a := c.must(t); a.Result == nil {
		t.Errorf("%s", a.raw)
	}
}

func TestLongLines(t *testing.T) {
	c := dial(t, newBench(t).Server, "bot")
	text := strings.Repeat("a", 1<<20)
	if r := c.call(t, "echo", map[string]any{"text": text}); r.text() != text {
		t.Error("1 MiB was not echoed")
	}
	go func() {
		chunk := bytes.Repeat([]byte("x"), 1<<20)
		for range 64 {
			c.conn.Write(chunk)
		}
		io.WriteString(c.conn, "\n"+`{"jsonrpc":"2.0","id":1,"method":"ping"}`+"\n")
	}()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if a := c.must(t); a.Error == nil || string(a.ID) != "null" || !strings.Contains(a.Error.Message, "4194304 bytes") {
		t.Errorf("%s", a.raw)
	}
	if a := c.must(t); string(a.Result) != "{}" {
		t.Errorf("after a line that is too long: %s", a.raw)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 24<<20 {
		t.Errorf("a line of 64 MiB was buffered: %d MiB allocated", grown>>20)
	}
}

// TestClientThatNeverReads: the server stops taking messages from it; others go
// on, and it can be shut down.
func TestClientThatNeverReads(t *testing.T) {
	b := newBench(t)
	c := dial(t, b.Server, "bot")
	line := callLine("x", "echo", map[string]any{"text": strings.Repeat("a", 100<<10)})
	c.conn.SetWriteDeadline(time.Now().Add(time.Second))
	sent := 0
	for i := range 100_000 {
		if _, err := io.WriteString(c.conn, strings.Replace(line, `"x"`, fmt.Sprint(i), 1)+"\n"); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			break
		}
		sent++
	}
	if sent > 2*InFlight+50 {
		t.Errorf("%d messages of 100 KiB were taken from a client that does not read", sent)
	}
	if r := dial(t, b.Server, "bot").call(t, "noop", "{}"); r.text() != "ok" {
		t.Errorf("another client of the bot is stuck: %s", r.raw)
	}
}

func TestPanicIsAnInternalError(t *testing.T) {
	b := newBench(t)
	c := dial(t, b.Server, "bot")
	text := c.fails(t, "panic", "{}")
	if !strings.HasPrefix(text, "internal: ") || strings.Contains(text, "secret") || strings.Contains(text, "/var") || strings.Contains(text, "goroutine") {
		t.Errorf("%s", text)
	}
	_, ref, _ := strings.Cut(text, "reference ")
	if ref = ref[:8]; !strings.Contains(b.log.String(), "reference "+ref) || !strings.Contains(b.log.String(), "secret of") {
		t.Errorf("reference %s is not in the log", ref)
	}
}

func TestLogHasOneLineACallAndNoArguments(t *testing.T) {
	b := newBench(t)
	c := dial(t, b.Server, "bot-7")
	c.call(t, "echo", map[string]any{"text": "very private"})
	c.fails(t, "echo", map[string]any{"text": 5, "private_name": "x"})
	lines := strings.Split(strings.TrimSpace(b.log.String()), "\n")
	if len(lines) != 2 || strings.Contains(b.log.String(), "private") {
		t.Errorf("log:\n%s", b.log)
	}
	var l map[string]any
	if err := json.Unmarshal([]byte(lines[1]), &l); err != nil || l["bot"] != "bot-7" || l["tool"] != "echo" || l["err"] != "invalid_argument" || l["dur"] == nil {
		t.Errorf("%v %v", l, err)
	}
}
