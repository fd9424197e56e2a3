package containerd

import (
	"context"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"

	"moorage/sandbox/containerd/snapstore"
)

const (
	collectPause   = 300 * time.Millisecond // after a removal, for others to come
	collectTimeout = 10 * time.Second
)

// freed says that something was removed. containerd only unlists it; the disk is
// freed by its garbage collection, which is due after each removal, except that it
// forgets one that happens while a collection is just ending (its
// plugins/gc/scheduler.go drops what is older than the end). So it is asked for.
func (r *Runtime) freed() {
	select {
	case r.removed <- struct{}{}:
	default: // asked for already
	}
}

// finishRemovals has containerd look for snapshots that it has unlisted and whose
// layers are still there: it does that only after a removal, and a server that
// ended in between has lost that it was due.
func (r *Runtime) finishRemovals(ctx context.Context, sn snapshots.Snapshotter) error {
	name := snapstore.NewID() + "-sweep"
	if _, err := sn.Prepare(ctx, name, "", r.activeLabels("sweep")); err != nil {
		return engineError("prepare a layer", err)
	}
	return r.removeLayer(ctx, sn, name)
}

// collect runs until the Runtime closes, and then once more if there is something
// left to do.
func (r *Runtime) collect() {
	for r.ctx.Err() == nil {
		select {
		case <-r.removed:
			_ = pause(r.ctx, collectPause) // cut short by the end
		case <-r.ctx.Done():
			select {
			case <-r.removed:
			default:
				return
			}
		}
		if err := r.collectOnce(); err != nil {
			r.log.Warn("free what was removed", "err", err)
		}
	}
}

// collectOnce has containerd collect, and waits for it: deleting a lease can ask
// for that.
func (r *Runtime) collectOnce() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), collectTimeout)
	defer cancel()
	l, err := r.client.LeasesService().Create(ctx, leases.WithRandomID(), leases.WithExpiration(collectTimeout))
	if err != nil {
		return engineError("make a lease", err)
	}
	return engineError("collect garbage", r.client.LeasesService().Delete(ctx, l, leases.SynchronousDelete))
}
