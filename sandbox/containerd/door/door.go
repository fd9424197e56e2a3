// Package door lets the agent of one running container in, and nobody else: the
// server listens, the agent dials, and whoever is not the container's PID 1
// (SO_PEERCRED) is turned away. The newest connection that nobody has taken waits.
package door

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	acceptPause = 10 * time.Millisecond // after a connection that was refused
	refusedLog  = 10 * time.Second      // between two log lines about refused ones
)

// Door is where the agent of one running task dials in. It keeps the newest
// connection that nobody has taken.
type Door struct {
	ln   *net.UnixListener
	log  *slog.Logger
	stop sync.Once
	done chan struct{} // closed when the accept loop has ended

	talk atomic.Uint64 // see Talk

	ended chan struct{} // closed by End
	why   error         // set before ended is closed

	mu    sync.Mutex
	pid   int32         // the one peer that is let in; 0: nobody yet
	conn  *net.UnixConn // waits to be taken
	knock chan struct{} // has an item when conn may have been set
}

// Open listens at path, in place of whatever is there.
func Open(path string, log *slog.Logger) (*Door, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listen for agent: %w", err)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen for agent: %w", err)
	}
	// The agent may be an unprivileged id on the host; who comes is checked.
	if err := os.Chmod(path, 0o666); err != nil {
		ln.Close()
		return nil, fmt.Errorf("listen for agent: %w", err)
	}
	d := &Door{
		ln: ln, log: log,
		done: make(chan struct{}), ended: make(chan struct{}), knock: make(chan struct{}, 1),
	}
	go d.accept()
	return d, nil
}

// Admit names the process that is let in from now on.
func (d *Door) Admit(pid uint32) {
	d.mu.Lock()
	d.pid = int32(pid)
	d.mu.Unlock()
}

// Admitted is the process that is let in.
func (d *Door) Admitted() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return uint32(d.pid)
}

// End closes the door for ever and waits for its goroutine. Those who wait for
// a connection get why.
func (d *Door) End(why error) {
	d.stop.Do(func() {
		d.why = why
		close(d.ended)
		d.ln.Close() // also removes the socket
	})
	<-d.done
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		d.conn.Close()
		d.conn = nil
	}
}

// Ended is closed when the door is.
func (d *Door) Ended() <-chan struct{} { return d.ended }

// IsOpen reports whether the task was running when last heard of.
func (d *Door) IsOpen() bool {
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

// Take waits for a connection. After End it returns why.
func (d *Door) Take(ctx context.Context) (io.ReadWriteCloser, error) {
	for {
		select {
		case <-d.ended:
			return nil, d.why
		default:
		}
		if c := d.waiting(); c != nil {
			d.talk.Add(1)
			return heard{c, &d.talk}, nil
		}
		select {
		case <-d.knock:
		case <-d.ended:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for agent: %w", context.Cause(ctx))
		}
	}
}

// Talk is a number that changes with whatever is written to the agent or read from
// it. While it stays the agent is asked nothing and answers nothing.
func (d *Door) Talk() uint64 { return d.talk.Load() }

// heard is a connection that was taken.
type heard struct {
	io.ReadWriteCloser
	talk *atomic.Uint64
}

func (h heard) Read(b []byte) (int, error) {
	n, err := h.ReadWriteCloser.Read(b)
	h.talk.Add(1)
	return n, err
}

func (h heard) Write(b []byte) (int, error) {
	h.talk.Add(1) // before: the agent may be quick
	return h.ReadWriteCloser.Write(b)
}

// waiting takes the connection out of its slot; nil if there is none, or if its
// agent has given it up meanwhile.
func (d *Door) waiting() *net.UnixConn {
	d.mu.Lock()
	c := d.conn
	d.conn = nil
	d.mu.Unlock()
	if c != nil && hungUp(c) {
		c.Close()
		return nil
	}
	return c
}

func (d *Door) accept() {
	defer close(d.done)
	refused, lastLog := 0, time.Time{}
	for {
		c, err := d.ln.AcceptUnix()
		if err == nil {
			if err = d.letIn(c); err == nil {
				continue
			}
			c.Close()
		} else if errors.Is(err, net.ErrClosed) {
			return
		}
		refused++
		if time.Since(lastLog) > refusedLog {
			d.log.Warn("refused a connection to the server", "count", refused, "err", err)
			refused, lastLog = 0, time.Now()
		}
		if !d.pause() {
			return
		}
	}
}

// pause holds a peer back that keeps dialling. It reports false after end.
func (d *Door) pause() bool {
	t := time.NewTimer(acceptPause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-d.ended:
		return false
	}
}

// letIn puts a connection of the right peer into the slot; the newest wins.
func (d *Door) letIn(c *net.UnixConn) error {
	pid, err := peer(c)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if pid != d.pid || d.pid == 0 {
		return fmt.Errorf("peer is process %d: only the agent, process %d, may dial", pid, d.pid)
	}
	if !d.IsOpen() {
		return d.why
	}
	if d.conn != nil {
		d.conn.Close()
	}
	d.conn = c
	select {
	case d.knock <- struct{}{}:
	default:
	}
	return nil
}

// peer is the process, in our pid namespace, that dialled.
func peer(c *net.UnixConn) (int32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("look at peer: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, fmt.Errorf("look at peer: %w", err)
	}
	if credErr != nil {
		return 0, fmt.Errorf("look at peer: %w", credErr)
	}
	return cred.Pid, nil
}

// hungUp reports whether the other end is closed, also when bytes still wait.
func hungUp(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	gone := true
	if err := raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		_, err := unix.Poll(p, 0)
		gone = err != nil || p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	}); err != nil {
		return true
	}
	return gone
}
