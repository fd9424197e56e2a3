package containerd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"moorage/sandbox"
	"moorage/sandbox/containerd/door"
	"moorage/sandbox/containerd/snapstore"
)

// Open adopts the containers that run, so that their agents can dial in again,
// and removes what earlier servers left half made or half removed. What cannot
// be removed is logged.
func (r *Runtime) Open(ctx context.Context) error {
	ctx = r.namespaced(ctx)
	if err := r.disk.Open(); err != nil {
		return fmt.Errorf("open runtime: %w", err)
	}
	all, err := r.loadAll(ctx, "")
	if err != nil {
		return fmt.Errorf("open runtime: %w", err)
	}
	r.work.Go(r.collect)
	loaded := r.loadSnapshots(ctx)
	keep := kept{keys: map[string]bool{}, layers: map[string]bool{}, ids: map[string]bool{}}
	r.thawCgroups("m-*") // a server was killed in the middle of a snapshot
	shims := r.shims()
	for _, c := range all {
		if err := r.adopt(ctx, c, shims); err != nil {
			r.log.Error("adopt container", "key", c.ID, "err", err)
		}
		r.keep(ctx, &keep, c)
	}
	for _, name := range r.snapshotters(all) {
		if err := r.sweepSnapshots(ctx, name, keep); err != nil {
			r.log.Warn("remove orphaned snapshots", "snapshotter", name, "err", err)
		}
	}
	if loaded == nil { // else what is in use is not known
		loaded = r.snaps.Sweep(ctx, keep.keys, keep.ids)
	}
	if err := errors.Join(loaded, r.sweep(ctx, keep.keys), r.images.Sweep(ctx)); err != nil {
		r.log.Warn("remove orphans", "err", err)
	}
	if err := r.openIDs(ctx, all); err != nil {
		return fmt.Errorf("open runtime: %w", err)
	}
	return nil
}

// kept is what belongs to containers, and is not swept away.
type kept struct {
	keys   map[string]bool // of containers
	layers map[string]bool // names of snapshots
	ids    map[string]bool // of snapshots that are being made
}

// keep notes what a container has, after it was adopted. What it was before
// counts too if it cannot be read again.
func (r *Runtime) keep(ctx context.Context, k *kept, c containers.Container) {
	k.keys[c.ID] = true
	k.layers[c.Labels[labelSnapshot]] = true
	if now, err := r.client.ContainerService().Get(ctx, c.ID); err == nil {
		c = now
		k.layers[c.Labels[labelSnapshot]] = true
	}
	if j, err := parseJournal(c); err == nil && j != nil { // could be neither finished nor undone
		k.ids[j.ID] = true
		for _, name := range []string{j.ID, j.Old, j.Next, j.Stage} {
			k.layers[name] = true
		}
	}
}

// snapshotters are the names of those in use.
func (r *Runtime) snapshotters(all []containers.Container) []string {
	names := map[string]bool{r.opts.Snapshotter: true}
	for _, c := range all {
		names[c.Snapshotter] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func (r *Runtime) loadSnapshots(ctx context.Context) error {
	err := r.snaps.Load(ctx)
	if err != nil {
		r.log.Error("read the records of snapshots", "err", err)
	}
	return err
}

// adopt opens the door of a task that runs, and removes one that has ended. shims
// are those that run.
func (r *Runtime) adopt(ctx context.Context, c containers.Container, shims map[string][]int) error {
	s, err := r.acquire(ctx, c.ID)
	if err != nil {
		return err
	}
	defer r.release(c.ID, s)
	if s.current() != nil {
		return nil
	}
	m := &member{key: c.ID, slot: s}
	if err := r.reload(ctx, m); err != nil {
		return err
	}
	if err := r.recovered(ctx, m); err != nil {
		return err
	}
	task, err := r.task(ctx, c.ID)
	if errdefs.IsNotFound(err) {
		r.killLost(c.ID, shims)
		return r.clear(ctx, c.ID)
	}
	if err != nil {
		return engineError("find task", err)
	}
	switch st, err := r.taskStatus(ctx, c.ID); {
	case err != nil, st == client.Running, st == client.Paused, st == client.Pausing:
		// One that does not answer may still run: its end will be seen.
	default:
		return r.clear(ctx, c.ID)
	}
	return r.listenTo(s, task, m.rec.Spec.Ref)
}

func (r *Runtime) listenTo(s *slot, task client.Task, ref sandbox.Ref) error {
	if err := makeDir(r.runDir(task.ID()), 0o755); err != nil {
		return err
	}
	d, err := door.Open(filepath.Join(r.runDir(task.ID()), socketName), r.log.With("bot", ref.Bot, "container", ref.ID))
	if err != nil {
		return err
	}
	d.Admit(task.Pid())
	exit, err := task.Wait(r.ctx)
	if err != nil || !r.watch(s, d, task, ref, exit) {
		d.End(sandbox.ErrUnavailable)
		return err
	}
	r.log.Info("adopted container", "bot", ref.Bot, "container", ref.ID)
	return nil
}

// sweep removes mounts, directories and cgroups that belong to no record.
func (r *Runtime) sweep(ctx context.Context, keys map[string]bool) error {
	errs := []error{
		r.unstageAll(),
		removeOthers(filepath.Join(r.opts.Run, "c"), keys),
		removeOthers(filepath.Join(r.opts.Root, "spool"), keys),
	}
	left := cgroupsAt(r.cgroupParent() + "/m-*")
	states, _ := os.ReadDir(filepath.Join(r.runcRoot(), r.opts.Namespace))
	for _, e := range states {
		left = append(left, e.Name())
	}
	for _, dir := range left {
		if key := filepath.Base(dir); strings.HasPrefix(key, "m-") && !keys[key] {
			r.purge(ctx, key)
		}
	}
	return errors.Join(errs...)
}

// sweepSnapshots removes active snapshots of this instance that no record names,
// and leaves to containerd the layers that belong to no snapshot.
func (r *Runtime) sweepSnapshots(ctx context.Context, snapshotter string, keep kept) error {
	sn := r.client.SnapshotService(snapshotter)
	var orphans, loose []string
	err := sn.Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		switch {
		case keep.layers[i.Name]:
		case i.Labels[labelActive] != "":
			orphans = append(orphans, i.Name)
		case i.Labels[labelGCRoot] != "" && snapstore.IsLoose(i):
			loose = append(loose, i.Name)
		}
		return nil
	}, fmt.Sprintf("labels.%q==%q", labelInstance, r.instance))
	errs := []error{err}
	errs = append(errs, r.finishRemovals(ctx, sn))
	for _, name := range orphans {
		errs = append(errs, r.removeLayer(ctx, sn, name))
	}
	for _, name := range loose {
		errs = append(errs, r.snaps.Release(ctx, snapshotter, name))
	}
	return errors.Join(errs...)
}

// taskStatus asks the shim for its task's state.
func (r *Runtime) taskStatus(ctx context.Context, key string) (client.ProcessStatus, error) {
	res, err := r.client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: key})
	if err != nil {
		return "", errgrpc.ToNative(err)
	}
	return client.ProcessStatus(strings.ToLower(res.Process.Status.String())), nil
}
