package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// sockets are the two ends of a connection.
func sockets(t *testing.T) (a, b *socket) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, b = &socket{fd: fds[0]}, &socket{fd: fds[1]}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// TestSocketCarriesMoreThanItHolds: both ends wait for each other, and the end is io.EOF.
func TestSocketCarriesMoreThanItHolds(t *testing.T) {
	a, b := sockets(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if n, err := a.Write(sent); n != len(sent) || err != nil {
			t.Errorf("wrote %d: %v", n, err)
		}
		a.Close()
	})
	if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("read %d bytes: %v", len(got), err)
	}
}

// TestSocketCloseWakes who reads and who writes, and can be called again.
func TestSocketCloseWakes(t *testing.T) {
	a, _ := sockets(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		if n, err := a.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("read %d: %v", n, err)
		}
	})
	wg.Go(func() {
		if _, err := a.Write(make([]byte, 8<<20)); err == nil {
			t.Error("nobody reads, and all was written")
		}
	})
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := a.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
}

// TestLoneRequestThatLastsHoldsUpNothing: it is carried out by who reads, and
// yet others are answered and it can be cancelled.
func TestLoneRequestThatLastsHoldsUpNothing(t *testing.T) {
	a, err := New(Options{Spool: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for range gateSize { // which makes a read last
		a.gate.mustEnter()
	}
	defer func() {
		for range gateSize {
			a.gate.leave()
		}
	}()
	server, inside := sockets(t)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { a.Serve(context.Background(), inside) })
	c, err := fsbridge.Connect(t.Context(), server, fsbridge.Welcome{DataDir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		_, _, err := c.Stat(ctx, fsbridge.StatRequest{Path: "/"})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a read that waits: %v", err)
		}
	})
	for range 3 {
		if err := c.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	}
	cancel()
}
