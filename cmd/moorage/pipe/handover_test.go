package pipe

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"moorage/cmd/moorage/handover"
)

// playHanding joins a pipe that hands its descriptors over with a listener that
// the test accepts from.
func playHanding(t *testing.T) (in io.WriteCloser, out *bufio.Scanner, accept func() lines, end <-chan error) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range []*os.File{inR, inW, outR, outW} {
			f.Close()
		}
	})
	ends := handover.Find(int(inR.Fd()), int(outW.Fd()))
	if ends == nil {
		t.Fatal("pipes are not to be handed over")
	}
	return playOver(t, l, &Pipe{In: inR, Out: outW, Ends: ends}, inW, outR)
}

// take takes the descriptors, as a server does.
func (l lines) take(t *testing.T) *handover.Lines {
	t.Helper()
	h, err := handover.Take(l.UnixConn)
	if h == nil || err != nil {
		t.Fatalf("take over: %v, %v", h, err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// expect reads a line that has this in it.
func expect(t *testing.T, h *handover.Lines, want string) {
	t.Helper()
	if line, err := h.ReadLine(); err != nil || !strings.Contains(string(line), want) {
		t.Fatalf("the server got %q, %v; expected %s", line, err, want)
	}
}

func sees(t *testing.T, out *bufio.Scanner, want ...string) {
	t.Helper()
	if !out.Scan() {
		t.Fatalf("the client sees no more: %v", out.Err())
	}
	for _, w := range want {
		if !strings.Contains(out.Text(), w) {
			t.Fatalf("the client sees %q, expected %s", out.Text(), w)
		}
	}
}

func TestServerLostWhileItTakesOver(t *testing.T) {
	in, out, accept, end := playHanding(t)
	accept().Close() // the first, before anything was said
	say(t, in, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	accept().Close()
	second := accept()
	h := second.take(t)
	expect(t, h, `"ping"`)
	if err := h.WriteLine([]byte(`{"jsonrpc":"2.0","id":1,"result":{}}` + "\n")); err != nil {
		t.Fatal(err)
	}
	sees(t, out, `"id":1`, `"result"`)
	in.Close()
	if _, err := h.ReadLine(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if err := errors.Join(h.Close(), handover.Done(second.UnixConn)); err != nil {
		t.Fatal(err)
	}
	if err := <-end; err != nil {
		t.Fatal(err)
	}
}

func TestNoServerLeftToTakeOver(t *testing.T) {
	in, out, accept, _ := playHanding(t)
	accept().Close()
	say(t, in, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	accept().Close()
	accept().Close()
	sees(t, out, `"id":1`, `"error"`, "unavailable: ")
}

// TestServersOfBothKinds: one that takes the descriptors, one that would rather
// have lines, and another that takes them.
func TestServersOfBothKinds(t *testing.T) {
	in, out, accept, _ := playHanding(t)
	first := accept()
	h := first.take(t)
	say(t, in, `{"jsonrpc":"2.0","id":0,"method":"initialize"}`)
	expect(t, h, `"initialize"`)
	slot := h.Begin([]byte("0"), "initialize")
	if err := h.WriteLine([]byte(`{"jsonrpc":"2.0","id":0,"result":{}}` + "\n")); err != nil {
		t.Fatal(err)
	}
	h.End(slot)
	sees(t, out, `"id":0`)
	say(t, in, `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`)
	expect(t, h, `"tools/call"`)
	h.Begin([]byte("1"), "tools/call")
	h.Close()
	first.Close()
	sees(t, out, `"id":1`, `"isError":true`, "unavailable: ")

	say(t, in, `{"jsonrpc":"2.0","id":2,"method":"tools/call"}`)
	second := accept()
	if _, err := second.Write([]byte("L")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"initialize"`, `"id":2`} {
		if got := second.next(t); !strings.Contains(got, want) {
			t.Fatalf("the second server got %q, expected %s", got, want)
		}
	}
	say(t, second, `{"jsonrpc":"2.0","id":0,"result":{}}`)
	say(t, second, `{"jsonrpc":"2.0","id":2,"result":{}}`)
	sees(t, out, `"id":2`, `"result"`)
	say(t, in, `{"jsonrpc":"2.0","id":3,"method":"ping"}`)
	second.next(t)
	second.Close()
	sees(t, out, `"id":3`, `"error"`, "unavailable: ")

	say(t, in, `{"jsonrpc":"2.0","id":4,"method":"ping"}`)
	h = accept().take(t)
	for _, want := range []string{`"initialize"`, `"id":4`} {
		expect(t, h, want)
	}
	for _, id := range []string{"0", "4"} {
		if err := h.WriteLine([]byte(`{"jsonrpc":"2.0","id":` + id + `,"result":{}}` + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	sees(t, out, `"id":4`, `"result"`)
}
