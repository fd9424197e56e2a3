package fsbridge

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errEnd = errors.New("end")

// script is a next that returns these works in turn, then errEnd.
func script(works ...func()) func() (func(), error) {
	return func() (func(), error) {
		if len(works) == 0 {
			return nil, errEnd
		}
		work := works[0]
		works = works[1:]
		return work, nil
	}
}

func TestRelayCarriesOutQuickWorkInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []int // without a lock: the race detector sees that none is needed
		var works []func()
		for i := range 50 {
			works = append(works, func() { order = append(order, i) }, nil)
		}
		var r Relay
		if err := r.Run(script(works...)); err != errEnd {
			t.Errorf("Run: %v", err)
		}
		for i, got := range order {
			if got != i || len(order) != 50 {
				t.Fatalf("order %v", order)
			}
		}
	})
}

// TestRelayReadsOnBesideLongWork, more than once, and Run waits for that work.
func TestRelayReadsOnBesideLongWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		ended, released := 0, make(chan struct{})
		long := func() { <-released; ended++ }
		var r Relay
		err := r.Run(script(long, func() {}, func() {
			if d := time.Since(begun); d > 2*RelayTime {
				t.Errorf("read on after %v, want at most %v", d, 2*RelayTime)
			}
		}, func() { released <- struct{}{} }))
		if err != errEnd || ended != 1 {
			t.Errorf("Run: %v, %d long works had ended", err, ended)
		}
		var late atomic.Int32
		err = new(Relay).Run(script(func() { time.Sleep(time.Minute); late.Add(1) }, func() { time.Sleep(time.Hour); late.Add(1) }))
		if err != errEnd || late.Load() != 2 {
			t.Errorf("Run: %v, %d long works had ended", err, late.Load())
		}
	})
}

// TestRelayRestsWithoutWork and watches again when there is some.
func TestRelayRestsWithoutWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Relay
		works := make(chan func())
		result := make(chan error, 1)
		go func() {
			result <- r.Run(func() (func(), error) {
				if w, ok := <-works; ok {
					return w, nil
				}
				return nil, errEnd
			})
		}()
		for range 3 {
			time.Sleep(2 * relayRest * RelayTime)
			synctest.Wait()
			if !r.resting.Load() {
				t.Error("it watches though there is nothing to watch")
			}
			release := make(chan struct{})
			works <- func() { <-release }
			works <- func() {} // taken beside the first
			close(release)
		}
		close(works)
		if err := <-result; err != errEnd {
			t.Error(err)
		}
	})
}
