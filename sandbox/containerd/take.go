package containerd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"

	"moorage/sandbox"
	"moorage/sandbox/containerd/snapstore"
	"moorage/sandbox/copier"
)

// TakeSnapshot keeps a container's state; see sandbox.Snapshots.
//
// There are two ways. If nothing but the agent runs in the container, its active
// layer is committed as it is, and a new one put in its place: the time that takes
// does not depend on what is in it. Else the layer is copied: most of it while
// the container runs, and what has changed since while it is frozen.
//
// The data is always copied, in the same two steps.
func (r *Runtime) TakeSnapshot(ctx context.Context, req sandbox.SnapshotRequest) (sandbox.Taken, error) {
	ctx = r.namespaced(ctx)
	g, err := r.lockGroup(ctx, req.Ref)
	if err != nil {
		return sandbox.Taken{}, err
	}
	defer g.release()
	k, err := r.newTaking(ctx, g, req)
	if err != nil {
		return sandbox.Taken{}, err
	}
	if err := k.run(ctx); err != nil {
		return sandbox.Taken{}, noSpace(err)
	}
	return sandbox.Taken{Snapshot: k.e.Snapshot(), Paused: k.paused, Shared: k.shared}, nil
}

// taking is a snapshot that is being made.
type taking struct {
	r    *Runtime
	g    *group
	req  sandbox.SnapshotRequest
	sn   snapshots.Snapshotter
	e    snapstore.Entry
	data *copier.Copy

	shared []sandbox.ContainerID
	paused time.Duration
}

// way keeps a root filesystem. errOtherWay of prepare or ready says that it
// cannot.
type way interface {
	// prepare does what can be done while the container runs.
	prepare(ctx context.Context) error
	// ready is called when nothing changes any more.
	ready(ctx context.Context) error
	// fix is called next, while still nothing changes.
	fix(ctx context.Context) error
	// finish is called when the container goes on. After it the snapshot is listed.
	finish(ctx context.Context) error
	// undo removes what was made, unless that is past undoing: then it finishes it.
	undo(ctx context.Context)
}

// errOtherWay says that a container is not as quiet as it seemed, or that its layer
// must stay its own.
var errOtherWay = errors.New("the layer has to be copied")

func (r *Runtime) newTaking(ctx context.Context, g *group, req sandbox.SnapshotRequest) (*taking, error) {
	if _, err := r.snaps.Get(req.Ref.Bot, req.Name); err == nil {
		return nil, fmt.Errorf("snapshot %s: %w", req.Name, sandbox.ErrAlreadyExists)
	}
	rec := g.target.rec
	k := &taking{r: r, g: g, req: req, sn: r.client.SnapshotService(rec.Spec.Snapshotter), shared: g.others()}
	k.e = snapstore.Entry{ID: snapstore.NewID(), Bot: req.Ref.Bot, Name: req.Name, Record: snapstore.Record{
		Container: req.Ref.ID, Spec: rec.Spec, ImageEnv: rec.ImageEnv, Origin: req.Origin, Note: req.Note,
		Source: sourceOf(g.target), Parent: r.parentName(ctx, k.sn, req.Ref.Bot, rec.snapshot),
	}}
	if _, err := stackOfActive(ctx, k.sn, rec.snapshot); err != nil {
		return nil, err
	}
	return k, nil
}

// sourceOf names the data of a container, see snapstore.Record.
func sourceOf(m *member) string {
	if m.rec.Spec.OwnData {
		return m.key
	}
	return ""
}

// parentName is the listed snapshot that an active layer stands on; "" if none.
func (r *Runtime) parentName(ctx context.Context, sn snapshots.Snapshotter, bot sandbox.Bot, active string) sandbox.SnapshotName {
	info, err := sn.Stat(ctx, active)
	for err == nil && info.Parent != "" {
		if e, ok := r.snaps.ByID(bot, info.Parent); ok {
			return e.Name
		}
		info, err = sn.Stat(ctx, info.Parent)
		if err == nil && info.Labels[snapstore.LabelLayer] == "" {
			break
		}
	}
	return ""
}

// run takes the quick way if it can, else the other one.
func (k *taking) run(ctx context.Context) (err error) {
	defer func() {
		if _, listed := k.r.snaps.ByID(k.e.Bot, k.e.ID); err != nil && !listed {
			k.r.undo(ctx, "remove tree", func(ctx context.Context) error { return k.r.snaps.RemoveTree(ctx, k.e.ID) })
		}
	}()
	if err := k.startData(ctx); err != nil {
		return err
	}
	talk := k.g.target.talk() // first: no more is asked of the agent from here to there
	if k.commits() {
		err := k.goBy(ctx, &commitWay{k: k, talk: talk})
		if !errors.Is(err, errOtherWay) {
			return err
		}
	}
	return k.goBy(ctx, &copyWay{k: k})
}

// startData makes the first pass over the data while it is in use.
func (k *taking) startData(ctx context.Context) error {
	k.r.step("copy data")
	if err := errors.Join(k.r.makeData(k.g.target.key, k.g.target.rec), k.r.snaps.MakeTree(k.e.ID, k.g.target.rec.Spec.Snapshotter)); err != nil {
		return err
	}
	if err := k.r.limitDisk(k.e.Bot, k.r.snaps.Data(k.e.ID)); err != nil {
		return err
	}
	var err error
	k.data, err = copier.New(k.r.snaps.Data(k.e.ID), k.r.dataDirOf(k.g.target.key, k.g.target.rec), copier.Options{
		Reference: k.r.snaps.Reference(k.e.Bot, k.e.Record.Source),
	})
	if err != nil || len(k.g.running()) == 0 {
		return err
	}
	return k.data.Pass(ctx)
}

// commits reports whether the quick way is worth trying.
func (k *taking) commits() bool {
	m := k.g.target
	return m.pid == 0 || k.req.Hold != nil && len(k.r.processes(m.key)) == 1
}

// goBy goes one way to its end.
func (k *taking) goBy(ctx context.Context, w way) (err error) {
	defer func() {
		if err != nil {
			undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
			defer cancel()
			w.undo(undo)
		}
	}()
	if err := w.prepare(ctx); err != nil {
		return err
	}
	if err := k.still(ctx, w); err != nil {
		return err
	}
	return w.finish(context.WithoutCancel(ctx))
}

// still holds the agents' operations back and freezes what runs, while the state
// is fixed.
func (k *taking) still(ctx context.Context, w way) (err error) {
	quiet := len(k.g.running()) == 0
	begun := time.Now()
	if k.req.Hold != nil && !quiet {
		var release func()
		release, quiet = k.req.Hold(ctx)
		defer func() { release(); k.paused = max(k.paused, time.Since(begun)) }()
	}
	begun = time.Now()
	k.r.step("freeze")
	thaw, err := k.r.still(ctx, k.g.running(), quiet)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, thaw())
		if len(k.g.running()) > 0 {
			k.paused = time.Since(begun)
		}
	}()
	if err := w.ready(ctx); err != nil {
		return err
	}
	if err := k.fixData(ctx); err != nil {
		return err
	}
	return w.fix(ctx)
}

// fixData makes the last pass over the data.
func (k *taking) fixData(ctx context.Context) error {
	k.r.step("copy data again")
	if err := k.data.Finish(ctx, k.r.mapped(k.g.running())); err != nil {
		return err
	}
	s := k.data.Stats()
	k.e.Record.Created, k.e.Record.DataBytes, k.e.Record.Files = time.Now().UTC(), s.Bytes-s.Shared, s.Files+s.Dirs
	return nil
}
