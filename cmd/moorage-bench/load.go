package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"moorage/cmd/moorage-bench/client"
)

// The load: so many containers, each of a bot and with a client of its own, in
// each of which so many commands are started every second for so long.
const (
	loadContainers = 20
	loadRate       = 50
	loadSeconds    = 5
	// loadInFlight is the most commands of one container that may be under way.
	// When it is full the next one starts late, and its wait counts as its own.
	loadInFlight = 64
	// loadMakers is how many of the containers are made, or deleted, at once.
	loadMakers = 4
	// loadShare of the starts offered is to be reached: what is still under way
	// at the end of the time does not count.
	loadShare = 0.99

	failedName = "calls with an error"
)

// load measures commands that are started at a steady rate, whether those before
// have ended or not, in many containers at once.
func (b *bench) load(ctx context.Context) (_ []row, err error) {
	starters := make([]*starter, loadContainers)
	defer func() { err = errors.Join(err, closeStarters(ctx, starters)) }()
	var g errgroup.Group
	g.SetLimit(loadMakers)
	for i := range starters {
		g.Go(func() (err error) {
			starters[i], err = b.newStarter(ctx, i)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	done, failed, err := offer(ctx, starters, loadRate, max(1, loadSeconds/b.opts.divisor))
	if err != nil {
		return nil, err
	}
	if len(failed) > 0 {
		fmt.Fprintln(os.Stderr, "the first error of a command:", failed[0])
	}
	return loadRows(done, len(failed)), nil
}

// loadRows tells of the commands that ended well, and how many did not.
func loadRows(s samples, failed int) []row {
	name := fmt.Sprintf("exec true, %d x %d/s offered", loadContainers, loadRate)
	done := row{
		Contest: name, Who: moorageName, Unit: "s", Calls: len(s.took), PerSecond: s.perSecond(),
		P50: s.quantile(0.5).Seconds(), P95: s.quantile(0.95).Seconds(),
	}
	errs := row{Contest: name, Who: failedName, Unit: "n", Calls: len(s.took) + failed, P50: float64(failed), P95: float64(failed)}
	return []row{
		judge(done, true, []aim{{limit: loadShare * loadContainers * loadRate, rate: true}}),
		judge(errs, true, []aim{{limit: 0}}),
	}
}

// offer has each starter start calls, rate of them a second, the starters evenly
// after each other, and waits for the answers. It returns the calls that ended
// well, since each was due, and the errors of the others.
func offer(ctx context.Context, starters []*starter, rate, seconds int) (done samples, failed []error, err error) {
	var g errgroup.Group
	begun, period := time.Now(), time.Second/time.Duration(rate)
	for i, s := range starters {
		first := begun.Add(period * time.Duration(i) / time.Duration(len(starters)))
		g.Go(func() error { return s.send(ctx, first, period, rate*seconds) })
		g.Go(func() error { return s.receive(rate * seconds) })
	}
	if err := g.Wait(); err != nil {
		return done, nil, err
	}
	last := begun.Add(time.Duration(seconds) * time.Second)
	for _, s := range starters {
		done.took = append(done.took, s.took...)
		failed = append(failed, s.failed...)
		if s.last.After(last) {
			last = s.last
		}
	}
	done.busy = last.Sub(begun)
	return done, failed, nil
}

// starter starts commands in one container.
type starter struct {
	client *client.Client
	call   client.Request
	slots  chan struct{} // of those in flight

	mu  sync.Mutex
	due map[int64]time.Time // of those in flight

	took   []time.Duration
	failed []error
	last   time.Time // when the last was answered
}

func newStarter(c *client.Client, call client.Request) *starter {
	return &starter{client: c, call: call, slots: make(chan struct{}, loadInFlight), due: map[int64]time.Time{}}
}

// newStarter makes a container of a bot of its own.
func (b *bench) newStarter(ctx context.Context, i int) (*starter, error) {
	c, err := b.server.connect(ctx, fmt.Sprintf("load-%02d", i))
	if err != nil {
		return nil, err
	}
	_, err = c.Call("create_container", map[string]any{"container_id": loadContainer})
	return newStarter(c, execTrue()), err
}

const loadContainer = "load"

// send makes n calls, one a period.
func (s *starter) send(ctx context.Context, first time.Time, period time.Duration, n int) error {
	wait := time.NewTimer(time.Until(first))
	defer wait.Stop()
	for i := range n {
		select {
		case <-wait.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := s.start(first.Add(period * time.Duration(i))); err != nil {
			return err
		}
		wait.Reset(time.Until(first.Add(period * time.Duration(i+1))))
	}
	return nil
}

// start makes one call. It holds the lock meanwhile, since the answer may be
// there before its id is noted; what is in flight fits a pipe, so it does not
// block there.
func (s *starter) start(due time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := s.client.Send(s.call)
	s.due[id] = due
	return err
}

// receive takes n answers.
func (s *starter) receive(n int) error {
	for range n {
		id, _, err := s.client.Receive()
		if err != nil && !errors.Is(err, client.ErrAnswer) {
			return err
		}
		s.last = time.Now()
		s.mu.Lock()
		due := s.due[id]
		delete(s.due, id)
		s.mu.Unlock()
		<-s.slots
		if err != nil {
			s.failed = append(s.failed, err)
			continue
		}
		s.took = append(s.took, s.last.Sub(due))
	}
	return nil
}

// closeStarters deletes the containers and ends the clients. Those that ended
// with ctx say so, which is no news, and their containers go with the server.
func closeStarters(ctx context.Context, starters []*starter) error {
	var g errgroup.Group
	g.SetLimit(loadMakers)
	errs := make([]error, len(starters))
	for i, s := range starters {
		if s == nil {
			continue
		}
		g.Go(func() error {
			if ctx.Err() == nil {
				_, errs[i] = s.client.Call("delete_container", map[string]any{"container_id": loadContainer})
			}
			errs[i] = errors.Join(errs[i], s.client.Close())
			return nil
		})
	}
	_ = g.Wait() // none returns an error
	if ctx.Err() != nil {
		return nil
	}
	return errors.Join(errs...)
}
