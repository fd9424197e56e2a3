package fsbridge

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// soon is a context that ends before a test becomes slow.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func mustHold(t *testing.T, c *Client) (release func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	release, err := c.Hold(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return release
}

// statsLater answers pings at once, and a stat when told to.
func statsLater(asked chan<- struct{}, answer <-chan struct{}) func(h *hostile) {
	return func(h *hostile) {
		var f Frame
		var wg sync.WaitGroup
		defer wg.Wait()
		for h.Read(&f) == nil {
			id := f.ID
			switch f.Op {
			case OpPing:
				h.Write(h.t.Context(), Header{ID: id, Kind: KindResponse}, nil, nil)
			case OpStat:
				wg.Go(func() {
					<-answer
					h.Write(h.t.Context(), Header{ID: id, Kind: KindError}, []byte(`{"op":"stat","code":"cancelled"}`), nil)
				})
				asked <- struct{}{}
			}
		}
	}
}

// TestHoldWaits: a request in flight, also one whose caller has gone, keeps Hold
// waiting; when it gives up, all goes on.
func TestHoldWaits(t *testing.T) {
	server, agent := socketpair(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	c := against(t, server, agent, statsLater(asked, answer))
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, _, err := c.Stat(ctx, StatRequest{Path: "/"})
		result <- err
	}()
	<-asked
	for range 2 {
		if _, err := c.Hold(soon(t)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a request in flight: %v", err)
		}
		ping(t, c)
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Hold(soon(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a request whose caller has gone: %v", err)
	}
	close(answer)
	release := mustHold(t, c)
	release()
	release()
	ping(t, c)
}

// TestHoldKeepsBack: what comes while the client is held waits, as long as its
// context, and is sent afterwards; so does another holder.
func TestHoldKeepsBack(t *testing.T) {
	server, agent := socketpair(t)
	var came atomic.Int64
	c := against(t, server, agent, func(h *hostile) { answering(h, func(int) { came.Add(1) }) })
	release := mustHold(t, c)
	if err := c.Ping(soon(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Hold(soon(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("another holder: %v", err)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { ping(t, c) })
	}
	wg.Go(func() { mustHold(t, c)() })
	time.Sleep(10 * time.Millisecond)
	if n := came.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	release()
	wg.Wait()
	ping(t, c)
	if n := came.Load(); n != 11 {
		t.Errorf("%d requests were sent in the end", n)
	}
}

func TestHoldHasALimit(t *testing.T) {
	server, agent := socketpair(t)
	c := against(t, server, agent, func(h *hostile) { answering(h, func(int) {}) })
	release := mustHold(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	const over = 5
	refused := make(chan error, MaxInFlight+over)
	for range MaxInFlight + over {
		go func() { refused <- c.Ping(ctx) }()
	}
	for range over {
		if err := <-refused; !errors.Is(err, ErrLimit) {
			t.Errorf("got %v", err)
		}
	}
	cancel()
	for range MaxInFlight {
		if err := <-refused; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	release()
	ping(t, c)
}

// TestHeldConnectionEnds: those who wait get the error, and so does who holds
// next.
func TestHeldConnectionEnds(t *testing.T) {
	for _, held := range []bool{true, false} {
		server, agent := socketpair(t)
		asked, answer := make(chan struct{}), make(chan struct{})
		c := against(t, server, agent, statsLater(asked, answer))
		results := make(chan error, 3)
		release := func() {}
		if held {
			release = mustHold(t, c)
		} else {
			go func() {
				_, _, err := c.Stat(t.Context(), StatRequest{Path: "/"})
				results <- err
			}()
			<-asked
		}
		go func() { results <- c.Ping(t.Context()) }()
		go func() {
			_, err := c.Hold(t.Context())
			results <- err
		}()
		time.Sleep(5 * time.Millisecond)
		go c.Close()
		want := 2
		if !held {
			want = 3
		}
		for range want {
			if err := <-results; err != nil && !errors.Is(err, ErrClosed) {
				t.Errorf("held %v: got %v", held, err)
			}
		}
		release()
		if _, err := c.Hold(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
		close(answer)
	}
}

// TestHoldWaitsForStreams: credit is granted while Hold waits for a stream's end.
func TestHoldWaitsForStreams(t *testing.T) {
	server, agent := socketpair(t)
	const total = 3 * Window
	c := against(t, server, agent, func(h *hostile) {
		id := h.next().ID
		for sent, credit := 0, Window; sent < total; {
			if credit < ChunkSize {
				f := h.next()
				credit += int(f.Credit())
				continue
			}
			h.Write(t.Context(), Header{ID: id, Kind: KindData}, nil, make([]byte, ChunkSize))
			sent, credit = sent+ChunkSize, credit-ChunkSize
		}
		h.WriteJSON(t.Context(), Header{ID: id, Kind: KindResponse}, FetchResult{Bytes: total}, nil)
		h.skip()
	})
	begun, go_ := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := c.ReadTo(t.Context(), "/f", 0, -1, &gated{begun: begun, go_: go_})
		done <- err
	}()
	<-begun
	if _, err := c.Hold(soon(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	held := make(chan func(), 1)
	go func() { held <- mustHold(t, c) }()
	time.Sleep(5 * time.Millisecond)
	close(go_)
	(<-held)()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// gated takes its first bytes when it is let.
type gated struct {
	begun, go_ chan struct{}
	once       sync.Once
}

func (g *gated) Write(p []byte) (int, error) {
	g.once.Do(func() {
		close(g.begun)
		<-g.go_
	})
	return io.Discard.Write(p)
}

// TestHoldAmongMany: callers that come, give up and hold at random. Nothing is
// sent while one holds.
func TestHoldAmongMany(t *testing.T) {
	server, agent := socketpair(t)
	var holds atomic.Bool
	c := against(t, server, agent, func(h *hostile) {
		answering(h, func(n int) {
			if holds.Load() {
				t.Error("a request came while the client was held")
			}
			if n%20 == 0 {
				time.Sleep(50 * time.Microsecond)
			}
		})
	})
	end := time.Now().Add(500 * time.Millisecond)
	var wg sync.WaitGroup
	var pings, held atomic.Int64
	for range 6 {
		wg.Go(func() {
			for time.Now().Before(end) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(1000))*time.Microsecond)
				if err := c.Ping(ctx); err == nil {
					pings.Add(1)
				} else if ctx.Err() == nil {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for time.Now().Before(end) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(3000))*time.Microsecond)
				if release, err := c.Hold(ctx); err == nil {
					holds.Store(true)
					time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
					holds.Store(false)
					held.Add(1)
					release()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if pings.Load() == 0 || held.Load() == 0 {
		t.Errorf("%d pings, %d holds", pings.Load(), held.Load())
	}
	mustHold(t, c)()
	ping(t, c)
}

// BenchmarkRequest is what a request costs but for the wire.
func BenchmarkRequest(b *testing.B) {
	c := &Client{done: make(chan struct{}), calls: map[uint64]*call{}, wake: make(chan struct{}, 1)}
	l := newCall(OpPing)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.register(b.Context(), l); err != nil {
			b.Fatal(err)
		}
		c.forget(l)
	}
}
