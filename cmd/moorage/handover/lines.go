package handover

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"moorage/tools"
)

// Lines are a client's standard input and output in the server's hands.
type Lines struct {
	in      input
	out     end
	journal *journal

	last     []byte // the line that was read last, if it may be an initialize message
	hello    []byte // said before the input: the client's initialize message
	replayed bool   // the last line was hello
	swallow  string // id of the answer to it, which the client has had

	mu   sync.Mutex
	free []int // slots

	writing sync.Mutex
	closed  bool
}

var _ tools.Lines = (*Lines)(nil)

// newLines begins with what the client put into the journal.
func newLines(j *journal, in, out end) (*Lines, error) {
	read, hello := j.read.Load(), j.hello.Load()
	if j.base.Load() != 0 || j.consumed.Load() != 0 || read > inputMax || hello > tools.HelloMax {
		return nil, errors.New("the client's journal is not as it should be")
	}
	l := &Lines{journal: j, in: input{journal: j, from: in, read: read}, out: out}
	if hello > 0 {
		l.hello = bytes.Clone(j.helloBytes()[:hello])
		l.swallow = gjson.GetBytes(l.hello, "id").Raw
	}
	for i := range slots {
		l.free = append(l.free, slots-1-i)
	}
	return l, nil
}

// ReadLine implements tools.Lines.
func (l *Lines) ReadLine() ([]byte, error) {
	if l.hello != nil {
		hello := l.hello
		l.hello, l.replayed = nil, true
		return hello, nil
	}
	l.last, l.replayed = nil, false
	line, err := l.in.next()
	if err != nil {
		return nil, err
	}
	line = bytes.TrimSuffix(line, []byte("\n"))
	if len(line) > tools.MessageMax {
		return nil, tools.TooLong(line)
	}
	if len(line) <= tools.HelloMax {
		l.last = line
	}
	return line, nil
}

// More implements tools.Lines.
func (l *Lines) More() bool { return l.hello != nil || l.in.read > l.in.consumed+l.in.line }

// WriteLine implements tools.Lines.
func (l *Lines) WriteLine(message []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	if l.swallow != "" && gjson.GetBytes(message, "id").Raw == l.swallow {
		l.swallow = ""
		return nil
	}
	parts := len(message) > l.out.whole()
	if parts {
		l.journal.store(l.journal.writing, 1)
	}
	if _, err := l.out.Write(message); err != nil {
		return err
	}
	if parts {
		l.journal.store(l.journal.writing, 0)
	}
	return nil
}

// Begin implements tools.Lines. The request stands in its slot before its line
// is consumed; that it is one request is told by the line's position.
func (l *Lines) Begin(id json.RawMessage, method string) int {
	if l.replayed {
		return -1
	}
	if method == "initialize" {
		l.keepHello()
	}
	l.mu.Lock()
	n := l.free[len(l.free)-1] // there are as many as requests that may be in flight
	l.free = l.free[:len(l.free)-1]
	l.mu.Unlock()
	s := l.journal.slot(n)
	kind := uint64(copy(s.id, id))
	if method == "tools/call" {
		kind |= toolCall
	}
	l.journal.store(s.kind, kind)
	l.journal.store(s.begun, 1+l.in.consumed)
	l.in.take()
	l.last = nil
	return n
}

func (l *Lines) keepHello() {
	l.journal.store(l.journal.hello, 0)
	n := copy(l.journal.helloBytes(), l.last)
	l.journal.store(l.journal.hello, uint64(n))
}

// End implements tools.Lines.
func (l *Lines) End(n int) {
	if n < 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.journal.store(l.journal.slot(n).begun, 0)
	l.free = append(l.free, n)
}

// Unblock implements tools.Lines.
func (l *Lines) Unblock() {
	past := time.Unix(1, 0)
	_ = l.in.from.SetReadDeadline(past) // what was opened can be waited for
	_ = l.out.SetWriteDeadline(past)
}

// Close gives the client's descriptors back. Nobody may read, begin or end after
// it; what is written is refused.
func (l *Lines) Close() error {
	l.Unblock()
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.journal.close()
	return errors.Join(l.in.from.Close(), l.out.Close())
}
