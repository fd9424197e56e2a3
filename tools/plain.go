package tools

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/mark3labs/mcp-go/mcp"
)

// plainCall is a tools/call in the form in which nearly all come: of a version
// with sessions, and with nothing in it but the tool's name, arguments, and
// perhaps a progress token. It is looked at once, and answered without mcp-go,
// which parses a message nine times; in all else the answer is the same to the
// byte. Every other message is mcp-go's.
type plainCall struct {
	name      string
	arguments any       // json.RawMessage, or nil without arguments
	meta      *mcp.Meta // with a progress token, or nil
}

// parsePlainCall reads a message, which is UTF-8, if it is a plain call.
func parsePlainCall(raw []byte) (m message, ok bool) {
	c := cursor{b: raw}
	m = message{raw: raw, call: &plainCall{}}
	var version string
	c.members(func(name []byte) {
		var into *string
		switch string(name) {
		case "jsonrpc":
			into = &version
		case "method":
			into = &m.method
		case "id":
			m.takeID(&c)
			return
		case "params":
			m.takeParams(&c)
			return
		}
		if into == nil || *into != "" {
			c.fail()
			return
		}
		*into = c.text()
	})
	ok = c.done() && version == mcp.JSONRPC_VERSION && m.method == string(mcp.MethodToolsCall) && m.id != nil && m.params != nil
	return m, ok
}

func (m *message) takeID(c *cursor) {
	if b := c.peek(); m.id != nil || b != '"' && b != '-' && (b < '0' || b > '9') {
		c.fail()
		return
	}
	m.id = c.value()
	for _, b := range m.id {
		if b == '<' || b == '>' || b == '&' || b >= utf8.RuneSelf { // which mcp-go writes in another form
			c.fail()
		}
	}
}

func (m *message) takeParams(c *cursor) {
	c.peek()
	from, seen := c.at, 0
	if m.params != nil {
		c.fail()
		return
	}
	c.members(func(name []byte) {
		before := seen
		switch string(name) {
		case "name":
			seen |= 1
			m.call.name = c.text()
		case "arguments":
			seen |= 2
			if null := c.peek() == 'n'; null {
				c.word("null")
			} else {
				m.call.arguments = json.RawMessage(c.value())
			}
		case "_meta":
			seen |= 4
			m.call.takeMeta(c)
		}
		if seen == before { // unknown, or twice
			c.fail()
		}
	})
	m.params = c.b[from:c.at]
}

// takeMeta reads a _meta that holds a progress token, or nothing.
func (p *plainCall) takeMeta(c *cursor) {
	p.meta = &mcp.Meta{}
	c.members(func(name []byte) {
		if string(name) != "progressToken" || p.meta.ProgressToken != nil {
			c.fail()
			return
		}
		if c.peek() == '"' {
			p.meta.ProgressToken = c.text()
			return
		}
		text, _ := c.number()
		v, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			c.fail()
		}
		p.meta.ProgressToken = v
	})
}
