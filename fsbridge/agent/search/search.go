package search

import (
	"runtime"
	"sync"

	"moorage/fsbridge"
)

// Helpers is how many goroutines all searches together may have beside those that
// they are called from. Each may block in system calls.
const Helpers = 6

// workersMax is the most workers of one search.
const workersMax = 4

// Searcher carries out searches. Its methods may be called from any number of
// goroutines; each blocks in system calls, so the caller bounds how many.
type Searcher struct {
	helpers chan struct{}
	long    chan struct{} // who reads a long line, or a file whole, into memory
	block   int           // blockSize
	longest int           // longMax
	blocks  sync.Pool     // of *[]byte, each of block
}

// New makes a Searcher. It starts nothing.
func New() *Searcher {
	return &Searcher{
		helpers: make(chan struct{}, Helpers),
		long:    make(chan struct{}, 1),
		block:   blockSize, longest: longMax,
	}
}

// recruit takes as many helpers as a search can use and there are.
func (s *Searcher) recruit() (n int) {
	for want := min(runtime.GOMAXPROCS(0), workersMax) - 1; n < want; n++ {
		select {
		case s.helpers <- struct{}{}:
		default:
			return n
		}
	}
	return n
}

func (s *Searcher) dismiss(n int) {
	for range n {
		<-s.helpers
	}
}

// visitAll walks with a visitor of newVisitor for each worker.
func (s *Searcher) visitAll(w *walk, newVisitor func() visitor) error {
	helpers := s.recruit()
	defer s.dismiss(helpers)
	visitors := make([]visitor, 1+helpers)
	for i := range visitors {
		visitors[i] = newVisitor()
		defer visitors[i].close()
	}
	return w.run(visitors)
}

// invalid is the error of a parameter.
func invalid(op fsbridge.Op, path fsbridge.Path, format string, args ...any) error {
	return fsbridge.Errorf(op, path, fsbridge.CodeInvalid, format, args...)
}
