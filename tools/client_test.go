package tools

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"moorage/sandbox"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// testClient is the other end of a ServeConn, over a socketpair.
type testClient struct {
	conn *net.UnixConn
	r    *bufio.Reader
	err  chan error // what ServeConn returned
}

// dial serves one client over a socketpair, until the test ends.
func dial(t testing.TB, s *Server, bot sandbox.Bot) *testClient {
	t.Helper()
	theirs, ours := socketpair(t)
	c := &testClient{conn: ours, r: bufio.NewReaderSize(ours, 64<<10), err: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		c.err <- s.ServeConn(ctx, theirs, theirs, bot)
		theirs.Close()
	}()
	t.Cleanup(func() {
		cancel()
		ours.Close()
		select {
		case <-c.err:
		case <-time.After(patience):
			t.Error("ServeConn does not return when its context ends")
		}
	})
	return c
}

func socketpair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn := func(fd int) *net.UnixConn {
		f := os.NewFile(uintptr(fd), "socketpair")
		defer f.Close()
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		return c.(*net.UnixConn)
	}
	return conn(fds[0]), conn(fds[1])
}

func (c *testClient) send(t testing.TB, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if _, err := io.WriteString(c.conn, l+"\n"); err != nil {
			t.Fatal(err)
		}
	}
}

// answer is any message from the server.
type answer struct {
	raw    string
	ID     json.RawMessage
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct {
		Code    int
		Message string
	}
}

// next is the next message from the server; io.EOF at the end.
func (c *testClient) next(t testing.TB) (a answer, err error) {
	t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	line, err := c.r.ReadString('\n')
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal([]byte(line), &a); err != nil {
		t.Fatalf("server sent %q: %v", line, err)
	}
	a.raw = strings.TrimSuffix(line, "\n")
	return a, nil
}

func (c *testClient) must(t testing.TB) answer {
	t.Helper()
	a, err := c.next(t)
	if err != nil {
		t.Fatalf("no message from the server: %v", err)
	}
	return a
}

// result sends a request and returns the result that comes next.
func (c *testClient) result(t testing.TB, request string) json.RawMessage {
	t.Helper()
	c.send(t, request)
	a := c.must(t)
	if a.Result == nil {
		t.Fatalf("%.200s\n-> %s", request, a.raw)
	}
	return a.Result
}

// toolResult is the result of tools/call.
type toolResult struct {
	raw     string
	IsError bool
	Content []struct{ Type, Text, Data, MimeType string }
	Facts   map[string]any `json:"structuredContent"`
}

func parseResult(t testing.TB, raw []byte) toolResult {
	t.Helper()
	r := toolResult{raw: string(raw)}
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return r
}

// text is all text of a result.
func (r toolResult) text() string {
	texts := make([]string, 0, len(r.Content))
	for _, c := range r.Content {
		texts = append(texts, c.Text)
	}
	return strings.Join(texts, "\n")
}

func callLine(id any, tool string, args any) string {
	a, ok := args.(string)
	if !ok {
		a = string(mustJSON(args))
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, mustJSON(id), tool, a)
}

// call calls a tool and returns its result, which has to be as its outputSchema
// says, and of at most ResultMax bytes.
func (c *testClient) call(t testing.TB, tool string, args any) toolResult {
	t.Helper()
	if a, ok := args.(map[string]any); ok {
		use(tool, a)
	}
	r := parseResult(t, c.result(t, callLine("call", tool, args)))
	schema := outputSchemas()[tool]
	if schema == nil || r.IsError {
		return r
	}
	if len(r.raw) > ResultMax {
		t.Errorf("%s: a result of %d bytes", tool, len(r.raw))
	}
	if err := schema.Validate(r.Facts); err != nil {
		t.Errorf("%s: %v in %.600s", tool, err, r.raw)
	}
	return r
}

// outputSchemas are those of the real tools, made strict, with the facts that
// schemas leave out.
var outputSchemas = sync.OnceValue(func() map[string]*jsonschema.Schema {
	all := map[string]*jsonschema.Schema{}
	for name, tool := range NewServer(nil, Options{}).mcp.ListTools() {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(tool.Tool.RawOutputSchema))
		if err != nil {
			panic(err)
		}
		doc.(map[string]any)["additionalProperties"] = false
		maps.Copy(doc.(map[string]any)["properties"].(map[string]any), map[string]any{
			"started": map[string]any{"type": "boolean"}, "container_created": map[string]any{"type": "boolean"},
			"data": map[string]any{"enum": []any{"own", "shared"}}, "from_snapshot": map[string]any{"type": "string"},
			"also_paused": map[string]any{"type": "array"}, "snapshots": map[string]any{"type": "array"},
			"stopped": map[string]any{"type": "array"}, "started_again": map[string]any{"type": "array"},
			"created_at": map[string]any{"type": "string"}, "snapshotter": map[string]any{"type": "string"},
			"added": map[string]any{"type": "integer"}, "modified": map[string]any{"type": "integer"}, "deleted": map[string]any{"type": []any{"integer", "boolean"}},
			"processes": map[string]any{"type": "array"},
		})
		c := jsonschema.NewCompiler()
		if err := c.AddResource("out.json", doc); err != nil {
			panic(err)
		}
		all[name] = c.MustCompile("out.json")
	}
	return all
})

// fails calls a tool that must fail, and returns the error's text.
func (c *testClient) fails(t testing.TB, tool string, args any) string {
	t.Helper()
	r := c.call(t, tool, args)
	if !r.IsError || len(r.Content) != 1 {
		t.Fatalf("%s %v did not fail: %s", tool, args, r.raw)
	}
	if n := len(r.Content[0].Text); n > 4000 {
		t.Errorf("%s: error of %d bytes", tool, n)
	}
	return r.Content[0].Text
}
