package handover

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Ends are a process's standard input and output, with the flags they had.
type Ends struct {
	fds   [2]int
	flags [2]int
}

// Find looks at two descriptors, of which one is read and one is written. It is
// nil if they are of no kind that is handed over.
func Find(in, out int) *Ends {
	e := &Ends{fds: [2]int{in, out}}
	for i, fd := range e.fds {
		var err error
		if e.flags[i], err = unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil {
			return nil
		}
		if k, _ := kindOf(fd, i == 1); k == neither {
			return nil
		}
	}
	return e
}

// Restore gives the descriptors the flags that they had: a server that was
// killed at the wrong moment may have left others.
func (e *Ends) Restore() {
	for i, fd := range e.fds {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFL, e.flags[i]) // it worked when they were set
	}
}

type kind int

const (
	neither kind = iota
	pipe
	socket
)

// kindOf says what a descriptor is. It asks nothing of a file system, which
// could be one of the client's own and never answer: only pipes and sockets have
// names of this form.
func kindOf(fd int, write bool) (kind, error) {
	name, err := os.Readlink(link(fd))
	if err != nil {
		return neither, err
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return neither, os.NewSyscallError("fcntl", err)
	}
	access := flags & unix.O_ACCMODE
	switch {
	case flags&unix.O_PATH != 0, access == unix.O_RDONLY && write, access == unix.O_WRONLY && !write:
		return neither, fmt.Errorf("%s is not open for it", name)
	case strings.HasPrefix(name, "pipe:["):
		return pipe, nil
	case strings.HasPrefix(name, "socket:[") && isStream(fd):
		return socket, nil
	}
	return neither, fmt.Errorf("%s is no pipe and no stream socket of this machine", name)
}

// isStream says that a socket is a connected unix stream.
func isStream(fd int) bool {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_UNIX {
		return false
	}
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || typ != unix.SOCK_STREAM {
		return false
	}
	_, err = unix.Getpeername(fd)
	return err == nil
}

func link(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// end is one of the client's descriptors, opened so that nobody blocks on it
// whatever the client does to it.
type end interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	// whole is up to how many bytes a write is carried out whole or not at all.
	whole() int
}

// open makes an end of a descriptor of this user, which remains the caller's.
func open(fd int, write bool, user uint32) (end, error) {
	k, err := kindOf(fd, write)
	if err == nil && k == socket {
		err = checkUser(fd, user)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("take over a descriptor: %w", err)
	case k == pipe:
		return openPipe(fd, write)
	}
	return openSocket(fd)
}

// checkUser: the other side of a socket that anybody but root hands over is the
// same user. A service that knows its callers would take the server's words for
// root's.
func checkUser(fd int, user uint32) error {
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err == nil && user != 0 && peer.Uid != user {
		err = fmt.Errorf("the socket's other side is user %d, and the client user %d", peer.Uid, user)
	}
	return err
}

type pipeEnd struct{ *os.File }

// openPipe opens the pipe once more: the flags are those of the opening.
func openPipe(fd int, write bool) (end, error) {
	mode := unix.O_RDONLY
	if write {
		mode = unix.O_WRONLY
	}
	f, err := os.OpenFile(link(fd), mode|unix.O_NONBLOCK, 0)
	if err == nil && f.SetDeadline(time.Time{}) != nil {
		err = errors.Join(errors.New("it cannot be waited for"), f.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("take over a pipe: %w", err)
	}
	return pipeEnd{f}, nil
}

// whole: PIPE_BUF of pipe(7).
func (pipeEnd) whole() int { return 4096 }

// socketEnd calls with MSG_DONTWAIT: a socket's flags are shared with the client.
type socketEnd struct {
	*net.UnixConn
	raw syscall.RawConn
}

func openSocket(fd int) (end, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return nil, fmt.Errorf("take over a socket: %w", err)
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("take over a socket: %w", err)
	}
	f := os.NewFile(uintptr(own), "socket")
	defer f.Close()
	c, err := net.FileConn(f) // makes it non-blocking, for everybody who has it
	if _, back := unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags); err == nil {
		err = back
	}
	if err != nil {
		return nil, fmt.Errorf("take over a socket: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("take over a socket: it is a %T", c), c.Close())
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("take over a socket: %w", err), u.Close())
	}
	return socketEnd{u, raw}, nil
}

// whole: a send of at most this much is one buffer, also with the smallest
// SO_SNDBUF of socket(7).
func (socketEnd) whole() int { return 2048 }

func (s socketEnd) Read(b []byte) (n int, err error) {
	wait := s.raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
		return err != unix.EAGAIN && err != unix.EINTR
	})
	switch {
	case wait != nil:
		return 0, wait
	case err != nil:
		return 0, os.NewSyscallError("recv", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func (s socketEnd) Write(b []byte) (n int, err error) {
	wait := s.raw.Write(func(fd uintptr) bool {
		for n < len(b) && (err == nil || err == unix.EINTR) {
			var sent int
			sent, err = unix.SendmsgN(int(fd), b[n:], nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			n += max(sent, 0)
		}
		if err == unix.EAGAIN {
			err = nil
			return false
		}
		return true
	})
	if wait != nil {
		return n, wait
	}
	return n, os.NewSyscallError("send", err)
}
