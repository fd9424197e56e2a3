package daemon

import (
	"context"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"moorage/cmd/moorage/handover"
	"moorage/sandbox"
	"moorage/tools"
)

// serveMCP runs one client's session. A client that has sent its last message
// still gets its answers; one that is gone altogether has its calls cancelled.
func serveMCP(ctx context.Context, s *tools.Server, c *net.UnixConn, h Handshake, log *slog.Logger) {
	bot := sandbox.Bot(h.Bot)
	var handed *handover.Lines
	if h.takes() {
		var err error
		if handed, err = handover.Take(c); err != nil {
			log.Warn("client's descriptors not taken over", "bot", bot, "err", err)
			return
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if handed != nil {
			watchEnd(c, cancel)
		} else {
			watchHangup(ctx, c, cancel)
		}
	}()
	var err error
	if handed != nil {
		err = serveHanded(ctx, s, handed, bot, c)
	} else {
		err = s.ServeConn(ctx, c, c, bot)
	}
	cancel()
	_ = c.SetReadDeadline(time.Unix(1, 0)) // ends watchEnd; if that fails c is closed
	<-watched
	if err != nil && ctx.Err() == nil {
		log.Warn("session ended", "bot", bot, "err", err)
	}
}

// serveHanded serves a client by its own descriptors. Its connection says only
// that it is there; and, at last, to it that all is done.
func serveHanded(ctx context.Context, s *tools.Server, l *handover.Lines, bot sandbox.Bot, c *net.UnixConn) error {
	err := s.ServeLines(ctx, l, bot)
	if closeErr := l.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = handover.Done(c)
	}
	return err
}

// watchEnd cancels when the peer, which has nothing to say, is gone.
func watchEnd(c *net.UnixConn, cancel func()) {
	_, _ = c.Read(make([]byte, 1)) // whatever ended it
	cancel()
}

// hangupPause is how soon the end of a client is noticed.
const hangupPause = 100 * time.Millisecond

// watchHangup cancels when the peer has closed its socket for both directions.
// Reading cannot tell that from a peer that only ended its sending.
func watchHangup(ctx context.Context, c *net.UnixConn, cancel func()) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	tick := time.NewTicker(hangupPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		gone := false
		err := raw.Control(func(fd uintptr) {
			p := []unix.PollFd{{Fd: int32(fd)}}
			n, err := unix.Poll(p, 0)
			gone = err == nil && n > 0 && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
		})
		if gone || err != nil {
			cancel()
			return
		}
	}
}
