package handover

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"time"

	"moorage/tools"
)

// State is what a client gives a server to begin with.
type State struct {
	Hello []byte // its initialize message, to be said again; nil if there was none
	Input []byte // what was read from the input and not begun
}

func (s State) fits() bool { return len(s.Hello) <= tools.HelloMax && len(s.Input) <= inputMax }

// Request is a request that was in flight.
type Request struct {
	ID   []byte // raw JSON
	Tool bool   // it is a tool call
}

// Lost is what a server that is gone left behind.
type Lost struct {
	State
	Requests []Request // begun, and perhaps not answered
	Broken   bool      // the last line of the output may have no end
}

// Handed are a client's descriptors while a server has them.
type Handed struct {
	journal *journal
	conn    *net.UnixConn
}

// Wait returns when the server gives the descriptors up. It is true if the
// input has ended and all is answered; else Recover tells what is left.
func (h *Handed) Wait() bool {
	b := []byte{0}
	_ = h.conn.SetReadDeadline(time.Time{}) // if that fails so does Read
	n, err := io.ReadFull(h.conn, b)
	return err == nil && n == 1 && b[0] == tagDone
}

// Recover tells what the server, which is gone, left behind, and ends the use
// of the journal.
func (h *Handed) Recover() (Lost, error) {
	defer h.journal.close()
	return h.journal.lost()
}

// Close ends the use of the journal after Wait.
func (h *Handed) Close() { h.journal.close() }

// put writes the state into a journal that nobody uses yet.
func (j *journal) put(s State) {
	j.hello.Store(uint64(copy(j.helloBytes(), s.Hello)))
	j.read.Store(uint64(copy(j.input(), s.Input)))
}

// lost reads the journal. See doc.go for why each state between two stores is
// read as one in which each line is in one place.
func (j *journal) lost() (Lost, error) {
	base, consumed, read, window := j.base.Load(), j.consumed.Load(), j.read.Load(), j.window.Load()
	if base > consumed || consumed > read || read-base > inputSize || window > base+inputSize {
		return Lost{}, fmt.Errorf("read the journal: its positions %d %d %d %d make no sense", base, consumed, read, window)
	}
	input := j.input()
	if window > read { // a read may have been under way
		read += uint64(len(bytes.TrimRight(input[read-base:window-base], "\x00")))
	}
	l := Lost{Broken: j.writing.Load() != 0}
	l.Hello = bytes.Clone(j.helloBytes()[:min(j.hello.Load(), tools.HelloMax)])
	l.Input = bytes.Clone(input[consumed-base : read-base])
	for i := range slots {
		s := j.slot(i)
		begun := s.begun.Load()
		if begun == 0 {
			continue
		}
		kind := s.kind.Load()
		l.Requests = append(l.Requests, Request{bytes.Clone(s.id[:min(kind&^toolCall, tools.IDMax)]), kind&toolCall != 0})
		if begun-1 == consumed {
			l.Input = l.Input[lineEnd(l.Input):]
		}
	}
	return l, nil
}

func lineEnd(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}
