package daemon

import (
	"context"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"moorage/sandbox"
	"moorage/tools"
)

// serveMCP runs one client's session. A client that has sent its last message
// still gets its answers; one that is gone altogether has its calls cancelled.
func serveMCP(ctx context.Context, s *tools.Server, c *net.UnixConn, bot sandbox.Bot, log *slog.Logger) {
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		watchHangup(ctx, c, cancel)
	}()
	err := s.ServeConn(ctx, c, c, bot)
	cancel()
	<-watched
	if err != nil && ctx.Err() == nil {
		log.Warn("session ended", "bot", bot, "err", err)
	}
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
