package agent

import (
	"context"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

const (
	dialFirst = 5 * time.Millisecond // between two dials, at first
	dialMost  = 250 * time.Millisecond
)

// dial connects to a unix socket. (Package net would add a quarter to the agent's
// size.)
func dial(path string) (io.ReadWriteCloser, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	for {
		if err = unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != unix.EINTR {
			break
		}
	}
	if err != nil { // EAGAIN too: the server's queue is full
		unix.Close(fd)
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &socket{fd: fd}, nil
}

// redial serves one connection after the other until ctx ends. The server may be
// away for hours.
func (a *Agent) redial(ctx context.Context, path string) {
	pause := dialFirst
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		start := time.Now()
		rw, err := dial(path)
		if err == nil {
			err = a.Serve(ctx, rw)
			a.log.Info("connection ended", "dur", time.Since(start), "err", err)
		}
		if pause = min(2*pause, dialMost); time.Since(start) > dialMost {
			pause = dialFirst
		}
		timer.Reset(pause)
	}
}
