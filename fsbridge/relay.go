package fsbridge

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// RelayTime is how long a goroutine that reads may carry out a request itself
	// before another takes over the reading: one to two of these.
	RelayTime = 5 * time.Millisecond
	// relayRest is after how many RelayTimes without a request the watcher rests.
	relayRest = 200
)

// Relay lets the goroutine that reads requests carry them out itself, which saves
// the hand-over to another: on a machine with idle processors that costs as much
// as a small request. When one takes longer than RelayTime, another goroutine
// takes over the reading, so that what comes next, such as a cancel, does not
// wait for it.
//
// At any time one goroutine reads: what next touches needs no lock. The zero
// Relay is ready for one Run.
type Relay struct {
	next   func() (work func(), err error)
	result chan error
	all    sync.WaitGroup

	turn    atomic.Uint64 // how many times work was begun
	working atomic.Uint64 // the turn of who reads, while it works; else 0
	resting atomic.Bool
	wake    chan struct{}
}

// Run calls next again and again until it returns an error, and returns that
// when all work has ended. The work that next returns, if any, is carried out
// before next is called again, or beside it when it takes long.
func (r *Relay) Run(next func() (work func(), err error)) error {
	r.next, r.result, r.wake = next, make(chan error, 1), make(chan struct{}, 1)
	stop := make(chan struct{})
	r.all.Go(func() { r.watch(stop) })
	r.all.Go(r.read)
	err := <-r.result
	close(stop)
	r.all.Wait()
	return err
}

// read is one goroutine's time as the one that reads.
func (r *Relay) read() {
	for {
		work, err := r.next()
		if err != nil {
			r.result <- err
			return
		}
		if work == nil {
			continue
		}
		turn := r.turn.Add(1)
		r.working.Store(turn)
		if r.resting.CompareAndSwap(true, false) {
			r.wake <- struct{}{}
		}
		work()
		if !r.working.CompareAndSwap(turn, 0) {
			return // another reads now
		}
	}
}

// watch has another goroutine read when the one that did has worked for long.
func (r *Relay) watch(stop <-chan struct{}) {
	tick := time.NewTicker(RelayTime)
	defer tick.Stop()
	for idle, seen := 0, uint64(0); ; {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		turn := r.turn.Load()
		switch {
		case turn != seen:
			idle = 0
		case turn > 0 && r.working.CompareAndSwap(turn, 0):
			r.all.Go(r.read)
		default:
			idle++
		}
		if seen = turn; idle < relayRest {
			continue
		}
		if !r.rest(tick, stop) {
			return
		}
		idle = 0
	}
}

// rest waits for the next work, without a tick. It reports false at the end.
func (r *Relay) rest(tick *time.Ticker, stop <-chan struct{}) bool {
	tick.Stop()
	defer tick.Reset(RelayTime)
	r.resting.Store(true)
	if r.working.Load() != 0 && r.resting.CompareAndSwap(true, false) {
		return true // it began just before
	}
	select {
	case <-r.wake:
		return true
	case <-stop:
		return false
	}
}
