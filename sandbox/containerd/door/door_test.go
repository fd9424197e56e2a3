package door

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"moorage/sandbox/sandboxtest"
)

const waitFor = 20 * time.Second

var errOver = errors.New("it is over")

// newDoor opens a door that lets this process in.
func newDoor(t *testing.T) (*Door, string) {
	t.Helper()
	path := filepath.Join(sandboxtest.Dir(t), "agent.sock")
	d, err := Open(path, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	d.Admit(uint32(os.Getpid()))
	t.Cleanup(func() { d.End(errOver) })
	return d, path
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func take(t *testing.T, d *Door) io.ReadWriteCloser {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitFor)
	defer cancel()
	c, err := d.Take(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// says sends a byte through one end and expects it at the other.
func says(t *testing.T, from, to io.ReadWriter) {
	t.Helper()
	if _, err := from.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := io.ReadFull(to, b); err != nil {
		t.Fatal(err)
	}
}

func TestDoor(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	d, path := newDoor(t)
	// It dials before anybody waits, and while somebody does.
	early := dial(t, path)
	says(t, early, take(t, d))
	got := make(chan io.ReadWriteCloser)
	go func() { got <- take(t, d) }()
	late := dial(t, path)
	says(t, late, <-got)
	d.End(errOver)
	if _, err := d.Take(context.Background()); !errors.Is(err, errOver) {
		t.Errorf("after its end: %v", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket stays: %v", err)
	}
	d.End(nil) // once more does nothing
}

func TestDoorEndsThoseWhoWait(t *testing.T) {
	d, _ := newDoor(t)
	failed := make(chan error)
	go func() {
		_, err := d.Take(context.Background())
		failed <- err
	}()
	d.End(errOver)
	if err := <-failed; !errors.Is(err, errOver) {
		t.Errorf("got %v", err)
	}
}

func TestDoorKeepsTheNewest(t *testing.T) {
	d, path := newDoor(t)
	old := dial(t, path)
	fresh := dial(t, path)
	// The old one is closed when the new one is in.
	if _, err := old.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the older connection: %v", err)
	}
	says(t, fresh, take(t, d))
}

func TestDoorDropsWhoHasHungUp(t *testing.T) {
	d, path := newDoor(t)
	gone := dial(t, path)
	if _, err := gone.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	sandboxtest.Eventually(t, waitFor, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.conn != nil
	}, func() string { return "it is not let in" })
	gone.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := d.Take(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one that has hung up was handed out: %v", err)
	}
}

func TestDoorRefusesOthers(t *testing.T) {
	d, path := newDoor(t)
	d.Admit(1) // not this process
	stranger := dial(t, path)
	if _, err := stranger.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a stranger: %v", err)
	}
	d.Admit(uint32(os.Getpid()))
	says(t, dial(t, path), take(t, d))
}

// A server that was killed leaves its socket.
func TestDoorReplacesAnOldSocket(t *testing.T) {
	_, path := newDoor(t)
	d, err := Open(path, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer d.End(errOver)
	d.Admit(uint32(os.Getpid()))
	says(t, dial(t, path), take(t, d))
}
