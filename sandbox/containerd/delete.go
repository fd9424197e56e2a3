package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"

	"moorage/sandbox"
)

// Delete removes a container; see sandbox.Runtime. What of it is gone already is
// no error, so a delete that was cut short can be repeated.
func (r *Runtime) Delete(ctx context.Context, ref sandbox.Ref, data bool) error {
	ctx = r.namespaced(ctx)
	key := keyOf(r.instance, ref)
	s, err := r.acquire(ctx, key)
	if err != nil {
		return fmt.Errorf("delete %s: %w", ref, err)
	}
	defer r.release(key, s)
	c, err := r.load(ctx, ref)
	if err != nil {
		return err
	}
	if c, err = r.settled(ctx, s, c); err != nil {
		r.log.Warn("delete a container in the middle of a change", "bot", ref.Bot, "container", ref.ID, "err", err)
	}
	if err := r.delete(ctx, s, c, ref.Bot, data); err != nil {
		return fmt.Errorf("delete %s: %w", ref, err)
	}
	return nil
}

// delete, once begun, is not given up when the caller leaves. The record goes
// before what only this instance's Open would find.
func (r *Runtime) delete(ctx context.Context, s *slot, c containers.Container, bot sandbox.Bot, data bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
	defer cancel()
	if err := r.stop(ctx, s, c.ID, 0); err != nil {
		return err
	}
	if data && !ownsData(c) {
		if err := r.deleteData(ctx, bot); err != nil {
			return err
		}
	}
	if err := r.client.ContainerService().Delete(ctx, c.ID); err != nil && !errdefs.IsNotFound(err) {
		return engineError("remove record", err)
	}
	r.unclaim(bot, c.ID)
	r.step("delete container's layer")
	sn := r.client.SnapshotService(orDefault(c.Snapshotter, r.opts.Snapshotter))
	if err := r.removeLayer(ctx, sn, c.Labels[labelSnapshot]); err != nil {
		return err
	}
	r.step("delete container's own data")
	if err := r.snaps.RemoveOwn(ctx, c.ID); err != nil {
		return err
	}
	return r.removeDirs(c.ID)
}

// ownsData: its data goes with it anyway, and the bot's is not its business.
func ownsData(c containers.Container) bool {
	rec, err := decode(c)
	return err == nil && rec.Spec.OwnData
}

func (r *Runtime) removeDirs(key string) error {
	if err := errors.Join(os.RemoveAll(r.runDir(key)), os.RemoveAll(r.spoolDir(key))); err != nil {
		return fmt.Errorf("remove directories: %w", err)
	}
	return nil
}

// deleteData empties the bot's data. The directory itself goes only with the
// bot's last container: others have it mounted.
func (r *Runtime) deleteData(ctx context.Context, bot sandbox.Bot) error {
	dir := r.dataDir(bot)
	if err := removeOthers(dir, nil); err != nil {
		return err
	}
	if all, err := r.loadAll(ctx, bot); err != nil || len(all) > 1 {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove data: %w", err)
	}
	return nil
}
