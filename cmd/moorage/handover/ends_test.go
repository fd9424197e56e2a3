package handover

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// pair is a unix socket pair of this type.
func pair(t *testing.T, typ int) (a, b int) {
	t.Helper()
	fds := must[[2]int](t)(unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0))
	t.Cleanup(func() { closeAll(fds[:]) })
	return fds[0], fds[1]
}

func pipes(t *testing.T) (r, w int) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(fds[:]) })
	return fds[0], fds[1]
}

func TestOnlyPipesAndStreamsAreHandedOver(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	openFile := func(name string, flags int) int {
		fd := must[int](t)(unix.Open(name, flags|unix.O_CLOEXEC, 0o600))
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	socketOf := func(domain, typ int) int {
		fd := must[int](t)(unix.Socket(domain, typ|unix.SOCK_CLOEXEC, 0))
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	r, w := pipes(t)
	stream, _ := pair(t, unix.SOCK_STREAM)
	datagram, _ := pair(t, unix.SOCK_DGRAM)
	packet, _ := pair(t, unix.SOCK_SEQPACKET)
	listening := socketOf(unix.AF_UNIX, unix.SOCK_STREAM)
	if err := errors.Join(unix.Bind(listening, &unix.SockaddrUnix{Name: filepath.Join(dir, "s")}), unix.Listen(listening, 1)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		fd    int
		write bool
		want  kind
	}{
		"a pipe":                    {r, false, pipe},
		"a pipe to write":           {w, true, pipe},
		"the wrong end of a pipe":   {w, false, neither},
		"the wrong end, to write":   {r, true, neither},
		"a path of a pipe":          {openFile(link(r), unix.O_PATH), false, neither},
		"a stream":                  {stream, false, socket},
		"a stream to write":         {stream, true, socket},
		"a datagram socket":         {datagram, false, neither},
		"a packet socket":           {packet, false, neither},
		"an unconnected socket":     {socketOf(unix.AF_UNIX, unix.SOCK_STREAM), false, neither},
		"a listening socket":        {listening, false, neither},
		"a TCP socket":              {socketOf(unix.AF_INET, unix.SOCK_STREAM), false, neither},
		"a named pipe":              {openFile(filepath.Join(dir, "fifo"), unix.O_RDWR), false, neither},
		"a file":                    {openFile(filepath.Join(dir, "pipe:[1]"), unix.O_RDWR|unix.O_CREAT), true, neither},
		"a device":                  {openFile("/dev/null", unix.O_RDWR), true, neither},
		"a descriptor that is none": {1 << 20, true, neither},
	} {
		if got, err := kindOf(c.fd, c.write); got != c.want || (err == nil) != (c.want != neither) {
			t.Errorf("%s is %v, %v; expected %v", name, got, err, c.want)
		}
		in, out := c.fd, w
		if c.write {
			in, out = r, c.fd
		}
		if found := Find(in, out) != nil; found != (c.want != neither) {
			t.Errorf("%s is handed over: %v", name, found)
		}
	}
}

// TestEndsNeverBlockAndKeepFlags: on descriptors that block, as clients have.
func TestEndsNeverBlockAndKeepFlags(t *testing.T) {
	r, w := pipes(t)
	a, _ := pair(t, unix.SOCK_STREAM)
	c, _ := pair(t, unix.SOCK_STREAM)
	for name, fds := range map[string]struct{ in, out int }{
		"pipes":   {r, w},
		"sockets": {a, c},
	} {
		in, out := must[end](t)(open(fds.in, false, 0)), must[end](t)(open(fds.out, true, 0))
		for _, fd := range []int{fds.in, fds.out} {
			if flags := must[int](t)(unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)); flags&unix.O_NONBLOCK != 0 {
				t.Errorf("%s: the client's flags are %#x", name, flags)
			}
		}
		soon := time.Now().Add(100 * time.Millisecond)
		if err := in.SetReadDeadline(soon); err != nil {
			t.Fatal(err)
		}
		if n, err := in.Read(make([]byte, 10)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: a read from nothing: %d, %v", name, n, err)
		}
		if err := out.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := out.Write(make([]byte, 10<<20)); n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: a write to nobody: %d, %v", name, n, err)
		}
		if err := errors.Join(in.Close(), out.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestEndsTellTheEnd(t *testing.T) {
	for _, typ := range []string{"pipes", "sockets"} {
		var in, far, out, farOut int
		if typ == "pipes" {
			var p, q [2]int
			if err := errors.Join(unix.Pipe2(p[:], unix.O_CLOEXEC), unix.Pipe2(q[:], unix.O_CLOEXEC)); err != nil {
				t.Fatal(err)
			}
			in, far, farOut, out = p[0], p[1], q[0], q[1]
		} else {
			p := must[[2]int](t)(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0))
			q := must[[2]int](t)(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0))
			in, far, out, farOut = p[0], p[1], q[0], q[1]
		}
		from, to := must[end](t)(open(in, false, 0)), must[end](t)(open(out, true, 0))
		if _, err := unix.Write(far, []byte("last")); err != nil {
			t.Fatal(err)
		}
		closeAll([]int{far, farOut})
		b := make([]byte, 10)
		if n, err := from.Read(b); string(b[:n]) != "last" || err != nil {
			t.Errorf("%s: %q, %v", typ, b[:n], err)
		}
		if n, err := from.Read(b); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%s: %d, %v", typ, n, err)
		}
		if _, err := to.Write([]byte("x")); !errors.Is(err, unix.EPIPE) {
			t.Errorf("%s: %v", typ, err)
		}
		if err := errors.Join(from.Close(), to.Close()); err != nil {
			t.Error(err)
		}
		closeAll([]int{in, out})
	}
}

// TestSocketOfAnotherUser: this process's sockets are root's, or whose it is.
func TestSocketOfAnotherUser(t *testing.T) {
	fd, _ := pair(t, unix.SOCK_STREAM)
	r, _ := pipes(t)
	me := uint32(os.Geteuid())
	for _, c := range []struct {
		fd   int
		user uint32
		ok   bool
	}{{fd, 0, true}, {fd, me, true}, {fd, me + 1000, false}, {r, me + 1000, true}} {
		e, err := open(c.fd, false, c.user)
		if (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
		if err == nil {
			e.Close()
		}
	}
}
