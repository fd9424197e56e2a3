package fsbridge

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const goodHello = `{"version":2,"build":"test","boot_id":"b","pid":1}`

// hostile is an agent that does what a test says.
type hostile struct {
	t *testing.T
	*Conn
	rw io.ReadWriteCloser
}

// raw writes bytes as they are; an error is the server's right.
func (h *hostile) raw(b []byte) { h.rw.Write(b) }

func (h *hostile) send(hd Header, js, data string) { h.raw(frame(hd, js, data)) }

// next reads the frame that the server sent.
func (h *hostile) next() Frame {
	h.t.Helper()
	var f Frame
	if err := h.Read(&f); err != nil {
		h.t.Errorf("read from the server: %v", err)
	}
	return f
}

// skip reads until the server has hung up.
func (h *hostile) skip() { io.Copy(io.Discard, h.rw) }

// against connects a client to an agent that says hello and then runs script.
func against(t *testing.T, server, agent io.ReadWriteCloser, script func(*hostile)) *Client {
	t.Helper()
	var wg sync.WaitGroup
	welcomed := make(chan struct{})
	wg.Go(func() {
		h := &hostile{t: t, Conn: NewConn(agent), rw: agent}
		h.send(Header{Kind: KindHello}, goodHello, "")
		h.next()
		close(welcomed)
		script(h)
	})
	c, err := Connect(t.Context(), server, Welcome{DataDir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	<-welcomed
	t.Cleanup(func() {
		c.Close()
		agent.Close()
		wg.Wait()
	})
	return c
}

func socketpair(t testing.TB) (server, agent io.ReadWriteCloser) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "server"), os.NewFile(uintptr(fds[1]), "agent")
}

// brokenBy checks that the connection has ended because of what the agent did.
func brokenBy(t *testing.T, c *Client, err error, reason string) {
	t.Helper()
	var broken *ProtocolError
	if !errors.Is(err, ErrClosed) || !errors.As(err, &broken) || !strings.Contains(broken.Reason, reason) {
		t.Errorf("got %v, want a protocol error about %q", err, reason)
	}
	select {
	case <-c.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the connection goes on")
	}
	if !errors.Is(c.Err(), ErrClosed) || errors.Is(c.Err(), io.EOF) {
		t.Errorf("Err is %v", c.Err())
	}
	if err := c.Ping(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("a later request: %v", err)
	}
}

