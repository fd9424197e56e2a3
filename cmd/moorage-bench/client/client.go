// Package client is the MCP client of the benchmark: raw JSON-RPC lines over the
// standard input and output of a command, the same for every server that is
// compared, so that what it costs falls on all of them alike.
//
// A request is encoded once, before the clock runs; of an answer only the id and
// whether it is an error are looked at. Requests may be in flight together, on
// one goroutine: [Client.Send] some, then [Client.Receive] as many.
package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidwall/gjson"
)

// Protocol is the MCP version that is asked for.
const Protocol = "2025-06-18"

const (
	bufferSize = 256 << 10
	maxAnswer  = 16 << 20 // bytes of one line; a longer one is an error
	closeWait  = 5 * time.Second
)

// ErrAnswer is the error of a call that was answered, but with an error. The
// session goes on after it.
var ErrAnswer = errors.New("it answered with an error")

// Client is one initialized session. It is for one goroutine, or for one that
// only sends and one that only receives.
type Client struct {
	name   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	stderr Tail
	next   int64
	line   []byte // what Send writes, kept for the next
}

// Request is a call of a tool, encoded but for its id.
type Request struct{ before, after []byte }

// Start runs a command and initializes a session with it. When ctx ends the
// command gets SIGTERM, and is killed if it has not ended soon after. name is what
// errors call it.
func Start(ctx context.Context, name string, argv ...string) (*Client, error) {
	c := &Client{name: name, cmd: exec.CommandContext(ctx, argv[0], argv[1:]...)}
	c.cmd.Stderr = &c.stderr
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = closeWait
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c.in, c.out = in, bufio.NewScanner(out)
	c.out.Buffer(make([]byte, bufferSize), maxAnswer)
	if err := c.initialize(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Client) initialize() error {
	_, err := c.call(request("initialize", map[string]any{
		"protocolVersion": Protocol, "capabilities": map[string]any{},
		"clientInfo": map[string]any{"name": "moorage-bench", "version": "1"},
	}))
	if err != nil {
		return err
	}
	_, err = io.WriteString(c.in, `{"jsonrpc":"2.0","method":"notifications/initialized"}`+"\n")
	return err
}

// Tool encodes a call of a tool.
func Tool(name string, args map[string]any) Request {
	return request("tools/call", map[string]any{"name": name, "arguments": args})
}

func request(method string, params map[string]any) Request {
	b, err := json.Marshal(params)
	if err != nil {
		panic(fmt.Sprintf("encode parameters of %s: %v", method, err)) // strings and numbers only
	}
	return Request{
		before: []byte(`{"jsonrpc":"2.0","id":`),
		after:  []byte(`,"method":"` + method + `","params":` + string(b) + "}\n"),
	}
}

// Send writes a request and returns its id.
func (c *Client) Send(r Request) (int64, error) {
	c.next++
	c.line = append(strconv.AppendInt(append(c.line[:0], r.before...), c.next, 10), r.after...)
	if _, err := c.in.Write(c.line); err != nil {
		return 0, c.broken("write to", err)
	}
	return c.next, nil
}

// Receive waits for the next answer and returns its id and the whole line, which
// is valid until the next call. The error says what the server or the tool said
// if the call failed.
func (c *Client) Receive() (int64, []byte, error) {
	for c.out.Scan() {
		line := c.out.Bytes()
		f := gjson.GetManyBytes(line, "id", "method", "error", "result.isError")
		if !f[0].Exists() || f[1].Exists() {
			continue // a notification, or a request to the client
		}
		if f[2].Exists() || f[3].Bool() {
			return f[0].Int(), nil, fmt.Errorf("call %s: %w: %.500s", c.name, ErrAnswer, line)
		}
		return f[0].Int(), line, nil
	}
	return 0, nil, c.broken("read from", c.out.Err())
}

// Call makes one call of a tool and returns its content's text.
func (c *Client) Call(tool string, args map[string]any) (string, error) {
	line, err := c.call(Tool(tool, args))
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, item := range gjson.GetBytes(line, "result.content.#.text").Array() {
		text.WriteString(item.String())
	}
	return text.String(), nil
}

// Tools returns the names of the server's tools, of the first page of its list.
func (c *Client) Tools() ([]string, error) {
	line, err := c.call(request("tools/list", map[string]any{}))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range gjson.GetBytes(line, "result.tools.#.name").Array() {
		names = append(names, name.String())
	}
	return names, nil
}

func (c *Client) call(r Request) ([]byte, error) {
	id, err := c.Send(r)
	if err != nil {
		return nil, err
	}
	got, line, err := c.Receive()
	if err == nil && got != id {
		err = fmt.Errorf("call %s: the answer is for request %d, not %d", c.name, got, id)
	}
	return line, err
}

func (c *Client) broken(verb string, err error) error {
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%s %s: %w; it said: %s", verb, c.name, err, c.stderr.String())
}

// Kill kills the command. Close has still to be called.
func (c *Client) Kill() { _ = c.cmd.Process.Kill() }

// Close ends the command's input and waits for its end; it is killed if it does
// not end by itself.
func (c *Client) Close() error {
	closeErr := c.in.Close()
	kill := time.AfterFunc(closeWait, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("end %s: %w; it said: %s", c.name, err, c.stderr.String())
	}
	return closeErr
}
