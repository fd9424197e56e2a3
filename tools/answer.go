package tools

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/mark3labs/mcp-go/mcp"
)

// callAnswer is the answer to a plain call.
type callAnswer struct {
	id     json.RawMessage
	result *mcp.CallToolResult
}

// append appends the answer as it goes over the wire, as package json would
// write it without escapes for HTML.
func (a callAnswer) append(b []byte) (_ []byte, err error) {
	b = append(append(append(b, `{"jsonrpc":"2.0","id":`...), a.id...), `,"result":{"content":`...)
	if a.result.Content == nil {
		b = append(b, "null"...)
	} else if b, err = appendContents(b, a.result.Content); err != nil {
		return nil, err
	}
	if facts := a.result.StructuredContent; facts != nil {
		if b, err = appendJSON(append(b, `,"structuredContent":`...), facts); err != nil {
			return nil, err
		}
	}
	if a.result.IsError {
		b = append(b, `,"isError":true`...)
	}
	return append(b, "}}"...), nil
}

func appendContents(b []byte, all []mcp.Content) (_ []byte, err error) {
	b = append(b, '[')
	for i, c := range all {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendContent(b, c); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendContent(b []byte, c mcp.Content) ([]byte, error) {
	switch c := c.(type) {
	case mcp.TextContent:
		if c.Meta == nil && c.Annotations == nil {
			b = appendQuoted(append(b, `{"type":"text","text":`...), c.Text)
			return append(b, '}'), nil
		}
	case mcp.ImageContent:
		if c.Meta == nil && c.Annotations == nil {
			b = appendQuoted(append(b, `{"type":"image","data":`...), c.Data)
			b = appendQuoted(append(b, `,"mimeType":`...), c.MIMEType)
			return append(b, '}'), nil
		}
	}
	return appendJSON(b, c)
}

func appendJSON(b []byte, v any) ([]byte, error) {
	buf := bytes.NewBuffer(b)
	e := json.NewEncoder(buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// letters are the escapes of one letter; 'u' stands for all other bytes that are
// escaped, 0 for those that are not.
var letters = func() (t [utf8.RuneSelf]byte) {
	for c := range byte(0x20) {
		t[c] = 'u'
	}
	t['"'], t['\\'], t['\b'], t['\f'], t['\n'], t['\r'], t['\t'] = '"', '\\', 'b', 'f', 'n', 'r', 't'
	return t
}()

// appendQuoted appends s as a JSON string, as package json does: bytes that are
// not UTF-8 become U+FFFD, and U+2028 and U+2029 are escaped.
func appendQuoted(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if letter := letters[c]; letter != 0 {
				b = append(append(b, s[from:i]...), '\\', letter)
				if letter == 'u' {
					b = append(b, '0', '0', hex[c>>4], hex[c&0xf])
				}
				from = i + 1
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(append(b, s[from:i]...), `\ufffd`...)
			from = i + n
		case r == '\u2028' || r == '\u2029':
			b = append(append(b, s[from:i]...), '\\', 'u', '2', '0', '2', hex[r&0xf])
			from = i + n
		}
		i += n
	}
	return append(append(b, s[from:]...), '"')
}

// bufferMax is the most bytes of a buffer that is kept for the next answer.
const bufferMax = 64 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

func takeBuffer() []byte { return (*buffers.Get().(*[]byte))[:0] }

// giveBuffer gives a buffer, which need not be of takeBuffer, for others to use.
func giveBuffer(b []byte) {
	if cap(b) <= bufferMax {
		buffers.Put(&b)
	}
}
