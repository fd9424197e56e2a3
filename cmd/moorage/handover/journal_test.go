package handover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"moorage/tools"
)

// errKilled is what the end of a server is in these tests.
var errKilled = errors.New("killed")

// story is one client's input, and what became of each of its requests under
// servers that end between any two of their steps.
type story struct {
	t       *testing.T
	random  *rand.Rand
	stream  []byte
	ends    []int          // of the stream's lines
	ids     []string       // of the request on each line; "" for none
	taken   int            // bytes of stream that were read
	begun   map[string]int // how often a request was carried out
	answers map[string]int
	lost    map[string]int
	steps   int
	killAt  int

	client *journal // the client's view
}

// tell makes up a stream of lines.
func tell(t *testing.T, seed uint64) *story {
	s := &story{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), begun: map[string]int{},
		answers: map[string]int{}, lost: map[string]int{},
	}
	for n := range 60 {
		id, line := "", ""
		switch s.random.IntN(8) {
		case 0:
			line = `{"jsonrpc":"2.0","method":"notifications/x"}`
		case 1:
			line = strings.Repeat(" ", s.random.IntN(3))
		case 2:
			line = "no JSON \x00 \xff at all"
		case 3:
			id = fmt.Sprint(n)
			line = `{"jsonrpc":"2.0","id":` + id + `,"method":"initialize"}`
		default:
			id = fmt.Sprintf(`"%d"`, n)
			pad := strings.Repeat("é", s.random.IntN(1<<s.random.IntN(18)))
			line = `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","x":"` + pad + `"}`
		}
		s.stream = append(append(s.stream, line...), '\n')
		s.ends, s.ids = append(s.ends, len(s.stream)), append(s.ids, id)
	}
	return s
}

// check looks at what a client would find if the server ended now.
func (s *story) check() {
	s.t.Helper()
	l, err := s.client.lost()
	if err != nil {
		s.t.Fatal(err)
	}
	at := s.taken - len(l.Input)
	if at < 0 || !bytes.Equal(l.Input, s.stream[at:s.taken]) || at > 0 && s.stream[at-1] != '\n' {
		s.t.Fatalf("step %d: of %d bytes read the %d last are kept, and begin in mid-line or are not what was sent", s.steps, s.taken, len(l.Input))
	}
	flying := map[string]bool{}
	for _, r := range l.Requests {
		if flying[string(r.ID)] {
			s.t.Fatalf("step %d: %s is in flight twice", s.steps, r.ID)
		}
		flying[string(r.ID)] = true
		if r.Tool != (r.ID[0] == '"') {
			s.t.Fatalf("step %d: %s is a tool call: %v", s.steps, r.ID, r.Tool)
		}
	}
	for n, id := range s.ids {
		done := s.answers[id] + s.lost[id]
		switch before := s.ends[n] <= at; {
		case id == "":
		case before && done == 0 && !flying[id]:
			s.t.Fatalf("step %d: %s is behind and has no answer", s.steps, id)
		case !before && (s.begun[id] > 0 || done > 0 || flying[id]):
			s.t.Fatalf("step %d: %s was begun and will be begun again", s.steps, id)
		}
	}
}

// step is called between any two steps of a server.
func (s *story) step() {
	s.check()
	s.steps++
	if s.steps == s.killAt {
		panic(errKilled)
	}
}

// watched is an end that has a step after each call.
type watched struct {
	end
	s *story
}

func (w watched) Read(b []byte) (int, error) {
	n, err := w.end.Read(b[:min(len(b), 1+w.s.random.IntN(len(b)))])
	w.s.taken += max(n, 0)
	w.s.step()
	return n, err
}

