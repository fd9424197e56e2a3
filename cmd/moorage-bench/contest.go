package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"moorage/cmd/moorage-bench/client"
)

// peer is one side of a contest.
type peer struct {
	name string
	// round makes calls until the time is up, at least one, and records how long
	// each took. It returns for how long calls were made in all.
	round func(ctx context.Context, until time.Time, record func(time.Duration)) (time.Duration, error)
}

// contest is the same work done by several peers. The first is Moorage, which
// the others are compared with.
type contest struct {
	name   string
	peers  []peer
	rounds int
	slice  time.Duration // of one round of one peer
	byRate bool          // compare what is done per second, not the time of one call
	bytes  int64         // moved by one call, if those are to be told per second
	aims   []aim
}

// samples are the calls of one peer.
type samples struct {
	took []time.Duration
	busy time.Duration
}

// quantile returns the duration that the share q of the calls did not exceed;
// 0 without calls.
func (s *samples) quantile(q float64) time.Duration {
	if len(s.took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.took))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

func (s *samples) perSecond() float64 {
	if s.busy <= 0 {
		return 0
	}
	return float64(len(s.took)) / s.busy.Seconds()
}

// run lets the peers take turns and returns their samples in their order.
func (c contest) run(ctx context.Context) ([]samples, error) {
	all := make([]samples, len(c.peers))
	for round := range c.rounds + 1 {
		for turn := range c.peers {
			i := (round + turn) % len(c.peers)
			warm := samples{}
			into := &all[i]
			if round == 0 {
				into = &warm
			}
			if err := c.peers[i].take(ctx, c.slice, into); err != nil {
				return nil, fmt.Errorf("%s by %s: %w", c.name, c.peers[i].name, err)
			}
		}
	}
	return all, nil
}

// measure runs the contest and makes its rows.
func (c contest) measure(ctx context.Context) ([]row, error) {
	all, err := c.run(ctx)
	if err != nil {
		return nil, err
	}
	return c.rows(all), nil
}

func (p peer) take(ctx context.Context, slice time.Duration, s *samples) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	busy, err := p.round(ctx, time.Now().Add(slice), func(d time.Duration) { s.took = append(s.took, d) })
	s.busy += busy
	return err
}

// timed is a peer whose calls time themselves, so that what surrounds them does
// not count.
func timed(name string, call func(context.Context) (time.Duration, error)) peer {
	return peer{name, func(ctx context.Context, until time.Time, record func(time.Duration)) (busy time.Duration, err error) {
		for {
			d, err := call(ctx)
			if err != nil {
				return busy, err
			}
			record(d)
			busy += d
			if !time.Now().Before(until) || ctx.Err() != nil {
				return busy, ctx.Err()
			}
		}
	}}
}

// cycle is what one slot of the calls in flight asks for, again and again.
type cycle []client.Request

// same are depth slots of one request.
func same(r client.Request, depth int) []cycle { return slices.Repeat([]cycle{{r}}, depth) }

// calling is a peer that makes calls of a server's tools, one of each slot in
// flight. A slot goes on in its cycle where the last round ended.
func calling(name string, c *client.Client, slots []cycle) peer {
	f := flight{client: c, slots: slots, next: make([]int, len(slots))}
	return peer{name, f.round}
}

// flight is the calls of one peer that are in flight together.
type flight struct {
	client *client.Client
	slots  []cycle
	next   []int // of each slot's cycle
	sent   map[int64]call
}

type call struct {
	slot int
	at   time.Time
}

func (f *flight) round(_ context.Context, until time.Time, record func(time.Duration)) (time.Duration, error) {
	begun := time.Now()
	f.sent = make(map[int64]call, len(f.slots))
	for slot := range f.slots {
		if err := f.send(slot); err != nil {
			return 0, err
		}
	}
	for len(f.sent) > 0 {
		id, _, err := f.client.Receive()
		if err != nil {
			return 0, err
		}
		now, done := time.Now(), f.sent[id]
		record(now.Sub(done.at))
		delete(f.sent, id)
		if now.Before(until) {
			if err := f.send(done.slot); err != nil {
				return 0, err
			}
		}
	}
	return time.Since(begun), nil
}

func (f *flight) send(slot int) error {
	requests := f.slots[slot]
	at := time.Now()
	id, err := f.client.Send(requests[f.next[slot]])
	f.next[slot] = (f.next[slot] + 1) % len(requests)
	f.sent[id] = call{slot, at}
	return err
}
