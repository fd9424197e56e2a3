package containerd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"moorage/sandbox"
)

var _ sandbox.Snapshots = (*Runtime)(nil)

// ListSnapshots lists a bot's snapshots, or all; see sandbox.Snapshots.
func (r *Runtime) ListSnapshots(_ context.Context, bot sandbox.Bot) ([]sandbox.Snapshot, error) {
	all := r.snaps.All(bot)
	list := make([]sandbox.Snapshot, len(all))
	for i, e := range all {
		list[i] = e.Snapshot()
	}
	return list, nil
}

// DeleteSnapshot removes one; see sandbox.Snapshots.
func (r *Runtime) DeleteSnapshot(ctx context.Context, bot sandbox.Bot, name sandbox.SnapshotName) error {
	ctx = r.namespaced(ctx)
	e, err := r.snaps.Get(bot, name)
	if err != nil {
		return err
	}
	forks, err := r.forksOf(ctx, bot, e.ID)
	if err != nil {
		return err
	}
	switch len(forks) {
	case 0:
	case 1:
		return fmt.Errorf("%w: container %s was made from it; delete that first", sandbox.ErrConflict, forks[0])
	default:
		return fmt.Errorf("%w: containers %s were made from it; delete those first", sandbox.ErrConflict, strings.Join(forks, ", "))
	}
	r.step("unlist snapshot")
	if err := r.snaps.Unlist(ctx, e); err != nil {
		return err
	}
	r.step("deleted")
	return nil
}

// forksOf are the ids, sorted, of the containers that were made from a snapshot.
func (r *Runtime) forksOf(ctx context.Context, bot sandbox.Bot, id string) ([]string, error) {
	all, err := r.loadAll(ctx, bot)
	if err != nil {
		return nil, err
	}
	var forks []string
	for _, c := range all {
		if rec, err := decode(c); err == nil && rec.ForkOf == id {
			forks = append(forks, string(rec.Spec.Ref.ID))
		}
	}
	slices.Sort(forks)
	return forks, nil
}

// step is called before each step of a change that could be cut short there.
func (r *Runtime) step(what string) {
	if r.opts.Step != nil {
		r.opts.Step(what)
	}
}
