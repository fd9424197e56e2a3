package pipe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"moorage/cmd/moorage/handover"
)

var (
	// errTakenBack is no failure: a server had the client's descriptors and is gone.
	errTakenBack = errors.New("the server that had the descriptors is gone")
	// errNotGiven: a server went away while it was given the descriptors.
	errNotGiven = errors.New("hand over to the server")
)

// input is the client's input: what a server had read and not begun, then what
// comes.
type input struct {
	*bufio.Reader
	kept *bytes.Reader
}

func newInput(kept []byte, r io.Reader) input {
	k := bytes.NewReader(kept)
	return input{bufio.NewReaderSize(io.MultiReader(k, r), bufferSize), k}
}

// after is a line and what was read behind it.
func (i input) after(line []byte) []byte {
	buffered, _ := i.Peek(i.Buffered())
	rest := make([]byte, i.kept.Len())
	_, _ = i.kept.ReadAt(rest, i.kept.Size()-int64(len(rest))) // it is as long as that
	return bytes.Join([][]byte{line, buffered, rest}, nil)
}

// handOver gives the server the client's descriptors and waits for as long as it
// has them. Then it is io.EOF if the client has ended its input and has all its
// answers, errTakenBack if the server is gone and the pipe goes on, or an error.
// It is nil if lines are to be copied after all, and errNotGiven if the server
// began with nothing of what it was to get.
func (p *Pipe) handOver(ctx context.Context, c *net.UnixConn, next []byte) error {
	p.readers.Wait() // an earlier server's last lines are written first
	hello := bytes.TrimSuffix(p.hello, []byte("\n"))
	handed, err := handover.Give(c, p.Ends, handover.State{Hello: hello, Input: next})
	if err != nil {
		p.drop(c)
		p.Ends.Restore()
		return fmt.Errorf("%w: %v", errNotGiven, err) // its cause may be an io.EOF, which means another thing here
	}
	if handed == nil {
		return nil
	}
	done := handed.Wait()
	p.drop(c)
	p.Ends.Restore()
	switch {
	case done:
		handed.Close()
		return io.EOF
	case ctx.Err() != nil:
		handed.Close()
		return ctx.Err()
	}
	return p.takeBack(handed)
}

// takeBack goes on where the server ended.
func (p *Pipe) takeBack(h *handover.Handed) error {
	lost, err := h.Recover()
	if err != nil {
		return err
	}
	p.in = newInput(lost.Input, p.In)
	p.mu.Lock()
	if len(lost.Hello) > 0 {
		p.hello = append(lost.Hello, '\n')
		p.swallow = look(p.hello).id
	}
	p.mu.Unlock()
	if lost.Broken {
		if err := p.write([]byte("\n")); err != nil {
			return err
		}
	}
	for _, r := range lost.Requests {
		m := message{id: string(r.ID), method: "another"}
		if r.Tool {
			m.method = "tools/call"
		}
		if err := p.answerLost(m, lostText); err != nil {
			return err
		}
	}
	return errTakenBack
}

// drop closes a connection that is of no more use.
func (p *Pipe) drop(c *net.UnixConn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == c {
		p.conn = nil
	}
}
