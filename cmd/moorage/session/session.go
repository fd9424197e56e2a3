// Package session is a small MCP client over the standard input and output of a
// command: enough to show and to time what Moorage does, as any client would.
package session

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
)

// Protocol is the MCP version that a Session speaks.
const Protocol = "2025-06-18"

// Session is an initialized MCP session. Calls go one after the other.
type Session struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	next int
}

// Start runs the command and initializes a session with it. The command's
// standard error is the caller's to set.
func Start(cmd *exec.Cmd) (*Session, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start session: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start session: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start session: %w", err)
	}
	s := &Session{cmd: cmd, in: in, out: bufio.NewReaderSize(out, 64<<10)}
	var hello struct{}
	err = s.Call("initialize", map[string]any{
		"protocolVersion": Protocol, "capabilities": map[string]any{},
		"clientInfo": map[string]any{"name": "moorage", "version": "1"},
	}, &hello)
	if err == nil {
		err = s.write(map[string]any{"jsonrpc": "2.0", "method": "notifications/initialized"})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("initialize session: %w", err), s.Close())
	}
	return s, nil
}

// Close ends the input and waits for the command.
func (s *Session) Close() error {
	return errors.Join(s.in.Close(), s.cmd.Wait())
}

func (s *Session) write(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = s.in.Write(append(b, '\n'))
	return err
}

// Call sends a request and decodes its result. Notifications on the way are
// skipped.
func (s *Session) Call(method string, params, result any) error {
	s.next++
	if err := s.write(map[string]any{"jsonrpc": "2.0", "id": s.next, "method": method, "params": params}); err != nil {
		return fmt.Errorf("send %s: %w", method, err)
	}
	for {
		line, err := s.out.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("wait for the answer to %s: %w", method, err)
		}
		var m struct {
			ID     int             `json:"id"`
			Result json.RawMessage `json:"result"`
			Error  *struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		if err := json.Unmarshal(line, &m); err != nil {
			return fmt.Errorf("read the answer to %s: %w", method, err)
		}
		switch {
		case m.ID != s.next:
		case m.Error != nil:
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		default:
			return json.Unmarshal(m.Result, result)
		}
	}
}

// ToolResult is what a tool answered.
type ToolResult struct {
	Content []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	} `json:"content"`
	Structured map[string]any `json:"structuredContent"`
	IsError    bool           `json:"isError"`
}

// Tool calls a tool. A tool's own error is a Go error with its text.
func (s *Session) Tool(name string, args map[string]any) (ToolResult, error) {
	var r ToolResult
	if err := s.Call("tools/call", map[string]any{"name": name, "arguments": args}, &r); err != nil {
		return r, err
	}
	if r.IsError && len(r.Content) > 0 {
		return r, errors.New(r.Content[0].Text)
	}
	return r, nil
}
