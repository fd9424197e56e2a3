package image

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"moorage/sandbox"
)

const (
	maxFlights   = 16                     // pulls that work or wait for their turn
	maxWorking   = 3                      // pulls that work
	pullTimeout  = 30 * time.Minute       // for one pull, waiting for its turn included
	progressTick = 100 * time.Millisecond // between two reports
)

// flight is one pull that is under way.
type flight struct {
	done chan struct{} // closed at its end
	img  sandbox.Image // set before done is closed
	err  error

	got, total atomic.Int64 // bytes
	unpacking  atomic.Bool
}

// Ensure finds an image in the store or fetches it; see sandbox.Runtime.
func (s *Store) Ensure(ctx context.Context, name string, progress sandbox.Progress) (string, error) {
	ref, err := Normalise(name)
	if err != nil {
		return "", err
	}
	if s.has(s.namespaced(ctx), ref) {
		return ref, nil
	}
	if _, err := s.fetch(ctx, ref, progress); err != nil {
		return "", err
	}
	return ref, nil
}

// Pull fetches an image even if one of that name is there; see
// sandbox.ImageStore. One that is being fetched is not fetched once more.
func (s *Store) Pull(ctx context.Context, name string, progress sandbox.Progress) (sandbox.Image, error) {
	ref, err := Normalise(name)
	if err != nil {
		return sandbox.Image{}, err
	}
	return s.fetch(ctx, ref, progress)
}

func (s *Store) fetch(ctx context.Context, ref string, progress sandbox.Progress) (sandbox.Image, error) {
	f, err := s.join(ref)
	if err != nil {
		return sandbox.Image{}, err
	}
	return f.wait(ctx, ref, progress)
}

// join finds the flight of a name, or starts one.
func (s *Store) join(ref string) (*flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[ref]; f != nil {
		return f, nil
	}
	if s.closed {
		return nil, fmt.Errorf("image %s: %w: the server is closing", ref, sandbox.ErrUnavailable)
	}
	if len(s.flights) >= maxFlights {
		return nil, fmt.Errorf("image %s: %w: %d images are being pulled already", ref, sandbox.ErrLimit, maxFlights)
	}
	f := &flight{done: make(chan struct{})}
	s.flights[ref] = f
	s.work.Go(func() { s.fly(f, ref) })
	return f, nil
}

// fly is the life of a flight.
func (s *Store) fly(f *flight, ref string) {
	ctx, cancel := context.WithTimeoutCause(s.ctx, pullTimeout, errTooLong)
	defer cancel()
	start := time.Now()
	f.img, f.err = s.takeTurn(ctx, f, ref)
	s.log.Info("image fetched", "image", ref, "dur", time.Since(start), "bytes", f.got.Load(), "err", f.err)
	s.mu.Lock()
	delete(s.flights, ref)
	s.mu.Unlock()
	close(f.done)
}

func (s *Store) takeTurn(ctx context.Context, f *flight, ref string) (sandbox.Image, error) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return sandbox.Image{}, explain(ref, context.Cause(ctx))
	}
	defer func() { <-s.slots }()
	if ref == sandbox.BaseImage {
		return s.makeBase(ctx)
	}
	return s.pull(ctx, f, ref)
}

// wait waits for the flight's end, reporting at most ten times a second, and
// once more at the end. When ctx ends first, the flight goes on.
func (f *flight) wait(ctx context.Context, ref string, progress sandbox.Progress) (sandbox.Image, error) {
	if progress == nil {
		progress = func(int64, int64, string) {}
	}
	tick := time.NewTicker(progressTick)
	defer tick.Stop()
	var last int64 = -1
	for {
		select {
		case <-f.done:
			if f.err == nil {
				progress(f.total.Load(), f.total.Load(), "image is here")
			}
			return f.img, f.err
		case <-ctx.Done():
			return sandbox.Image{}, f.pending(ref)
		case <-tick.C:
			if got := f.got.Load(); got != last {
				last = got
				progress(got, f.total.Load(), f.doing())
			}
		}
	}
}

func (f *flight) doing() string {
	if f.unpacking.Load() {
		return "unpacking"
	}
	return "pulling"
}

func (f *flight) pending(ref string) error {
	if total := f.total.Load(); total > 0 {
		return fmt.Errorf("image %s: %w: %s, %.1f of %.1f MB so far", ref, sandbox.ErrImagePending,
			f.doing(), float64(f.got.Load())/1e6, float64(total)/1e6)
	}
	return fmt.Errorf("image %s: %w: the registry was asked", ref, sandbox.ErrImagePending)
}
