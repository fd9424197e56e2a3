package agent

import (
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is a connected stream socket that is used by plain system calls. The
// runtime's poller wakes a process also whenever the peer has taken what it was
// sent; poll(2) only for what it waits for, and whoever waits in it goes on with
// what has come without another thread. It costs the thread that waits.
type socket struct {
	fd     int
	using  sync.RWMutex // held for reading while fd is used; Close ends the waits
	closed bool         // under using
}

// use calls f with the descriptor, unless it is closed.
func (s *socket) use(f func(fd int) error) error {
	s.using.RLock()
	defer s.using.RUnlock()
	if s.closed {
		return os.ErrClosed
	}
	return f(s.fd)
}

// Read implements io.Reader. It waits for data.
func (s *socket) Read(b []byte) (n int, err error) {
	err = s.use(func(fd int) (err error) {
		for {
			if err = await(fd, unix.POLLIN); err != nil {
				return err
			}
			if n, err = unix.Read(fd, b); err != unix.EAGAIN && err != unix.EINTR {
				return err
			}
		}
	})
	n = max(n, 0)
	if n == 0 && err == nil && len(b) > 0 {
		err = io.EOF
	}
	return n, err
}

// Write implements io.Writer. It waits until all is taken.
func (s *socket) Write(b []byte) (n int, err error) {
	err = s.use(func(fd int) error {
		for n < len(b) {
			k, err := unix.Write(fd, b[n:])
			switch err {
			case nil:
				n += k
			case unix.EINTR:
			case unix.EAGAIN:
				if err := await(fd, unix.POLLOUT); err != nil {
					return err
				}
			default:
				return err
			}
		}
		return nil
	})
	return n, err
}

// await waits until one of events, or the end of the connection, is there.
func await(fd int, events int16) error {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		if _, err := unix.Poll(p, -1); err != unix.EINTR {
			return err
		}
	}
}

// Close implements io.Closer. It wakes whoever waits, and waits for them to leave.
func (s *socket) Close() error {
	_ = s.use(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) }) // the peer may be gone already
	s.using.Lock()
	defer s.using.Unlock()
	if s.closed {
		return os.ErrClosed
	}
	s.closed = true
	return unix.Close(s.fd)
}

// SyscallConn implements syscall.Conn.
func (s *socket) SyscallConn() (syscall.RawConn, error) { return rawSocket{s}, nil }

// rawSocket is a socket seen as its descriptor.
type rawSocket struct{ s *socket }

// Control implements syscall.RawConn.
func (r rawSocket) Control(f func(fd uintptr)) error {
	return r.s.use(func(fd int) error {
		f(uintptr(fd))
		return nil
	})
}

// Read implements syscall.RawConn.
func (r rawSocket) Read(f func(fd uintptr) bool) error { return r.until(unix.POLLIN, f) }

// Write implements syscall.RawConn.
func (r rawSocket) Write(f func(fd uintptr) bool) error { return r.until(unix.POLLOUT, f) }

func (r rawSocket) until(events int16, f func(fd uintptr) bool) error {
	return r.s.use(func(fd int) error {
		for !f(uintptr(fd)) {
			if err := await(fd, events); err != nil {
				return err
			}
		}
		return nil
	})
}
