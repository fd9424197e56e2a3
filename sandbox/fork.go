package sandbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
)

// forkSpec is the spec of a container that is made from a snapshot. Image and
// snapshotter are the snapshot's: ErrInvalid if the request names others. Its
// environment and limits are those of the container that the snapshot was taken
// of, under the request's.
func (m *Manager) forkSpec(ctx context.Context, req CreateRequest) (Spec, error) {
	s, err := m.snapshots()
	if err != nil {
		return Spec{}, err
	}
	sn, err := m.snapshot(ctx, s, req.Bot, req.FromSnapshot)
	if err != nil {
		return Spec{}, err
	}
	if req.Image != "" {
		image, err := m.rt.ImageName(req.Image)
		if err != nil {
			return Spec{}, err
		}
		if image != sn.Spec.Image {
			return Spec{}, fmt.Errorf("image %.200s: %w: snapshot %s stands on %s; leave image out", image, ErrInvalid, sn.Name, sn.Spec.Image)
		}
	}
	if req.Snapshotter != "" && req.Snapshotter != sn.Spec.Snapshotter {
		return Spec{}, fmt.Errorf("snapshotter %.80q: %w: snapshot %s is of %s; leave snapshotter out", req.Snapshotter, ErrInvalid, sn.Name, sn.Spec.Snapshotter)
	}
	spec := forked(sn, req, m.opts.Limits)
	return spec, errors.Join(checkEnv(spec.Env), spec.Limits.check(m.opts.MaxLimits))
}

// forked is a snapshot's spec with what a request changes.
func forked(sn Snapshot, req CreateRequest, defaults Limits) Spec {
	spec := Spec{
		Ref: Ref{req.Bot, req.ID}, Image: sn.Spec.Image, Snapshotter: sn.Spec.Snapshotter,
		Env: maps.Clone(sn.Spec.Env), Limits: req.Limits.or(sn.Spec.Limits).or(defaults),
		FromSnapshot: sn.Name, OwnData: true,
	}
	if spec.Env == nil {
		spec.Env = maps.Clone(req.Env)
	} else {
		maps.Copy(spec.Env, req.Env)
	}
	return spec
}

// fork makes a container from a snapshot. Copying its data may take longer than
// the caller stays. It is called with the bot's lock, which it frees.
func (m *Manager) fork(ctx context.Context, spec Spec, unlock func()) (Created, error) {
	what := fmt.Sprintf("create container %s from snapshot %s", spec.Ref.ID, spec.FromSnapshot)
	return finishOrUndo(ctx, m, what, unlock, func(ctx context.Context) (Created, error) { return m.make(ctx, spec, unlock) })
}
