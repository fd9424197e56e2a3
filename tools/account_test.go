package tools

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// account are the Lines of a connection that notes what it is told.
type account struct {
	plainLines
	mu      sync.Mutex
	next    int
	open    map[int]string // by slot: id and method
	most    int
	written bytes.Buffer
	early   []string // ids that were ended before their answer was written
}

func (a *account) Begin(id json.RawMessage, method string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next++
	a.open[a.next] = string(id) + " " + method
	a.most = max(a.most, len(a.open))
	return a.next
}

func (a *account) End(slot int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id, _, _ := strings.Cut(a.open[slot], " ")
	if !strings.Contains(a.written.String(), `"id":`+id+`,`) {
		a.early = append(a.early, id)
	}
	delete(a.open, slot)
}

func (a *account) WriteLine(b []byte) error {
	a.mu.Lock()
	a.written.Write(b)
	a.mu.Unlock()
	return a.plainLines.WriteLine(b)
}

// left are the requests that have begun and not ended.
func (a *account) left() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Values(a.open))
}

// keep serves a client whose account is kept. The function ends it.
func keep(t *testing.T, s *Server) (*testClient, *account, context.CancelFunc) {
	t.Helper()
	theirs, ours := socketpair(t)
	a := &account{plainLines: plainLines{theirs, bufio.NewReader(theirs), theirs}, open: map[int]string{}}
	c := &testClient{conn: ours, r: bufio.NewReader(ours), err: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); ours.Close() })
	go func() {
		c.err <- s.ServeLines(ctx, a, "bot")
		theirs.Close()
	}()
	return c, a, cancel
}

func TestAccountOfAnsweredRequests(t *testing.T) {
	b := newBench(t)
	c, a, _ := keep(t, b.Server)
	const n = 3 * InFlight
	go func() {
		for i := range n {
			io.WriteString(c.conn, callLine(i, "hold", args{"text": "x"})+"\n")
		}
		io.WriteString(c.conn, `{"jsonrpc":"2.0","method":"notifications/x"}`+"\nno message\n")
		c.conn.CloseWrite()
	}()
	for range QuickCalls {
		await(t, b.entered, "call")
	}
	close(b.release)
	for range n + 1 { // the error has no id
		c.must(t)
	}
	if err := await(t, c.err, "end"); err != nil {
		t.Fatal(err)
	}
	if left := a.left(); len(left) > 0 || a.next != n || a.most > InFlight || len(a.early) > 0 {
		t.Errorf("%d begun, at most %d at once, %v before their answer, %v never ended", a.next, a.most, a.early, left)
	}
}

func TestAccountOfCancelledAndLostRequests(t *testing.T) {
	b := newBench(t)
	c, a, cancel := keep(t, b.Server)
	c.send(t, callLine(1, "hold", args{"text": "kept"}), callLine(2, "hold", args{"text": "cancelled"}))
	await(t, b.entered, "call")
	await(t, b.entered, "call")
	if left := a.left(); len(left) != 2 || left[0] != "1 tools/call" {
		t.Errorf("in flight are %q", left)
	}
	c.send(t, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}`)
	if got := await(t, b.ended, "cancellation"); got != "cancelled" {
		t.Fatal(got)
	}
	c.result(t, `{"jsonrpc":"2.0","id":3,"method":"ping"}`)
	cancel() // the server stops: what it breaks off has no answer
	await(t, c.err, "end")
	if left := fmt.Sprint(a.left()); left != "[1 tools/call]" {
		t.Errorf("without answer are %s", left)
	}
}

// TestBoundsOfWhatIsKept: what no account has room for is refused by every stream.
func TestBoundsOfWhatIsKept(t *testing.T) {
	b := newBench(t)
	c := dial(t, b.Server, "bot")
	long := `"` + strings.Repeat("i", IDMax-2) + `"`
	c.send(t, `{"jsonrpc":"2.0","id":`+long+`,"method":"ping"}`)
	if a := c.must(t); string(a.ID) != long || a.Error != nil {
		t.Errorf("%.200s", a.raw)
	}
	long = `"` + strings.Repeat("i", IDMax-1) + `"`
	c.send(t, `{"jsonrpc":"2.0","id":`+long+`,"method":"ping"}`)
	if a := c.must(t); string(a.ID) != long || a.Error == nil || a.Error.Message != "invalid request: an id has at most 1000 bytes" {
		t.Errorf("%.200s", a.raw)
	}
	c.send(t, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"x":"`+strings.Repeat("x", HelloMax)+`"}}`)
	if a := c.must(t); string(a.ID) != "1" || a.Error == nil || a.Error.Message != "invalid request: an initialize message has at most 1048576 bytes" {
		t.Errorf("%.200s", a.raw)
	}
}
