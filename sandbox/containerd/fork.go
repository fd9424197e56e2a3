package containerd

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"

	"moorage/sandbox"
	"moorage/sandbox/containerd/snapstore"
	"moorage/sandbox/copier"
)

// fork makes a container from a snapshot: its root filesystem on that one's layer,
// its data a copy of that one's. Without its record, written last, all of it is
// swept away by Open.
func (r *Runtime) fork(ctx context.Context, key string, spec sandbox.Spec) (err error) {
	e, err := r.snaps.Get(spec.Ref.Bot, spec.FromSnapshot)
	if err != nil {
		return err
	}
	from := e.Record.Spec
	if spec.Snapshotter != "" && spec.Snapshotter != from.Snapshotter {
		return fmt.Errorf("container %s: %w: snapshot %s is of snapshotter %s", spec.Ref.ID, sandbox.ErrInvalid, e.Name, from.Snapshotter)
	}
	spec.Snapshotter, spec.Image, spec.OwnData = from.Snapshotter, from.Image, true
	rec := record{Spec: spec, ImageEnv: e.Record.ImageEnv, ForkOf: e.ID, snapshot: snapshotName(key), updated: time.Now()}
	defer func() {
		if err != nil {
			r.undo(ctx, "undo fork", func(ctx context.Context) error { return r.undoFork(ctx, key, rec) })
		}
	}()
	if err := r.forkData(ctx, key, e); err != nil {
		return fmt.Errorf("container %s: %w", spec.Ref.ID, noSpace(err))
	}
	r.step("prepare fork")
	sn := r.client.SnapshotService(spec.Snapshotter)
	if err := r.continueLayer(ctx, sn, e.Bot, key, rec.snapshot, e.ID); err != nil {
		return fmt.Errorf("container %s: %w", spec.Ref.ID, noSpace(err))
	}
	c, err := r.container(key, rec)
	if err != nil {
		return err
	}
	r.step("record fork")
	if _, err := r.client.ContainerService().Create(ctx, c); errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("id %s in containerd: %w", key, sandbox.ErrAlreadyExists)
	} else if err != nil {
		return engineError("write record", err)
	}
	r.step("forked")
	return nil
}

// forkData copies the snapshot's data. What an earlier fork of that key has left
// is removed first.
func (r *Runtime) forkData(ctx context.Context, key string, e snapstore.Entry) error {
	r.step("copy data of fork")
	if err := r.snaps.RemoveOwn(ctx, key); err != nil {
		return err
	}
	if err := r.snaps.MakeOwn(key); err != nil {
		return err
	}
	if err := r.limitDisk(e.Bot, r.snaps.Own(key)); err != nil {
		return err
	}
	_, err := copier.Tree(ctx, r.snaps.Own(key), r.snaps.Data(e.ID), copier.Options{})
	return err
}

func (r *Runtime) undoFork(ctx context.Context, key string, rec record) error {
	if err := r.removeLayer(ctx, r.client.SnapshotService(rec.Spec.Snapshotter), rec.snapshot); err != nil {
		return err
	}
	return r.snaps.RemoveOwn(ctx, key)
}
