package fsbridge

import (
	"context"
	"errors"
	"io"
	"testing"
)

func TestInboxHoldsToItsCredit(t *testing.T) {
	b := NewInbox()
	if err := b.Push(make([]byte, Window)); err != nil {
		t.Fatal(err)
	}
	var broken *ProtocolError
	if err := b.Push([]byte{1}); !errors.As(err, &broken) {
		t.Errorf("beyond the credit: %v", err)
	}
	got, err := b.Take(t.Context(), nil)
	if len(got) != Window || err != nil {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if err := b.Push([]byte{1}); err == nil {
		t.Error("what is taken is not granted yet")
	}
	b.Grant(10)
	if err := b.Push(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	b.End(io.EOF)
	b.End(ErrClosed)
	if err := b.Push([]byte{1}); !errors.As(err, &broken) {
		t.Errorf("after the end: %v", err)
	}
	if got, err := b.Take(t.Context(), got); len(got) != 10 || err != nil {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if _, err := b.Take(t.Context(), nil); err != io.EOF {
		t.Errorf("got %v", err)
	}
}

func TestDroppedInboxKeepsNothing(t *testing.T) {
	b := NewInbox()
	b.Push([]byte("x"))
	b.Drop()
	if err := b.Push(make([]byte, Window-1)); err != nil {
		t.Error(err)
	}
	if err := b.Push([]byte{1}); err == nil {
		t.Error("a dropped stream has endless credit")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Take(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestCredit(t *testing.T) {
	c := NewCredit()
	if n, err := c.Take(t.Context(), nil, Window+5); n != Window || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	done := make(chan struct{})
	close(done)
	if _, err := c.Take(t.Context(), done, 1); err != io.ErrClosedPipe {
		t.Errorf("got %v", err)
	}
	if err := c.Grant(Window + 1); err == nil {
		t.Error("more than was sent is granted")
	}
	if err := c.Grant(7); err != nil {
		t.Error(err)
	}
	if n, err := c.Take(t.Context(), nil, 100); n != 7 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}
