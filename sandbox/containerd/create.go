package containerd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"

	"moorage/sandbox"
	"moorage/sandbox/containerd/ocispec"
)

// Create makes a container's root filesystem, then its record; see
// sandbox.Runtime. It takes as long for a large image as for a small one, unless
// the image was never unpacked for this snapshotter.
func (r *Runtime) Create(ctx context.Context, spec sandbox.Spec) error {
	ctx = r.namespaced(ctx)
	if err := checkSpec(spec); err != nil {
		return err
	}
	key := keyOf(r.instance, spec.Ref)
	s, err := r.acquire(ctx, key)
	if err != nil {
		return err
	}
	defer r.release(key, s)
	if _, err := r.load(ctx, spec.Ref); err == nil {
		return fmt.Errorf("container %s: %w", spec.Ref.ID, sandbox.ErrAlreadyExists)
	} else if !errors.Is(err, sandbox.ErrNotFound) {
		return err
	}
	if spec.FromSnapshot != "" {
		return r.fork(ctx, key, spec)
	}
	return r.create(ctx, key, spec)
}

func (r *Runtime) create(ctx context.Context, key string, spec sandbox.Spec) (err error) {
	spec.Snapshotter = orDefault(spec.Snapshotter, r.opts.Snapshotter)
	img, err := r.images.Unpacked(ctx, spec.Image, spec.Snapshotter)
	if err != nil {
		return err
	}
	spec.Image = img.Name
	rec := record{Spec: spec, ImageEnv: img.Env, snapshot: snapshotName(key), updated: time.Now()}
	if rec.ids, err = r.claim(spec.Ref.Bot, key); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			r.unclaim(spec.Ref.Bot, key)
		}
	}()
	c, err := r.container(key, rec)
	if err != nil {
		return err
	}
	sn := r.client.SnapshotService(spec.Snapshotter)
	// The label keeps it from being collected: containerd knows of no tie
	// between it and the container, see detached.
	mounts, err := sn.Prepare(ctx, rec.snapshot, img.ChainID, snapshots.WithLabels(map[string]string{
		labelGCRoot: stamp(time.Now()), labelInstance: r.instance, labelActive: key,
	}))
	if err != nil {
		return engineError("prepare root filesystem", err)
	}
	defer func() {
		if err != nil {
			r.undo(ctx, "remove snapshot", func(ctx context.Context) error { return r.removeLayer(ctx, sn, rec.snapshot) })
		}
	}()
	if err := r.limitDisk(spec.Ref.Bot, writable(mounts)...); err != nil {
		return err
	}
	if err := r.seed(img.ChainID, r.mountDir(key), mounts); err != nil {
		return err
	}
	if _, err := r.client.ContainerService().Create(ctx, c); errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("id %s in containerd: %w", key, sandbox.ErrAlreadyExists)
	} else if err != nil {
		return engineError("write record", err)
	}
	return nil
}

// snapshotName is new each time, so that what is left of an earlier container
// of the same key is never in the way.
func snapshotName(key string) string {
	raw := make([]byte, 4)
	rand.Read(raw)
	return key + "-" + hex.EncodeToString(raw)
}

// container is the record as containerd keeps it.
func (r *Runtime) container(key string, rec record) (containers.Container, error) {
	labels, err := rec.labels(r.instance)
	if err != nil {
		return containers.Container{}, err
	}
	spec, err := typeurl.MarshalAny(r.spec(key, rec))
	if err != nil {
		return containers.Container{}, fmt.Errorf("encode specification: %w", err)
	}
	return containers.Container{
		ID: key, Labels: labels, Image: rec.Spec.Image, Spec: spec, Snapshotter: rec.Spec.Snapshotter,
		Runtime: containers.RuntimeInfo{Name: plainRuntime},
	}, nil
}

// spec is the container's specification with today's paths and parameters. What
// it writes to with ids of its own is where stage mounts it.
func (r *Runtime) spec(key string, rec record) any {
	p := ocispec.Paths{
		Cgroup: r.cgroupParent() + "/" + key, Agent: r.agent,
		Run: r.runDir(key), Spool: r.spoolDir(key),
		Data: r.dataDirOf(key, rec), DataMounts: r.opts.DataMounts,
	}
	if !rec.ids.IsZero() {
		p.Spool, p.Data = r.stagedDir(key, stagedSpool), r.stagedDir(key, stagedData)
	}
	return ocispec.Build(rec.ImageEnv, rec.Spec, p, rec.ids, r.host)
}

// refresh writes the specification anew if it is not what it would be today: the
// agent is another, directories, ids or data mounts have moved, the host has
// changed.
func (r *Runtime) refresh(ctx context.Context, c containers.Container, rec record) error {
	fresh, err := typeurl.MarshalAny(r.spec(c.ID, rec))
	if err != nil {
		return fmt.Errorf("encode specification: %w", err)
	}
	if c.Spec != nil && string(c.Spec.GetValue()) == string(fresh.GetValue()) && idsOf(c) == rec.ids {
		return nil
	}
	c = containers.Container{ID: c.ID, Spec: fresh, Labels: map[string]string{labelIDs: rec.ids.String()}}
	if _, err := r.client.ContainerService().Update(ctx, c, "spec", "labels."+labelIDs); err != nil {
		return engineError("write specification", err)
	}
	r.log.Info("specification renewed", "bot", rec.Spec.Ref.Bot, "container", rec.Spec.Ref.ID)
	return nil
}

// undo runs one step of clearing up, under a context that outlives ctx. What
// fails is logged: the error that led here is the one to return.
func (r *Runtime) undo(ctx context.Context, what string, step func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if err := step(ctx); err != nil && !errdefs.IsNotFound(err) {
		r.log.Warn("clear up failed", "step", what, "err", err)
	}
}
