package copier

import (
	"context"
	"runtime"
	"sync"
)

// maxWorkers is the most workers of one call, and what is taken by default on a
// machine with many processors.
const maxWorkers = 16

// A task is a piece of work on a tree; it may push others.
type task func(w *worker) error

// A pool does tasks, the one pushed last first, so that a tree is walked down
// and what waits stays little.
type pool struct {
	mu    sync.Mutex
	more  sync.Cond
	tasks []task
	busy  int
	err   error // the first
}

// A worker carries out tasks, one at a time; its buffers are made when needed.
type worker struct {
	ctx    context.Context
	pool   *pool
	data   []byte
	names  []byte
	value  []byte
	dirent []byte
}

// buffer returns *b with at least n bytes.
func buffer(b *[]byte, n int) []byte {
	if len(*b) < n {
		*b = make([]byte, n)
	}
	return *b
}

func workers(n int) int {
	if n <= 0 {
		n = 2 * runtime.NumCPU()
	}
	return min(n, maxWorkers)
}

func newPool() *pool {
	p := &pool{}
	p.more.L = &p.mu
	return p
}

func (p *pool) push(tasks ...task) {
	p.mu.Lock()
	p.tasks = append(p.tasks, tasks...)
	p.mu.Unlock()
	if len(tasks) == 1 {
		p.more.Signal()
	} else {
		p.more.Broadcast()
	}
}

// run does all tasks and those they push, with n workers, until none is left or
// one fails or the context ends. When it returns no task runs any more.
func (p *pool) run(ctx context.Context, n int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { p.fail(context.Cause(ctx)) })
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			w := &worker{ctx: ctx, pool: p}
			for t := p.next(); t != nil; t = p.next() {
				err := t(w)
				if err != nil {
					p.fail(err)
					cancel()
				}
				p.ended()
			}
		})
	}
	wg.Wait()
	stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// next waits for a task; nil when there will be none.
func (p *pool) next() task {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.tasks) == 0 && p.busy > 0 && p.err == nil {
		p.more.Wait()
	}
	if len(p.tasks) == 0 || p.err != nil {
		return nil
	}
	last := len(p.tasks) - 1
	t := p.tasks[last]
	p.tasks[last] = nil
	p.tasks = p.tasks[:last]
	p.busy++
	return t
}

func (p *pool) ended() {
	p.mu.Lock()
	p.busy--
	wake := p.busy == 0
	p.mu.Unlock()
	if wake {
		p.more.Broadcast()
	}
}

func (p *pool) fail(err error) {
	p.mu.Lock()
	if p.err == nil {
		p.err = err
	}
	p.mu.Unlock()
	p.more.Broadcast()
}
