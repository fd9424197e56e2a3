package containerd

import (
	"context"

	"github.com/containerd/containerd/v2/core/snapshots"

	"moorage/sandbox/copier"
)

// copyWay keeps a root filesystem by a copy of its active layer. The container's
// own layers stay as they are.
type copyWay struct {
	k    *taking
	tmp  string // the layer that is filled
	copy *copier.Copy
}

func (w *copyWay) prepare(ctx context.Context) error {
	k := w.k
	active := k.g.target.rec.snapshot
	mounts, err := k.sn.Mounts(ctx, active)
	if err != nil {
		return engineError("find root filesystem", err)
	}
	src, err := upperDir(mounts)
	if err != nil {
		return err
	}
	parent, release, err := k.r.shortParent(ctx, k.sn, k.e.Record.Spec.Snapshotter, active)
	if err != nil {
		return err
	}
	defer release(ctx)
	k.r.step("prepare copy")
	w.tmp = k.e.ID + "-copy"
	dst, err := k.r.prepareLayer(ctx, k.sn, k.g.target.key, w.tmp, parent)
	if err != nil {
		return err
	}
	if err := k.r.limitDisk(k.e.Bot, dst); err != nil {
		return err
	}
	k.r.step("copy layer")
	if w.copy, err = copier.New(dst, src, copier.Options{}); err != nil {
		return err
	}
	return w.copy.Pass(ctx)
}

func (w *copyWay) ready(context.Context) error { return nil }

func (w *copyWay) fix(ctx context.Context) error {
	w.k.r.step("copy layer again")
	return w.copy.Finish(ctx, w.k.r.mapped(w.k.g.running()))
}

func (w *copyWay) finish(ctx context.Context) error {
	k := w.k
	for _, err := range []error{k.r.snaps.SaveData(k.e.ID, k.data.Record()), k.r.snaps.SaveRoot(k.e.ID, w.copy.Record())} {
		if err != nil {
			k.r.log.Warn("keep record of a copy", "err", err) // more is copied and compared later
		}
	}
	s := w.copy.Stats()
	k.e.Record.RootBytes = s.Bytes
	k.e.Record.Files += s.Files + s.Dirs
	labels, err := k.e.Labels(k.r.instance)
	if err != nil {
		return err
	}
	k.r.step("commit copy")
	if err := k.sn.Commit(ctx, k.e.ID, w.tmp, snapshots.WithLabels(labels)); err != nil {
		return engineError("commit snapshot", err)
	}
	k.r.step("listed")
	k.r.snaps.Published(k.e)
	return nil
}

func (w *copyWay) undo(ctx context.Context) {
	if w.tmp == "" {
		return
	}
	w.k.r.undo(ctx, "remove copy", func(ctx context.Context) error { return w.k.r.removeLayer(ctx, w.k.sn, w.tmp) })
}
