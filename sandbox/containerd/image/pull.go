package image

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"moorage/sandbox"
)

const undoTimeout = 10 * time.Second

// leased runs fn under a lease of its own: what it fetches is safe until it
// returns. After an error all that no image names is removed at once.
func (s *Store) leased(ctx context.Context, fn func(context.Context) error) error {
	l, err := s.client.LeasesService().Create(ctx, leases.WithRandomID(), leases.WithExpiration(2*pullTimeout),
		leases.WithLabel(labelOwner, s.opts.Owner))
	if err != nil {
		return fmt.Errorf("%w: make lease: %v", sandbox.ErrUnavailable, err)
	}
	err = fn(leases.WithLease(ctx, l.ID))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	var opts []leases.DeleteOpt
	if err != nil {
		opts = append(opts, leases.SynchronousDelete)
	}
	if derr := s.client.LeasesService().Delete(ctx, l, opts...); derr != nil {
		s.log.Warn("remove lease", "lease", l.ID, "err", derr)
	}
	return err
}

// pull fetches from the registry and unpacks.
func (s *Store) pull(ctx context.Context, f *flight, ref string) (sandbox.Image, error) {
	resolver, err := s.resolver(ref)
	if err != nil {
		return sandbox.Image{}, err
	}
	var img client.Image
	err = s.leased(ctx, func(ctx context.Context) error {
		before, berr := s.client.ImageService().Get(ctx, ref)
		track := &tracker{flight: f, seen: map[digest.Digest]ocispec.Descriptor{}}
		stop := track.watch(ctx, s)
		img, err = s.client.Pull(ctx, ref, client.WithResolver(resolver),
			client.WithPullUnpack, client.WithPullSnapshotter(s.opts.Snapshotter),
			client.WithImageHandlerWrapper(track.wrap))
		stop()
		if err == nil {
			_, err = configOf(ctx, img)
		}
		if err != nil {
			err = s.blame(ctx, err)
			s.restore(ctx, ref, before, berr)
			track.abort(ctx, s)
		}
		return err
	})
	if err != nil {
		return sandbox.Image{}, explain(ref, err)
	}
	return s.describe(ctx, img.Metadata()), nil
}

// blame finds what a context was ended for.
func (s *Store) blame(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return cause
	}
	return err
}

// restore puts an image's record back to what it was before a pull.
func (s *Store) restore(ctx context.Context, ref string, before images.Image, berr error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	var err error
	switch {
	case errdefs.IsNotFound(berr):
		err = s.client.ImageService().Delete(ctx, ref)
	case berr == nil:
		_, err = s.client.ImageService().Update(ctx, before, "target")
	}
	if err != nil && !errdefs.IsNotFound(err) {
		s.log.Warn("restore image", "image", ref, "err", err)
	}
}

// tracker follows which blobs a pull wants, and how much of them is here.
type tracker struct {
	flight *flight

	mu   sync.Mutex
	seen map[digest.Digest]ocispec.Descriptor
}

// wrap sees each descriptor that the pull visits.
func (t *tracker) wrap(next images.Handler) images.Handler {
	return images.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		// More than that is refused while it is fetched.
		if isMetadata(desc) && desc.Size > maxMetadata {
			return nil, tooLarge(desc, desc.Size)
		}
		t.add(desc)
		children, err := next.Handle(ctx, desc)
		for _, c := range children {
			t.add(c)
		}
		return children, err
	})
}

func (t *tracker) add(desc ocispec.Descriptor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.seen[desc.Digest]; !ok && desc.Size > 0 {
		t.seen[desc.Digest] = desc
		t.flight.total.Add(desc.Size)
	}
}

func (t *tracker) list() []ocispec.Descriptor {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]ocispec.Descriptor, 0, len(t.seen))
	for _, d := range t.seen {
		list = append(list, d)
	}
	return list
}

// watch measures, until the function that it returns is called.
func (t *tracker) watch(ctx context.Context, s *Store) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() {
		tick := time.NewTicker(progressTick)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				t.measure(ctx, s)
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		work.Wait()
	}
}

func (t *tracker) measure(ctx context.Context, s *Store) {
	var got, total int64
	cs := s.client.ContentStore()
	for _, d := range t.list() {
		total += d.Size
		if _, err := cs.Info(ctx, d.Digest); err == nil {
			got += d.Size
		} else if st, err := cs.Status(ctx, remotes.MakeRefKey(ctx, d)); err == nil {
			got += st.Offset
		}
	}
	t.flight.got.Store(got)
	t.flight.unpacking.Store(total > 0 && got == total)
}

// abort drops what is half fetched, unless another pull may want it.
func (t *tracker) abort(ctx context.Context, s *Store) {
	s.mu.Lock()
	others := len(s.flights) > 1
	s.mu.Unlock()
	if others {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	for _, d := range t.list() {
		if err := s.client.ContentStore().Abort(ctx, remotes.MakeRefKey(ctx, d)); err != nil && !errdefs.IsNotFound(err) {
			s.log.Debug("drop a half fetched blob", "digest", d.Digest, "err", err)
		}
	}
}
