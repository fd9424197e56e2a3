package containerd

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"golang.org/x/sys/unix"

	"moorage/sandbox"
	"moorage/sandbox/containerd/changes"
	"moorage/sandbox/containerd/ocispec"
	"moorage/sandbox/containerd/snapstore"
)

// DiffSnapshot compares a snapshot with another one or with the present; see
// sandbox.Snapshots.
func (r *Runtime) DiffSnapshot(ctx context.Context, req sandbox.DiffRequest) (sandbox.Diff, error) {
	return r.compare(r.namespaced(ctx), req)
}

func (r *Runtime) compare(ctx context.Context, req sandbox.DiffRequest) (d sandbox.Diff, err error) {
	from, err := r.snaps.Get(req.Bot, req.From)
	if err != nil {
		return d, err
	}
	sn := r.client.SnapshotService(from.Record.Spec.Snapshotter)
	a, err := r.snapshotSide(ctx, sn, from)
	if err != nil {
		return d, err
	}
	defer a.Close()
	b, err := r.otherSide(ctx, sn, from, req)
	if err != nil {
		return d, err
	}
	defer b.Close()
	return changes.Compare(ctx, req, a, b, r.opts.DataMounts, ocispec.Dir)
}

func (r *Runtime) snapshotSide(ctx context.Context, sn snapshots.Snapshotter, e snapstore.Entry) (*changes.Side, error) {
	root, err := r.stackOf(ctx, sn, e.ID)
	if err != nil {
		return nil, err
	}
	return changes.Open(root, r.snaps.Data(e.ID))
}

// otherSide is another snapshot, or the present state of a container.
func (r *Runtime) otherSide(ctx context.Context, sn snapshots.Snapshotter, from snapstore.Entry, req sandbox.DiffRequest) (*changes.Side, error) {
	if req.To != "" {
		to, err := r.snaps.Get(req.Bot, req.To)
		if err != nil {
			return nil, err
		}
		if to.Record.Spec.Snapshotter != from.Record.Spec.Snapshotter {
			return nil, fmt.Errorf("%w: they are of two snapshotters", sandbox.ErrUnsupported)
		}
		return r.snapshotSide(ctx, sn, to)
	}
	ref := sandbox.Ref{Bot: req.Bot, ID: req.Container}
	if ref.ID == "" {
		ref.ID = from.Record.Container
	}
	c, err := r.load(ctx, ref)
	if err != nil {
		return nil, err
	}
	rec, err := decode(c)
	if err != nil {
		return nil, err
	}
	root, err := stackOfActive(ctx, sn, rec.snapshot)
	if err != nil {
		return nil, err
	}
	s, err := changes.Open(root, r.dataDirOf(c.ID, rec))
	if err != nil {
		return nil, err
	}
	r.known(s, from)
	return s, nil
}

// known says of files of which the snapshot is a copy that they are as they were.
func (r *Runtime) known(s *changes.Side, from snapstore.Entry) {
	if rec := r.snaps.LoadRoot(from.ID); rec != nil {
		s.RootSame = func(p string, _, to *unix.Stat_t) bool { return rec.Unchanged(strings.TrimPrefix(p, "/"), to) }
	}
	if rec := r.snaps.LoadData(from.ID); rec != nil {
		s.DataSame = func(p string, _, to *unix.Stat_t) bool { return rec.Unchanged(strings.TrimPrefix(p, "/"), to) }
	}
}
