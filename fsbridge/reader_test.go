package fsbridge

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// answering answers every request with an empty result, after wait.
func answering(h *hostile, wait func(n int)) {
	var f Frame
	for n := 0; h.Read(&f) == nil; n++ {
		if f.Kind == KindRequest {
			wait(n)
			h.send(Header{ID: f.ID, Kind: KindResponse}, "", "")
		}
	}
}

// directCalls is how often callers have become the reader.
func (c *Client) directCalls() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.direct
}

func ping(t *testing.T, c *Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.Ping(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestCallersRead: calls that follow each other closely read their answers, those
// at once do not get in each other's way, and the end is noticed without a call.
func TestCallersRead(t *testing.T) {
	server, agent := socketpair(t)
	c := against(t, server, agent, func(h *hostile) { answering(h, func(int) {}) })
	for end := time.Now().Add(10 * time.Second); c.directCalls() == 0; ping(t, c) {
		if time.Now().After(end) {
			t.Fatal("no caller has become the reader")
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				ping(t, c)
			}
		})
	}
	wg.Wait()
	ping(t, c)
	agent.Close()
	select {
	case <-c.Done():
	case <-time.After(10 * time.Second):
		t.Error("the end of the connection is not noticed")
	}
}

// TestReaderThatWaitsLong: a caller that reads gives the reading up when its
// answer takes long, others get theirs meanwhile, and it can be cancelled.
func TestReaderThatWaitsLong(t *testing.T) {
	server, agent := socketpair(t)
	release := make(chan struct{})
	c := against(t, server, agent, func(h *hostile) {
		var f Frame
		for h.Read(&f) == nil {
			switch {
			case f.Kind == KindCancel:
				h.send(Header{ID: f.ID, Kind: KindError}, `{"op":"stat","code":"cancelled"}`, "")
			case f.Op == OpPing:
				h.send(Header{ID: f.ID, Kind: KindResponse}, "", "")
			case f.Op == OpStat: // which gets no answer until it is cancelled
				close(release)
			}
		}
	})
	for range 50 {
		ping(t, c)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, _, err := c.Stat(ctx, StatRequest{Path: "/"})
		result <- err
	}()
	<-release
	for range 50 {
		ping(t, c)
	}
	start := time.Now()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("it took %v to be cancelled", d)
	}
	ping(t, c)
}

// TestReaderAndPartsOfFrames: an agent that sends half a frame does not keep a
// caller that reads from being cancelled.
func TestReaderAndPartsOfFrames(t *testing.T) {
	server, agent := socketpair(t)
	half := make(chan struct{})
	c := against(t, server, agent, func(h *hostile) {
		var f Frame
		for h.Read(&f) == nil {
			switch f.Op {
			case OpPing:
				h.send(Header{ID: f.ID, Kind: KindResponse}, "", "")
			case OpStat:
				h.raw(frame(Header{ID: f.ID, Kind: KindResponse}, "{}", "data")[:HeaderSize+1])
				close(half)
			}
		}
	})
	for range 50 {
		ping(t, c)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-half
		cancel()
	}()
	if _, _, err := c.Stat(ctx, StatRequest{Path: "/"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
