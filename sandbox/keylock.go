package sandbox

import (
	"context"
	"sync"
)

// keyLock is a mutex for each key. Waiting for it gives up with the context. It
// holds memory only for keys that are locked or waited for.
type keyLock[K comparable] struct {
	mu   sync.Mutex
	held map[K]*keyEntry
}

type keyEntry struct {
	token chan struct{} // has one element while the key is free
	users int           // holders and waiters
}

// lock waits for the key and returns what frees it, once.
func (l *keyLock[K]) lock(ctx context.Context, key K) (unlock func(), err error) {
	e := l.enter(key)
	select {
	case <-e.token:
		return sync.OnceFunc(func() {
			e.token <- struct{}{}
			l.leave(key, e)
		}), nil
	case <-ctx.Done():
		l.leave(key, e)
		return nil, ctx.Err()
	}
}

func (l *keyLock[K]) enter(key K) *keyEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.held[key]
	if e == nil {
		e = &keyEntry{token: make(chan struct{}, 1)}
		e.token <- struct{}{}
		if l.held == nil {
			l.held = map[K]*keyEntry{}
		}
		l.held[key] = e
	}
	e.users++
	return e
}

func (l *keyLock[K]) leave(key K, e *keyEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.users--; e.users == 0 {
		delete(l.held, key)
	}
}
