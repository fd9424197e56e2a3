package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"moorage/cmd/moorage/daemon"
	"moorage/cmd/moorage/handover"
	"moorage/cmd/moorage/pipe"
	"moorage/sandbox"
)

type stdioCmd struct {
	serverFlags
	Bot  string `help:"Which bot this client is: A-Z a-z 0-9 _ -, at most 64." default:"default" env:"MOORAGE_BOT"`
	Copy bool   `help:"Copy between the client and the server, instead of handing the server this process's input and output." env:"MOORAGE_COPY"`
}

// Run joins standard input and output with the server.
func (c *stdioCmd) Run(ctx context.Context, d daemon.Dirs) error {
	if _, err := sandbox.ParseBot(c.Bot); err != nil {
		return err
	}
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // the flag's enum allows nothing else
	h := daemon.Handshake{Mode: daemon.ModeMCP, Bot: c.Bot}
	ends := handover.Find(0, 1)
	if c.Copy {
		ends = nil
	}
	if ends != nil {
		h.Handover = handover.Version
		defer ends.Restore()
	}
	args := append(daemon.BackgroundArgs, c.args()...)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go watchOutput(ctx, cancel) // ends with ctx
	p := &pipe.Pipe{
		Dial: func(ctx context.Context) (daemon.Conn, error) { return daemon.DialOrStart(ctx, d, h, args) },
		In:   os.Stdin, Out: os.Stdout, Ends: ends,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}
	return p.Run(ctx)
}

// errClientGone: nobody reads what this process writes.
var errClientGone = errors.New("the client is gone")

// watchOutput cancels when the reader of standard output is gone, which a
// process that has nothing to write would not notice.
func watchOutput(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p := []unix.PollFd{{Fd: 1}}
		if n, err := unix.Poll(p, 0); err == nil && n > 0 && p[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0 {
			cancel(errClientGone)
			return
		}
	}
}
