package pipe

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/tidwall/gjson"
)

// lostText is what the answer of a request says whose server went away.
const lostText = "unavailable: the Moorage server stopped during this call, which may or may not have been carried out. Look at what is there, then call again: the server is started again and no file is lost."

// message is what the pipe looks at in a line.
type message struct {
	id     string // raw JSON; "" for a notification
	method string // "" for an answer
}

func look(line []byte) message {
	f := gjson.GetManyBytes(line, "method", "id")
	m := message{method: f[0].String(), id: f[1].Raw}
	if m.id == "null" {
		m.id = ""
	}
	return m
}

// copyOut carries the server's lines to the client, until the server ends the
// connection. Its error is the client's: the output is broken.
func (p *Pipe) copyOut(c *net.UnixConn) error {
	r := bufio.NewReaderSize(c, bufferSize)
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil { // half a line is dropped: its request is answered below
			return p.lost(c)
		}
		if p.arrived(line) {
			if err := p.write(line); err != nil {
				c.Close()
				return err
			}
		}
		line = line[:0]
	}
}

// arrived notes that a request has its answer. It is false for an answer that
// the client has had already.
func (p *Pipe) arrived(line []byte) bool {
	// A server asks nothing of clients: what has an id is an answer. The id comes
	// first, so a large answer is not searched for what it is not.
	id := gjson.GetBytes(line, "id").Raw
	if id == "" {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, id)
	if p.swallow == id {
		p.swallow = ""
		return false
	}
	return true
}

// lost answers every request that still waits.
func (p *Pipe) lost(c *net.UnixConn) error {
	c.Close()
	p.mu.Lock()
	if p.conn == c {
		p.conn = nil
	}
	waiting := p.waiting
	p.waiting = map[string]string{}
	if p.hello != nil {
		p.swallow = look(p.hello).id
	}
	p.mu.Unlock()
	for id, method := range waiting {
		if err := p.answerLost(message{id, method}, lostText); err != nil {
			return err
		}
	}
	return nil
}

// answerLost answers a request in the server's place: a tool call by a tool's
// error, which models see, any other by a JSON-RPC error.
func (p *Pipe) answerLost(m message, text string) error {
	if m.id == "" || m.method == "" {
		return nil
	}
	answer := map[string]any{"jsonrpc": "2.0", "id": json.RawMessage(m.id)}
	if m.method == "tools/call" {
		answer["result"] = map[string]any{
			"resultType": "complete", "isError": true,
			"content": []any{map[string]any{"type": "text", "text": text}},
		}
	} else {
		answer["error"] = map[string]any{"code": -32000, "message": text}
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("answer request %s: %w", m.id, err)
	}
	return p.write(append(b, '\n'))
}

func (p *Pipe) write(line []byte) error {
	p.out.Lock()
	defer p.out.Unlock()
	if _, err := p.Out.Write(line); err != nil {
		return fmt.Errorf("write to the client: %w", errors.Join(err, io.ErrClosedPipe))
	}
	return nil
}
