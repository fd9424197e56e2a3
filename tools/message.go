package tools

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/mark3labs/mcp-go/mcp"
)

// MessageMax is the longest JSON-RPC message that is taken, in bytes.
const MessageMax = 4 << 20

// message is a JSON-RPC message, looked at just enough to know what to do with it.
type message struct {
	raw    []byte
	id     json.RawMessage // as it was sent; nil in a notification
	method string          // "" in a response
	params json.RawMessage
	call   *plainCall // of tools/call in its plain form, else nil
}

// parseMessage looks at a message. What is none gets the error to send back.
func parseMessage(raw []byte) (message, *mcp.JSONRPCError) {
	var e struct {
		ID     json.RawMessage `json:"id"`
		Method *string         `json:"method"`
		Params json.RawMessage `json:"params"`
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	if !utf8.Valid(raw) {
		return message{}, rpcError(nil, mcp.PARSE_ERROR, "parse error: the message is not UTF-8")
	}
	if m, ok := parsePlainCall(raw); ok {
		return m, nil
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return message{}, unfit(raw, e.ID, err)
	}
	m := message{raw: raw, id: e.ID, params: e.Params}
	if m.id != nil && m.id[0] != '"' && m.id[0] != '-' && (m.id[0] < '0' || m.id[0] > '9') {
		return message{}, rpcError(nil, mcp.INVALID_REQUEST, "invalid request: id must be a string or a number")
	}
	switch {
	case e.Method != nil && *e.Method != "":
		m.method = *e.Method
	case m.id == nil || e.Result == nil && e.Error == nil:
		return message{}, rpcError(m.id, mcp.INVALID_REQUEST, "invalid request: there is no method")
	}
	return m, nil
}

// unfit says why a message could not be taken apart.
func unfit(raw []byte, id json.RawMessage, err error) *mcp.JSONRPCError {
	switch {
	case !json.Valid(raw):
		return rpcError(nil, mcp.PARSE_ERROR, "parse error: "+clean(err.Error(), 200))
	case bytes.TrimSpace(raw)[0] == '[':
		return rpcError(nil, mcp.INVALID_REQUEST, "invalid request: batches are not supported; send one message at a time")
	}
	return rpcError(nil, mcp.INVALID_REQUEST, "invalid request: a message is an object with jsonrpc, method, and id and params as needed")
}

// isRequest says that the message wants an answer.
func (m message) isRequest() bool { return m.method != "" && m.id != nil }

// modern is the protocol version that the message declares for itself, if that
// is one without sessions; else "".
func (m message) modern() string {
	var p struct {
		Meta map[string]any `json:"_meta"`
	}
	if !bytes.Contains(m.params, []byte(mcp.MetaKeyProtocolVersion)) || json.Unmarshal(m.params, &p) != nil {
		return ""
	}
	v, _ := p.Meta[mcp.MetaKeyProtocolVersion].(string)
	if !mcp.IsModernProtocol(v) {
		return ""
	}
	return v
}

// cancels is the key of the request that a notification cancels.
func (m message) cancels() string {
	var p struct {
		RequestID json.RawMessage `json:"requestId"`
	}
	if json.Unmarshal(m.params, &p) != nil || p.RequestID == nil {
		return ""
	}
	return idKey(p.RequestID)
}

// idKey tells ids apart: a string and a number never have the same one.
func idKey(id json.RawMessage) string {
	var s string
	if id[0] == '"' && json.Unmarshal(id, &s) == nil {
		return `"` + s
	}
	return string(id)
}

func rpcError(id json.RawMessage, code int, text string) *mcp.JSONRPCError {
	e := mcp.JSONRPCError{JSONRPC: mcp.JSONRPC_VERSION, Error: mcp.NewJSONRPCErrorDetails(code, text, nil)}
	if id != nil {
		e.ID = mcp.NewRequestId(id)
	}
	return &e
}

// toolAnswer is the answer to tools/call as it goes over the wire. mcp-go's own
// encoding of it goes through a map and copies the body three times.
type toolAnswer struct {
	JSONRPC string        `json:"jsonrpc"`
	ID      mcp.RequestId `json:"id"`
	Result  struct {
		Meta       *mcp.Meta      `json:"_meta,omitempty"`
		ResultType mcp.ResultType `json:"resultType,omitempty"`
		Content    []mcp.Content  `json:"content"`
		Facts      any            `json:"structuredContent,omitempty"`
		IsError    bool           `json:"isError,omitempty"`
	} `json:"result"`
}

// encode writes a message.
func encode(v any) ([]byte, error) {
	if a, ok := v.(callAnswer); ok {
		return a.append(takeBuffer())
	}
	if r, ok := v.(mcp.JSONRPCResponse); ok {
		if t, ok := r.Result.(*mcp.CallToolResult); ok && t.RawStructuredContent == nil && len(t.InputRequests) == 0 && t.RequestState == "" {
			a := toolAnswer{JSONRPC: r.JSONRPC, ID: r.ID}
			a.Result.Meta, a.Result.ResultType, a.Result.IsError = t.Meta, t.ResultType, t.IsError
			a.Result.Content, a.Result.Facts = t.Content, t.StructuredContent
			v = a
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// answering puts the request's id, as it was sent, into its answer: mcp-go makes
// a float64 of it, which changes large numbers.
func answering(resp mcp.JSONRPCMessage, id json.RawMessage) mcp.JSONRPCMessage {
	switch r := resp.(type) {
	case mcp.JSONRPCResponse:
		r.ID = mcp.NewRequestId(id)
		return r
	case mcp.JSONRPCError:
		r.ID = mcp.NewRequestId(id)
		return r
	}
	return resp
}