func TestHostileFrames(t *testing.T) {
	id := func(h *hostile) uint64 { return h.next().ID }
	flagged := AppendHeader(nil, Header{ID: 1, Kind: KindEnd})
	flagged[11] = 0x80
	for _, c := range []struct {
		name, reason string
		script       func(h *hostile)
	}{
		{"too long", "too long", func(h *hostile) {
			h.raw(AppendHeader(nil, Header{ID: id(h), Kind: KindResponse, DataLen: MaxData + 1}))
		}},
		{"4 GiB", "too long", func(h *hostile) {
			h.raw(AppendHeader(nil, Header{ID: id(h), Kind: KindResponse, JSONLen: 1<<32 - 1, DataLen: 1<<32 - 1}))
		}},
		{"garbage", "", func(h *hostile) { h.next(); h.raw([]byte(strings.Repeat("\xde\xad\xbe\xef", 100))) }},
		{"text", "", func(h *hostile) { h.next(); h.raw([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }},
		{"flags", "flags", func(h *hostile) { h.next(); h.raw(flagged) }},
		{"wrong id", "not in flight", func(h *hostile) { h.send(Header{ID: id(h) + 1, Kind: KindResponse}, "", "") }},
		{"double answer", "not in flight", func(h *hostile) {
			n := id(h)
			h.send(Header{ID: n + 1, Kind: KindError}, `{}`, "")
		}},
		{"second hello", "hello from the agent", func(h *hostile) { h.next(); h.send(Header{Kind: KindHello}, goodHello, "") }},
		{"request", "request from the agent", func(h *hostile) { h.send(Header{ID: id(h), Kind: KindRequest, Op: OpExec}, "{}", "") }},
		{"cancel", "cancel from the agent", func(h *hostile) { h.send(Header{ID: id(h), Kind: KindCancel}, "", "") }},
		{"data without a stream", "no stream", func(h *hostile) { h.send(Header{ID: id(h), Kind: KindData}, "", "x") }},
		{"credit without a stream", "no stream", func(h *hostile) { h.send(Header{ID: id(h), Kind: KindCredit}, "", "\x01\x00\x00\x00") }},
		{"result of nothing", "a result where there is none", func(h *hostile) { h.send(Header{ID: id(h), Kind: KindResponse}, `{"x":1}`, "") }},
		{"error that is none", "error:", func(h *hostile) { h.send(Header{ID: id(h), Kind: KindError}, `[]`, "") }},
		{"error with an errno out of bounds", "errno", func(h *hostile) { h.send(Header{ID: id(h), Kind: KindError}, `{"errno":5000}`, "") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, agent := socketpair(t)
			client := against(t, server, agent, func(h *hostile) { c.script(h); h.skip() })
			brokenBy(t, client, client.Ping(t.Context()), c.reason)
		})
	}
}

func TestDoubleAnswer(t *testing.T) {
	server, agent := socketpair(t)
	c := against(t, server, agent, func(h *hostile) {
		f := h.next()
		h.send(Header{ID: f.ID, Kind: KindResponse}, "", "")
		h.next()
		h.send(Header{ID: f.ID, Kind: KindResponse}, "", "")
		h.skip()
	})
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	brokenBy(t, c, c.Ping(t.Context()), "not in flight")
}

// All that is in flight ends when the connection does, also what other calls do.
func TestAllInFlightEnd(t *testing.T) {
	server, agent := socketpair(t)
	const calls = 50
	c := against(t, server, agent, func(h *hostile) {
		for range calls {
			h.next()
		}
		h.raw([]byte(strings.Repeat("\xff", HeaderSize)))
		h.skip()
	})
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() {
			if _, err := c.List(t.Context(), ListRequest{Path: "/"}); !errors.Is(err, ErrClosed) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
}

func TestHangUp(t *testing.T) {
	server, agent := socketpair(t)
	c := against(t, server, agent, func(h *hostile) { h.next(); h.Close() })
	err := c.Ping(t.Context())
	if !errors.Is(err, ErrClosed) || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "hung up") {
		t.Errorf("got %v", err)
	}
}

func TestCreditOverrun(t *testing.T) {
	server, agent := socketpair(t)
	c := against(t, server, agent, func(h *hostile) {
		f := h.next()
		chunk := strings.Repeat("x", 1<<19)
		for range 3 { // a Window and a half
			h.send(Header{ID: f.ID, Kind: KindData}, "", chunk)
		}
		h.skip()
	})
	block, unblock := context.WithCancel(t.Context())
	go func() { <-c.Done(); unblock() }()
	n, err := c.ReadTo(t.Context(), "/f", 0, -1, writerFunc(func(b []byte) (int, error) { <-block.Done(); return len(b), nil }))
	brokenBy(t, c, err, "credit")
	if n > Window {
		t.Errorf("%d bytes were taken", n)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestCreditOutOfNothing(t *testing.T) {
	// More than a window is too much, however much is under way by then.
	for _, credit := range []uint32{0, Window + 1, 1<<32 - 1} {
		server, agent := socketpair(t)
		c := against(t, server, agent, func(h *hostile) {
			f := h.next()
			h.send(Header{ID: f.ID, Kind: KindCredit}, "", string(binary.LittleEndian.AppendUint32(nil, credit)))
			h.skip()
		})
		_, err := c.WriteFrom(t.Context(), WriteRequest{Path: "/f"}, zeros{})
		brokenBy(t, c, err, "credit of")
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func TestFetchLies(t *testing.T) {
	for name, script := range map[string]func(h *hostile, id uint64){
		"more bytes than asked for": func(h *hostile, id uint64) { h.send(Header{ID: id, Kind: KindData}, "", "12345") },
		"bytes were said":           func(h *hostile, id uint64) { h.send(Header{ID: id, Kind: KindResponse}, `{"bytes":3}`, "") },
		"not in flight": func(h *hostile, id uint64) {
			h.send(Header{ID: id, Kind: KindResponse}, `{"bytes":0}`, "")
			h.send(Header{ID: id, Kind: KindResponse}, `{"bytes":0}`, "")
		},
	} {
		server, agent := socketpair(t)
		c := against(t, server, agent, func(h *hostile) { script(h, h.next().ID); h.skip() })
		_, err := c.ReadTo(t.Context(), "/f", 0, 4, io.Discard)
		if err == nil {
			err = c.Ping(t.Context())
		}
		brokenBy(t, c, err, name)
	}
}

// A cancelled call returns at once, whatever the agent does; its late answer is
// dropped, and its stream within the credit too.
func TestCancelAgainstSilence(t *testing.T) {
	server, agent := socketpair(t)
	cancelled := make(chan struct{})
	c := against(t, server, agent, func(h *hostile) {
		fetch, cancel := h.next(), h.next()
		if cancel.Kind != KindCancel || cancel.ID != fetch.ID {
			t.Errorf("got %+v in place of a cancel", cancel.Header)
		}
		close(cancelled)
		ping := h.next()
		h.send(Header{ID: fetch.ID, Kind: KindData}, "", "late")
		h.send(Header{ID: fetch.ID, Kind: KindError}, `{"code":"cancelled"}`, "")
		h.send(Header{ID: ping.ID, Kind: KindResponse}, "", "")
		h.skip()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := c.ReadTo(ctx, "/f", 0, -1, io.Discard); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 200*time.Millisecond {
		t.Errorf("got %v after %v", err, time.Since(start))
	}
	<-cancelled
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// An agent that never answers what was cancelled is given up after so many.
func TestTooManyAbandoned(t *testing.T) {
	server, agent := socketpair(t)
	got := make(chan struct{}, maxAbandoned+1)
	c := against(t, server, agent, func(h *hostile) {
		for n := 0; n <= maxAbandoned; {
			if h.next().Kind == KindRequest {
				n++
				got <- struct{}{}
			}
		}
		h.skip()
	})
	for n := range maxAbandoned + 1 {
		if c.Err() != nil {
			t.Fatalf("closed after %d: %v", n, c.Err())
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-got; cancel() }()
		if err := c.Ping(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	}
	brokenBy(t, c, c.Err(), "without an answer")
}

func TestMaxInFlight(t *testing.T) {
	server, agent := socketpair(t)
	got := make(chan struct{})
	c := against(t, server, agent, func(h *hostile) {
		for range MaxInFlight {
			h.next()
		}
		close(got)
		h.skip()
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range MaxInFlight {
		wg.Go(func() { c.Ping(ctx) })
	}
	<-got
	if err := c.Ping(t.Context()); !errors.Is(err, ErrLimit) {
		t.Errorf("got %v", err)
	}
	cancel()
	wg.Wait()
}

// An agent that reads nothing blocks no cancelled call, and is given up after
// the stall timeout.
func TestStalledReader(t *testing.T) {
	for name, pair := range map[string]func(testing.TB) (io.ReadWriteCloser, io.ReadWriteCloser){
		"socket": socketpair, "pipe": func(testing.TB) (io.ReadWriteCloser, io.ReadWriteCloser) { return net.Pipe() },
	} {
		server, agent := pair(t)
		conn := NewConn(server)
		conn.stall = 300 * time.Millisecond
		release := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			h := &hostile{t: t, Conn: NewConn(agent), rw: agent}
			h.send(Header{Kind: KindHello}, goodHello, "")
			h.next()
			<-release
		})
		c, err := connect(t.Context(), conn, Welcome{DataDir: "/"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		_, err = c.Write(ctx, WriteRequest{Path: "/f"}, make([]byte, MaxData))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 200*time.Millisecond {
			t.Errorf("%s: got %v after %v", name, err, time.Since(start))
		}
		cancel()
		<-c.Done()
		if err := c.Ping(t.Context()); !errors.Is(err, ErrClosed) || time.Since(start) > 5*time.Second {
			t.Errorf("%s: got %v after %v", name, err, time.Since(start))
		}
		close(release)
		wg.Wait()
		c.Close()
		agent.Close()
	}
}

// Half a frame and then nothing: the real limit, in a clock that can be turned.
func TestHalfAFrame(t *testing.T) {
	whole := frame(Header{ID: 1, Kind: KindResponse}, `{"a":1}`, "data")
	for _, n := range []int{1, HeaderSize, len(whole) - 1} {
		synctest.Test(t, func(t *testing.T) {
			server, agent := net.Pipe()
			c := against(t, server, agent, func(h *hostile) {
				h.next()
				h.raw(whole[:n])
				h.skip()
			})
			start := time.Now()
			brokenBy(t, c, c.Ping(t.Context()), "stalled")
			if d := time.Since(start); d != StallTimeout {
				t.Errorf("after %d bytes given up after %v, want %v", n, d, StallTimeout)
			}
		})
	}
}

// A connection on which nothing is under way may be silent for ever.
func TestIdleIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, agent := net.Pipe()
		c := against(t, server, agent, func(h *hostile) {
			for range 2 {
				h.send(Header{ID: h.next().ID, Kind: KindResponse}, "", "")
			}
			h.skip()
		})
		for range 2 {
			if err := c.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(1000 * time.Hour)
		}
	})
}
