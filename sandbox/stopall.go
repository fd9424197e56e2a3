package sandbox

import (
	"context"
	"errors"
	"sync"
	"time"
)

// StopAll stops the running containers of all bots and returns how many it
// stopped. It is an operator's call; no tool offers it.
func (m *Manager) StopAll(ctx context.Context, grace time.Duration) (int, error) {
	all, err := m.rt.List(ctx, "")
	if err != nil {
		return 0, err
	}
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		stopped int
		errs    []error
	)
	slots := make(chan struct{}, adoptParallel)
	for _, st := range all {
		if st.State == StateStopped {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			was, err := m.Stop(ctx, st.Spec.Ref, grace)
			mu.Lock()
			defer mu.Unlock()
			if was {
				stopped++
			}
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return stopped, errors.Join(errs...)
}