// server begins a server with what the one before left.
func (s *story) server(in, out *os.File, state State) *Lines {
	j, fd, err := create()
	if err != nil {
		s.t.Fatal(err)
	}
	defer unix.Close(fd)
	if s.client, err = openJournal(fd); err != nil {
		s.t.Fatal(err)
	}
	if !state.fits() {
		s.t.Fatalf("%d bytes of input do not fit", len(state.Input))
	}
	s.client.put(state)
	from, err := open(int(in.Fd()), false, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	to, err := open(int(out.Fd()), true, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	l, err := newLines(j, watched{from, s}, to)
	if err != nil {
		s.t.Fatal(err)
	}
	j.stored = s.step
	return l
}

// serve is what tools does with Lines, on one goroutine. It is io.EOF at the end.
func (s *story) serve(l *Lines) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if err, _ = p.(error); err != errKilled {
				panic(p)
			}
		}
	}()
	slots := map[string]int{}
	for {
		line, err := l.ReadLine()
		if err != nil && len(slots) == 0 {
			return err
		}
		m := struct {
			ID     json.RawMessage
			Method string
		}{}
		if err == nil && json.Unmarshal(line, &m) == nil && m.ID != nil {
			slots[string(m.ID)] = l.Begin(m.ID, m.Method)
			if slots[string(m.ID)] >= 0 {
				s.begun[string(m.ID)]++
			}
		}
		for id, slot := range slots { // some of those in flight, or all at the end
			if err == nil && s.random.IntN(4) > 0 {
				continue
			}
			answer := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"pad":"%*d"}`+"\n", id, s.random.IntN(9000), 0)
			if err := l.WriteLine(answer); err != nil {
				s.t.Fatal(err)
			}
			if slot >= 0 {
				s.answers[id]++
			}
			s.step()
			l.End(slot)
			delete(slots, id)
		}
	}
}

// TestServerMayEndBetweenAnyTwoSteps is the promise of the package: whenever a
// server ends, each request has its answer, or is known to be in flight, or is
// still to be read; and none is carried out twice.
func TestServerMayEndBetweenAnyTwoSteps(t *testing.T) {
	for seed := range uint64(30) {
		s := tell(t, seed)
		in, feed, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		outR, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			feed.Write(s.stream)
			feed.Close()
		}()
		go io.Copy(io.Discard, outR)
		state, servers := State{}, 0
		for err = errKilled; errors.Is(err, errKilled); servers++ {
			s.killAt = s.steps + 1 + s.random.IntN(80)
			l := s.server(in, out, state)
			err = s.serve(l)
			l.journal.stored = nil
			lost, lostErr := s.client.lost()
			if lostErr != nil {
				t.Fatal(lostErr)
			}
			for _, r := range lost.Requests {
				s.lost[string(r.ID)]++
			}
			state = lost.State
			l.Close()
			s.client.close()
		}
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if s.taken != len(s.stream) || len(state.Input) > 0 || servers < 3 {
			t.Fatalf("seed %d: %d of %d bytes were read, %d are left, by %d servers", seed, s.taken, len(s.stream), len(state.Input), servers)
		}
		for _, id := range s.ids {
			if id != "" && (s.begun[id] > 1 || s.answers[id] > 1 || s.answers[id]+s.lost[id] == 0) {
				t.Errorf("seed %d: %s was begun %d times, answered %d times and lost %d times", seed, id, s.begun[id], s.answers[id], s.lost[id])
			}
		}
		for _, f := range []*os.File{in, out, outR} {
			f.Close()
		}
	}
}

// TestTooLongLine: it is cut, stays too long whatever server reads it, and the
// next line is whole.
func TestTooLongLine(t *testing.T) {
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	_, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	go func() {
		fmt.Fprintf(feed, `{"jsonrpc":"2.0","id":7,"x":"`)
		for range 3 * tools.MessageMax / 1024 {
			feed.Write(bytes.Repeat([]byte("x"), 1024))
		}
		feed.Write([]byte("\"}\nnext\nlast"))
		feed.Close()
	}()
	s := &story{t: t, random: rand.New(rand.NewPCG(1, 1)), answers: map[string]int{}}
	state := State{}
	for begun := false; !begun; { // by servers that end soon
		l := s.server(in, out, state)
		l.in.from = l.in.from.(watched).end
		n := 0
		l.journal.stored = func() {
			if n++; n > 100 {
				panic(errKilled)
			}
		}
		begun = func() (done bool) {
			defer func() {
				if p := recover(); p != nil && p != errKilled {
					panic(p)
				}
			}()
			_, err := l.ReadLine()
			var answer = err
			if answer == nil || !strings.Contains(answer.Error(), "too long") {
				t.Fatalf("the long line: %v", err)
			}
			l.journal.stored = nil
			for _, want := range []string{"next", "last"} {
				if line, err := l.ReadLine(); err != nil || string(line) != want {
					t.Fatalf("%q, %v; expected %q", line, err, want)
				}
			}
			if _, err := l.ReadLine(); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			return true
		}()
		l.journal.stored = nil
		lost, err := s.client.lost()
		if err != nil {
			t.Fatal(err)
		}
		if state = lost.State; !begun && !bytes.HasPrefix(state.Input, []byte(`{"jsonrpc":"2.0","id":7,`)) {
			t.Fatalf("%d bytes are kept, without the id", len(state.Input))
		}
		l.Close()
		s.client.close()
	}
}

// TestMemoryIsGivenBack: after a large message the journal is small again.
func TestMemoryIsGivenBack(t *testing.T) {
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	j, fd, err := create()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	l, err := newLines(j, must[end](t)(open(int(in.Fd()), false, 0)), must[end](t)(open(int(feed.Fd()), true, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	memory := func() int64 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks * 512
	}
	for range 3 {
		go func() {
			feed.Write(bytes.Repeat([]byte("x"), tools.MessageMax))
			feed.Write([]byte("\nshort\n"))
		}()
		if line, err := l.ReadLine(); err != nil || len(line) != tools.MessageMax {
			t.Fatalf("%d bytes, %v", len(line), err)
		}
		if n := memory(); n < tools.MessageMax {
			t.Errorf("with a large message it has %d bytes", n)
		}
		if line, err := l.ReadLine(); err != nil || string(line) != "short" {
			t.Fatalf("%q, %v", line, err)
		}
		fmt.Fprintln(feed, "next")
		if line, err := l.ReadLine(); err != nil || string(line) != "next" {
			t.Fatalf("%q, %v", line, err)
		}
		if n := memory(); n > 2*keepMemory {
			t.Errorf("afterwards it has %d bytes", n)
		}
	}
	feed.Close()
}
