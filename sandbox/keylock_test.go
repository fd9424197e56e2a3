package sandbox

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestKeyLockExcludesOneKeyOnly(t *testing.T) {
	var l keyLock[string]
	ctx := context.Background()
	unlockA, err := l.lock(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	unlockB, err := l.lock(ctx, "b")
	if err != nil {
		t.Fatal(err)
	}
	unlockB()
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := l.lock(gone, "a"); !errors.Is(err, context.Canceled) {
		t.Fatalf("lock of a held key with a cancelled context: %v", err)
	}
	unlockA()
	unlockA() // safe twice
	if len(l.held) != 0 {
		t.Fatalf("%d keys are left", len(l.held))
	}
}

func TestKeyLockCounts(t *testing.T) {
	var l keyLock[int]
	var wg sync.WaitGroup
	counts := [3]int{}
	for i := range 300 {
		wg.Go(func() {
			unlock, err := l.lock(context.Background(), i%3)
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			counts[i%3]++
		})
	}
	wg.Wait()
	if counts != [3]int{100, 100, 100} {
		t.Fatalf("counts %v", counts)
	}
}
