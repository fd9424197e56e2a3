package tools

import (
	"sync"
	"sync/atomic"
)

// idleWorkers is how many goroutines of a connection wait for its next request.
const idleWorkers = 4

// workers run a connection's requests. A few goroutines are kept between
// requests, because a new one spends its first microseconds on growing its stack.
type workers struct {
	tasks chan func()
	done  <-chan struct{} // ends the idle ones
	idle  atomic.Int32
	all   sync.WaitGroup
}

func newWorkers(done <-chan struct{}) *workers {
	return &workers{tasks: make(chan func()), done: done}
}

// run has f run on a worker that waits, or on a new one.
func (w *workers) run(f func()) {
	select {
	case w.tasks <- f:
	default:
		w.all.Go(func() { w.work(f) })
	}
}

// wait returns when all workers have ended, which needs done to be closed.
func (w *workers) wait() { w.all.Wait() }

func (w *workers) work(f func()) {
	for {
		f()
		if w.idle.Add(1) > idleWorkers {
			w.idle.Add(-1)
			return
		}
		select {
		case f = <-w.tasks:
			w.idle.Add(-1)
		case <-w.done:
			return
		}
	}
}
