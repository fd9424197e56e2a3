package files

import (
	"context"
	"sync"

	"golang.org/x/sys/unix"
)

// place is where a name is: the same for all paths that lead to it.
type place struct {
	dev, ino uint64 // of the directory
	name     string
}

func placeOf(dir *unix.Stat_t, name string) place { return place{uint64(dir.Dev), dir.Ino, name} }

// locks are the locks of places on which somebody waits or works.
type locks struct {
	mu   sync.Mutex
	held map[place]*lock
}

type lock struct {
	token chan struct{}
	users int // under locks.mu
}

// lock takes a place's lock, or gives up with ctx.
func (l *locks) lock(ctx context.Context, p place) (unlock func(), err error) {
	k := l.join(p)
	select {
	case k.token <- struct{}{}:
		return func() { <-k.token; l.leave(p, k) }, nil
	case <-ctx.Done():
		l.leave(p, k)
		return nil, ctx.Err()
	}
}

func (l *locks) join(p place) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.held[p]
	if k == nil {
		if l.held == nil {
			l.held = make(map[place]*lock)
		}
		k = &lock{token: make(chan struct{}, 1)}
		l.held[p] = k
	}
	k.users++
	return k
}

func (l *locks) leave(p place, k *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(l.held, p)
	}
}
