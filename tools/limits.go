package tools

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"moorage/sandbox"
)

// Bounds of what one bot may have under way, over all its connections. A call
// over a bound waits, can be cancelled while it waits, and its time counts.
const (
	// QuickCalls is how many file calls of a bot run at once.
	QuickCalls = 64
	// LongCalls is how many calls of a bot run at once that may wait: commands,
	// and changes of containers. They never keep file calls from running.
	LongCalls = 128
	// HTTPBytes bounds the bodies of a bot's HTTP requests in memory. Each
	// counts as requestBytes at least, so it bounds their number too: 256.
	HTTPBytes = 16 << 20
	// HTTPStreams is how many listening streams (GET) a bot may hold.
	HTTPStreams = 64

	requestBytes = 64 << 10
)

// usage is what one bot has under way.
type usage struct {
	quick, long   *semaphore.Weighted
	http, streams *semaphore.Weighted
}

// limits holds the usage of each bot that ever called: a few hundred bytes each,
// and who can name a bot is who the operator let in.
type limits struct{ bots sync.Map }

func (l *limits) of(bot sandbox.Bot) *usage {
	if u, ok := l.bots.Load(bot); ok {
		return u.(*usage)
	}
	u, _ := l.bots.LoadOrStore(bot, &usage{
		semaphore.NewWeighted(QuickCalls), semaphore.NewWeighted(LongCalls),
		semaphore.NewWeighted(HTTPBytes), semaphore.NewWeighted(HTTPStreams),
	})
	return u.(*usage)
}

// take waits for a slot for a call. The function frees it.
func (l *limits) take(ctx context.Context, bot sandbox.Bot, long bool) (func(), error) {
	slots, most := l.of(bot).quick, QuickCalls
	if long {
		slots, most = l.of(bot).long, LongCalls
	}
	if err := slots.Acquire(ctx, 1); err != nil {
		if context.Cause(ctx) == errCallTime {
			return nil, fail(limitExceeded, "Wait until some of them have ended", "%d calls of this kind run already, and none has ended in time", most)
		}
		return nil, err
	}
	return func() { slots.Release(1) }, nil
}
