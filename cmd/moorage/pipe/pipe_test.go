package pipe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"moorage/cmd/moorage/daemon"
)

// lines is a server's end that a test plays by hand, line by line.
type lines struct {
	*net.UnixConn
	*bufio.Scanner
}

func (l lines) next(t *testing.T) string {
	t.Helper()
	if !l.Scan() {
		t.Fatalf("the pipe sent no more: %v", l.Err())
	}
	return l.Text()
}

// play joins a pipe with a listener that the test accepts from.
func play(t *testing.T) (in io.WriteCloser, out *bufio.Scanner, accept func() lines, end <-chan error) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	return playOver(t, l, &Pipe{In: inR, Out: outW}, inW, outR)
}

// playOver joins a pipe whose input and output are given.
func playOver(t *testing.T, l *net.UnixListener, p *Pipe, inW io.WriteCloser, outR io.Reader) (io.WriteCloser, *bufio.Scanner, func() lines, <-chan error) {
	t.Helper()
	outW := p.Out.(io.Closer)
	p.Log = slog.New(slog.DiscardHandler)
	p.Dial = func(context.Context) (daemon.Conn, error) {
		c, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
		return daemon.Conn{UnixConn: c, Handover: p.Ends != nil}, err
	}
	done := make(chan error, 1)
	go func() {
		err := p.Run(t.Context())
		outW.Close()
		done <- err
	}()
	return inW, bufio.NewScanner(outR), func() lines {
		l.SetDeadline(time.Now().Add(10 * time.Second))
		c, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return lines{c, bufio.NewScanner(c)}
	}, done
}

func say(t *testing.T, w io.Writer, format string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(w, format+"\n", args...); err != nil {
		t.Fatal(err)
	}
}

func TestLostServerIsReplacedAndNoRequestIsLeftWithoutAnswer(t *testing.T) {
	in, out, accept, _ := play(t)
	first := accept()
	say(t, in, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}`)
	hello := first.next(t)
	say(t, first, `{"jsonrpc":"2.0","id":0,"result":{"first":true}}`)
	out.Scan()
	say(t, in, `{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"exec"}}`)
	first.next(t)
	first.Close()
	if !out.Scan() || !strings.Contains(out.Text(), `"id":"x"`) || !strings.Contains(out.Text(), `"isError":true`) || !strings.Contains(out.Text(), "unavailable: ") {
		t.Fatalf("the request in flight got %q", out.Text())
	}
	say(t, in, `{"jsonrpc":"2.0","id":2,"method":"ping"}`)
	second := accept()
	if again := second.next(t); again != hello {
		t.Fatalf("the new server was greeted with %q", again)
	}
	if got := second.next(t); !strings.Contains(got, `"ping"`) {
		t.Fatalf("the new server got %q", got)
	}
	say(t, second, `{"jsonrpc":"2.0","id":0,"result":{"second":true}}`)
	say(t, second, `{"jsonrpc":"2.0","id":2,"result":{}}`)
	if !out.Scan() || !strings.Contains(out.Text(), `"id":2`) {
		t.Fatalf("the client saw %q", out.Text())
	}
}

func TestEndOfInputWaitsForAnswers(t *testing.T) {
	in, out, accept, end := play(t)
	server := accept()
	say(t, in, `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	server.next(t)
	in.Close()
	if server.Scan() {
		t.Fatalf("after the end of input the server got %q", server.Text())
	}
	say(t, server, `{"jsonrpc":"2.0","id":1,"result":{}}`)
	if !out.Scan() || !strings.Contains(out.Text(), `"result"`) {
		t.Fatalf("the client saw %q", out.Text())
	}
	server.Close()
	if err := <-end; err != nil {
		t.Fatal(err)
	}
}

func TestLastLineWithoutNewlineAndLongLines(t *testing.T) {
	in, _, accept, end := play(t)
	server := accept()
	server.Buffer(nil, 2*maxLine+1024)
	long := strings.Repeat("x", 2*maxLine)
	go func() {
		say(t, in, "%s", long)
		io.WriteString(in, `{"jsonrpc":"2.0","method":"note"}`)
		in.Close()
	}()
	if got := server.next(t); got != long {
		t.Fatalf("a line of %d bytes arrived as one of %d", len(long), len(got))
	}
	if got := server.next(t); !strings.Contains(got, `"note"`) {
		t.Fatalf("the last line arrived as %q", got)
	}
	server.Close()
	if err := <-end; err != nil {
		t.Fatal(err)
	}
}

func TestFirstConnectionMustSucceed(t *testing.T) {
	cause := errors.New("no server here")
	p := &Pipe{
		In: strings.NewReader(""), Out: io.Discard, Log: slog.New(slog.DiscardHandler),
		Dial: func(context.Context) (daemon.Conn, error) { return daemon.Conn{}, cause },
	}
	if err := p.Run(t.Context()); !errors.Is(err, cause) {
		t.Fatalf("error %v", err)
	}
}
