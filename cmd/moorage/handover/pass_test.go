package handover

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// conns are the two ends of a connection to the server.
func conns(t *testing.T) (client, server *net.UnixConn) {
	t.Helper()
	fds := must[[2]int](t)(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	var both [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "conn")
		c := must[net.Conn](t)(net.FileConn(f))
		f.Close()
		t.Cleanup(func() { c.Close() })
		both[i] = c.(*net.UnixConn)
	}
	return both[0], both[1]
}

// taken is what Take returned.
type taken struct {
	*Lines
	err error
}

func takeFrom(server *net.UnixConn) <-chan taken {
	done := make(chan taken, 1)
	go func() {
		l, err := Take(server)
		done <- taken{l, err}
	}()
	return done
}

// descriptors counts this process's.
func descriptors(t *testing.T) int {
	t.Helper()
	return len(must[[]os.DirEntry](t)(os.ReadDir("/proc/self/fd")))
}

func TestHandOver(t *testing.T) {
	client, server := conns(t)
	in, feed := pipes(t)
	outR, out := pipes(t)
	ends := Find(in, out)
	before := descriptors(t)
	took := takeFrom(server)
	const hello = `{"jsonrpc":"2.0","id":"h","method":"initialize"}`
	h := must[*Handed](t)(Give(client, ends, State{Hello: []byte(hello), Input: []byte("kept\nha")}))
	l := <-took
	if h == nil || l.Lines == nil || l.err != nil {
		t.Fatalf("%v %+v", h, l)
	}
	if _, err := unix.Write(feed, []byte("lf\n")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{hello, "kept", "half"} {
		line, err := l.ReadLine()
		if err != nil || string(line) != want {
			t.Fatalf("read %q, %v; expected %q", line, err, want)
		}
		if want == hello && l.Begin([]byte(`"h"`), "initialize") != -1 {
			t.Error("what is said again has a slot")
		}
	}
	for _, message := range []string{"{\"method\":\"note\"}\n", "{\"id\":\"h\"}\n", "{\"id\":\"h\",\"x\":1}\n"} {
		if err := l.WriteLine([]byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 100)
	n := must[int](t)(unix.Read(outR, b))
	if got := string(b[:n]); got != "{\"method\":\"note\"}\n{\"id\":\"h\",\"x\":1}\n" {
		t.Errorf("the client sees %q", got)
	}
	if err := errors.Join(l.Close(), l.Close(), Done(server)); err != nil {
		t.Error(err)
	}
	if err := l.WriteLine([]byte("late\n")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a write after the end: %v", err)
	}
	if !h.Wait() {
		t.Error("the client does not see that all is done")
	}
	h.Close()
	if after := descriptors(t); after != before {
		t.Errorf("there were %d descriptors and are %d", before, after)
	}
}

func TestServerGoneIsNotDone(t *testing.T) {
	client, server := conns(t)
	in, _ := pipes(t)
	_, out := pipes(t)
	took := takeFrom(server)
	h := must[*Handed](t)(Give(client, Find(in, out), State{}))
	l := <-took
	defer l.Close()
	server.Close()
	if h.Wait() {
		t.Error("a server that is gone is done")
	}
	if lost, err := h.Recover(); err != nil || len(lost.Hello)+len(lost.Input)+len(lost.Requests) > 0 || lost.Broken {
		t.Errorf("%+v, %v", lost, err)
	}
}

// TestOddDescriptors end in lines, and are given back.
func TestOddDescriptors(t *testing.T) {
	null := must[*os.File](t)(os.OpenFile("/dev/null", os.O_RDWR, 0))
	defer null.Close()
	in, out := pipes(t)
	for _, fds := range [][2]int{{int(null.Fd()), out}, {in, int(null.Fd())}, {out, in}} {
		client, server := conns(t)
		before := descriptors(t)
		took := takeFrom(server)
		h, err := Give(client, &Ends{fds: fds}, State{})
		if l := <-took; h != nil || err != nil || l.Lines != nil || l.err != nil {
			t.Errorf("%v: %v %v %+v", fds, h, err, l)
		}
		if after := descriptors(t); after != before {
			t.Errorf("%v: there were %d descriptors and are %d", fds, before, after)
		}
		if _, err := io.WriteString(client, "line\n"); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 10)
		if n, err := server.Read(b); string(b[:n]) != "line\n" {
			t.Errorf("what follows is %q, %v", b[:n], err)
		}
	}
}

// TestHostileClient plays the client's side wrongly.
func TestHostileClient(t *testing.T) {
	in, out := pipes(t)
	for name, play := range map[string]func(c *net.UnixConn, j *journal) error{
		"no descriptors":     func(c *net.UnixConn, _ *journal) error { return send(c, tagEnds) },
		"one descriptor":     func(c *net.UnixConn, _ *journal) error { return send(c, tagEnds, in) },
		"three descriptors":  func(c *net.UnixConn, _ *journal) error { return send(c, tagEnds, in, out, out, out) },
		"another tag":        func(c *net.UnixConn, _ *journal) error { return send(c, 'x', in, out) },
		"gone":               func(c *net.UnixConn, _ *journal) error { return c.Close() },
		"a long input":       lie(in, out, func(j *journal) { j.read.Store(inputMax + 1) }),
		"a very long input":  lie(in, out, func(j *journal) { j.read.Store(math.MaxUint64) }),
		"a long hello":       lie(in, out, func(j *journal) { j.hello.Store(math.MaxUint64) }),
		"a base that is not": lie(in, out, func(j *journal) { j.base.Store(1) }),
	} {
		client, server := conns(t)
		before := descriptors(t)
		took := takeFrom(server)
		tag, fds, err := receive(client, 1)
		if err != nil || tag != tagJournal {
			t.Fatal(tag, err)
		}
		j := must[*journal](t)(openJournal(fds[0]))
		closeAll(fds)
		if err := play(client, j); err != nil {
			t.Fatal(err)
		}
		if l := <-took; l.Lines != nil || l.err == nil {
			t.Errorf("%s: %+v", name, l)
		}
		j.close()
		if after := descriptors(t); after > before {
			t.Errorf("%s: there were %d descriptors and are %d", name, before, after)
		}
	}
}

func lie(in, out int, what func(*journal)) func(*net.UnixConn, *journal) error {
	return func(c *net.UnixConn, j *journal) error {
		what(j)
		return send(c, tagEnds, in, out)
	}
}

// TestJournalIsNotBelieved: a client that writes there during the session
// misleads itself only.
func TestJournalIsNotBelieved(t *testing.T) {
	client, server := conns(t)
	in, feed := pipes(t)
	_, out := pipes(t)
	took := takeFrom(server)
	h := must[*Handed](t)(Give(client, Find(in, out), State{Input: []byte("first\n")}))
	l := <-took
	defer l.Close()
	for n := range 200 {
		line := fmt.Sprint("line ", n, strings.Repeat("x", 1000))
		if _, err := unix.Write(feed, []byte(line+"\n")); err != nil {
			t.Fatal(err)
		}
		for i := range 512 { // the whole header
			h.journal.word(8 * i).Store(math.MaxUint64 - uint64(i*n))
		}
		got, err := l.ReadLine()
		if n == 0 && string(got) == "first" {
			got, err = l.ReadLine()
		}
		if err != nil || string(got) != line {
			t.Fatalf("read %q, %v; expected %q", got, err, line)
		}
		l.End(l.Begin([]byte("1"), "ping"))
	}
	h.journal.base.Store(math.MaxUint64)
	if _, err := h.Recover(); err == nil {
		t.Error("a journal without sense is read")
	}
}

// TestJournalMustBeSealed: a client maps nothing that the server could shrink.
func TestJournalMustBeSealed(t *testing.T) {
	for name, make := range map[string]func() int{
		"unsealed": func() int {
			fd := must[int](t)(unix.MemfdCreate("j", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING))
			if err := unix.Ftruncate(fd, size); err != nil {
				t.Fatal(err)
			}
			return fd
		},
		"short": func() int {
			fd := must[int](t)(unix.MemfdCreate("j", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING))
			must[int](t)(unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals))
			return fd
		},
		"a pipe": func() int { r, _ := pipes(t); return must[int](t)(unix.Dup(r)) },
	} {
		client, server := conns(t)
		fd := make()
		if err := send(server, tagJournal, fd); err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		in, out := pipes(t)
		if h, err := Give(client, Find(in, out), State{}); h != nil || err == nil {
			t.Errorf("%s: %v, %v", name, h, err)
		}
	}
	j, fd := func() (*journal, int) {
		j, fd, err := create()
		if err != nil {
			t.Fatal(err)
		}
		return j, fd
	}()
	defer j.close()
	defer unix.Close(fd)
	for _, to := range []int64{0, size / 2, size * 2} {
		if err := unix.Ftruncate(fd, to); !errors.Is(err, unix.EPERM) {
			t.Errorf("a client can make it %d bytes: %v", to, err)
		}
	}
}
