package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"golang.org/x/sys/unix"

	"moorage/sandbox"
)

// Open adopts the containers that run, so that their agents can dial in again,
// and removes what earlier servers left half made or half removed. What cannot
// be removed is logged.
func (r *Runtime) Open(ctx context.Context) error {
	ctx = r.namespaced(ctx)
	all, err := r.loadAll(ctx, "")
	if err != nil {
		return fmt.Errorf("open runtime: %w", err)
	}
	keys, snaps := map[string]bool{}, map[string]bool{}
	snapshotters := map[string]bool{r.opts.Snapshotter: true}
	for _, c := range all {
		keys[c.ID], snaps[c.Labels[labelSnapshot]], snapshotters[c.Snapshotter] = true, true, true
		if err := r.adopt(ctx, c); err != nil {
			r.log.Error("adopt container", "key", c.ID, "err", err)
		}
	}
	for name := range snapshotters {
		if err := r.sweepSnapshots(ctx, name, snaps); err != nil {
			r.log.Warn("remove orphaned snapshots", "snapshotter", name, "err", err)
		}
	}
	if err := r.sweep(ctx, keys); err != nil {
		r.log.Warn("remove orphans", "err", err)
	}
	return nil
}

// adopt opens the door of a task that runs, and removes one that has ended.
func (r *Runtime) adopt(ctx context.Context, c containers.Container) error {
	s, err := r.acquire(ctx, c.ID)
	if err != nil {
		return err
	}
	defer r.release(c.ID, s)
	if s.current() != nil {
		return nil
	}
	task, err := r.task(ctx, c.ID)
	if errdefs.IsNotFound(err) {
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
	rec, err := decode(c)
	if err != nil {
		return err
	}
	return r.listenTo(s, task, rec.Spec.Ref)
}

func (r *Runtime) listenTo(s *slot, task client.Task, ref sandbox.Ref) error {
	if err := makeDir(r.runDir(task.ID()), 0o755); err != nil {
		return err
	}
	d, err := openDoor(filepath.Join(r.runDir(task.ID()), socketName), r.log.With("bot", ref.Bot, "container", ref.ID))
	if err != nil {
		return err
	}
	d.admit(task.Pid())
	exit, err := task.Wait(r.ctx)
	if err != nil || !r.watch(s, d, task, ref, exit) {
		d.end(sandbox.ErrUnavailable)
		return err
	}
	r.log.Info("adopted container", "bot", ref.Bot, "container", ref.ID)
	return nil
}

// sweep removes mounts, directories and cgroups that belong to no record.
func (r *Runtime) sweep(ctx context.Context, keys map[string]bool) error {
	errs := []error{
		unmountAll(filepath.Join(r.opts.Run, "m")),
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

// sweepSnapshots removes active snapshots of this instance that no record names.
func (r *Runtime) sweepSnapshots(ctx context.Context, snapshotter string, keep map[string]bool) error {
	sn := r.client.SnapshotService(snapshotter)
	var orphans []string
	err := sn.Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		if i.Labels[labelActive] != "" && !keep[i.Name] {
			orphans = append(orphans, i.Name)
		}
		return nil
	}, fmt.Sprintf("labels.%q==%q", labelInstance, r.instance))
	errs := []error{err}
	for _, name := range orphans {
		if err := sn.Remove(ctx, name); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("remove snapshot %s: %w", name, err))
		}
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

// unmountAll removes mounts that a Create was killed in the middle of.
func unmountAll(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // there never was one
	}
	var errs []error
	for _, e := range entries {
		at := filepath.Join(dir, e.Name())
		errs = append(errs, mount.UnmountAll(at, unix.MNT_DETACH), os.Remove(at))
	}
	return errors.Join(errs...)
}
