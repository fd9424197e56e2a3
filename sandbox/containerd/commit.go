package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"moorage/sandbox/containerd/snapstore"
	"moorage/sandbox/copier"
)

// commitWay keeps a root filesystem by making its active layer the snapshot's.
//
// containerd's Commit measures what it commits, which takes as long as there are
// files. So an empty layer is committed, and its directory then exchanged with
// the active layer's: from that on it is done, and only ever finished.
//
// A layer in which files have several names is not kept so: once it is under
// another, overlayfs gives each name that is written to a file of its own.
type commitWay struct {
	k *taking
	j journal

	stageDir, oldDir, nextDir string
	begun, done               bool

	old  *os.File    // the root before; nil if it was not swapped
	size copier.Size // of the layer
	talk uint64      // member.talk before the layer was measured
}

func (w *commitWay) prepare(ctx context.Context) error {
	k := w.k
	m := k.g.target
	mounts, err := k.sn.Mounts(ctx, m.rec.snapshot)
	if err != nil {
		return engineError("find root filesystem", err)
	}
	if w.oldDir, err = upperDir(mounts); err != nil {
		return err
	}
	w.j = journal{
		Op: opCommit, ID: k.e.ID, Old: m.rec.snapshot, Next: snapshotName(m.key), Stage: k.e.ID + "-stage",
		Name: k.e.Name, Origin: k.req.Origin, Note: k.req.Note, Parent: k.e.Record.Parent, Inode: inode(w.oldDir),
	}
	if m.slot.linked { // it will still have some; else this is for nothing
		if err := w.checked(w.measure(ctx)); err != nil {
			return err
		}
	}
	measured := make(chan error, 1)
	go func() { measured <- w.measure(ctx) }() // while the disk is waited for
	err = w.begin(ctx)
	return w.checked(errors.Join(err, <-measured))
}

// measure looks at the layer a moment before it is the snapshot's. If nothing runs
// meanwhile that is as good as at the moment itself.
func (w *commitWay) measure(ctx context.Context) (err error) {
	if w.size, err = copier.Measure(ctx, w.oldDir); err != nil {
		return fmt.Errorf("measure the layer: %w", err)
	}
	return nil
}

// checked adds to what became of it whether the layer can be put under another.
func (w *commitWay) checked(err error) error {
	if err != nil {
		return err
	}
	if w.k.g.target.slot.linked = w.size.Linked > 0; w.size.Linked > 0 {
		return errOtherWay
	}
	return nil
}

func (w *commitWay) begin(ctx context.Context) error {
	w.k.r.step("begin commit")
	if err := w.k.r.begin(ctx, w.k.g.target.key, w.j); err != nil {
		return err
	}
	w.begun = true
	return w.stage(ctx)
}

// stage commits an empty layer for the active one's directory to go to.
func (w *commitWay) stage(ctx context.Context) error {
	k := w.k
	parent, release, err := k.r.shortParent(ctx, k.sn, k.e.Record.Spec.Snapshotter, w.j.Old)
	if err != nil {
		return err
	}
	defer release(ctx)
	k.r.step("prepare stage")
	if w.stageDir, err = k.r.prepareLayer(ctx, k.sn, k.g.target.key, w.j.Stage, parent); err != nil {
		return err
	}
	k.r.step("commit stage")
	err = k.sn.Commit(ctx, k.e.ID, w.j.Stage, snapshots.WithLabels(snapstore.LayerLabels(k.r.instance, true)))
	if err != nil {
		return engineError("commit a layer", err)
	}
	w.nextDir, err = k.r.prepareNext(ctx, k.sn, k.g.target, w.j)
	return err
}

// ready measures again if the agent was asked anything since the first time, or has
// answered: whatever is done in a container where only the agent runs is asked of it,
// and what was begun before has been answered now that it is held.
func (w *commitWay) ready(ctx context.Context) error {
	m := w.k.g.target
	switch {
	case m.pid == 0:
		return nil
	case !m.quiet:
		return errOtherWay
	case m.talk() == w.talk:
		return nil
	}
	w.k.r.log.Debug("measure the layer again", "bot", m.rec.Spec.Ref.Bot, "container", m.rec.Spec.Ref.ID)
	return w.checked(w.measure(ctx))
}

// fix is in time what a quiet container has to wait for.
func (w *commitWay) fix(ctx context.Context) (err error) {
	k := w.k
	k.r.step("exchange layers")
	if err := exchange(w.oldDir, w.stageDir); err != nil {
		return err
	}
	w.done = true
	w.old, err = k.r.moveOn(context.WithoutCancel(ctx), k.g.target, w.j, w.nextDir, w.stageDir)
	return err
}

func (w *commitWay) finish(ctx context.Context) error {
	k := w.k
	if err := k.r.snaps.SaveData(k.e.ID, k.data.Record()); err != nil {
		k.r.log.Warn("keep record of the data", "err", err) // the next snapshot copies more
	}
	if w.old != nil {
		k.r.background(func() { w.old.Close() })
	}
	k.e.Record.RootBytes, k.e.Record.Unlinked = w.size.Bytes, true
	k.e.Record.Files += w.size.Files
	return k.r.settle(ctx, k.g.target, w.j, k.e)
}

// undo leaves the container as it was; or, when its layer is the snapshot's
// already, finishes what was begun, as the next start would.
func (w *commitWay) undo(ctx context.Context) {
	r, m := w.k.r, w.k.g.target
	if !w.begun {
		return
	}
	if !w.done {
		r.undo(ctx, "remove stage", func(ctx context.Context) error { return r.dropStage(ctx, w.k.sn, m, w.j) })
		return
	}
	r.undo(ctx, "finish commit", func(ctx context.Context) error { return r.recoverCommit(ctx, m, w.j) })
}

// dropStage removes what a commit has made before the exchange, and ends it.
func (r *Runtime) dropStage(ctx context.Context, sn snapshots.Snapshotter, m *member, j journal) error {
	r.step("drop next layer")
	err := r.removeLayer(ctx, sn, j.Next)
	r.step("drop stage")
	err = errors.Join(err, r.snaps.Release(ctx, m.rec.Spec.Snapshotter, j.ID), r.removeLayer(ctx, sn, j.Stage))
	r.step("end dropped commit")
	return errors.Join(err, r.conclude(ctx, m.key))
}

// prepareNext makes the container's next active layer, or finds it.
func (r *Runtime) prepareNext(ctx context.Context, sn snapshots.Snapshotter, m *member, j journal) (dir string, err error) {
	r.step("prepare next layer")
	if dir, err = r.prepareLayer(ctx, sn, m.key, j.Next, j.ID); err != nil {
		return "", err
	}
	return dir, r.limitDisk(m.rec.Spec.Ref.Bot, dir)
}

// moveOn has the container stand on its next layer, whose directory is next; last
// is the one that was exchanged. If it runs, its root is swapped under the agent;
// should that fail it is killed, and starts on the next layer when it is needed.
func (r *Runtime) moveOn(ctx context.Context, m *member, j journal, next, last string) (old *os.File, err error) {
	if err := copier.Attributes(next, last); err != nil || m.pid == 0 {
		return nil, err
	}
	r.step("swap root")
	if old, err = r.swap(ctx, m, j.Next); err != nil {
		r.log.Warn("container has to start again", "bot", m.rec.Spec.Ref.Bot, "container", m.rec.Spec.Ref.ID, "why", err)
		return nil, r.stop(ctx, m.slot, m.key, 0)
	}
	return old, nil
}

// settle lists the snapshot of a commit and ends it: the container is written down
// to have its next layer. Until then a new server takes it that what runs of it
// still has the layer before.
func (r *Runtime) settle(ctx context.Context, m *member, j journal, e snapstore.Entry) error {
	r.step("list snapshot")
	if err := r.snaps.Publish(ctx, e); err != nil {
		return err
	}
	r.step("end commit")
	if err := r.setLabels(ctx, m.key, map[string]string{labelSnapshot: j.Next, labelJournal: ""}); err != nil {
		return err
	}
	m.rec.snapshot = j.Next
	r.step("remove old layer")
	r.background(func() {
		r.undo(r.ctx, "remove old layer", func(ctx context.Context) error {
			return r.removeLayer(ctx, r.client.SnapshotService(e.Record.Spec.Snapshotter), j.Old)
		})
	})
	return nil
}

// recoverCommit finishes or undoes a commit that was cut short. The container's
// slot is held and nobody waits for its agent: what runs of it may still have the
// layer as its root that is now a snapshot's, so it is killed.
func (r *Runtime) recoverCommit(ctx context.Context, m *member, j journal) error {
	sn := r.client.SnapshotService(m.rec.Spec.Snapshotter)
	done, err := r.exchanged(ctx, sn, j)
	if err != nil {
		return err
	}
	if !done {
		return errors.Join(r.snaps.RemoveTree(ctx, j.ID), r.dropStage(ctx, sn, m, j))
	}
	if err := r.restand(ctx, sn, m, j); err != nil {
		return err
	}
	e, err := r.entryOf(ctx, sn, m, j)
	if err != nil {
		return err
	}
	return r.settle(ctx, m, j, e)
}

// restand kills what runs of the container and has it stand on its next layer.
func (r *Runtime) restand(ctx context.Context, sn snapshots.Snapshotter, m *member, j journal) error {
	if err := r.stop(ctx, m.slot, m.key, 0); err != nil {
		return err
	}
	m.pid = 0
	next, err := r.prepareNext(ctx, sn, m, j)
	if err != nil {
		return err
	}
	last, err := r.layerDir(ctx, sn, j.ID)
	if err != nil {
		return err
	}
	_, err = r.moveOn(ctx, m, j, next, last)
	return err
}

// exchanged reports whether the snapshot's layer has the container's directory.
func (r *Runtime) exchanged(ctx context.Context, sn snapshots.Snapshotter, j journal) (bool, error) {
	if m, err := sn.Mounts(ctx, j.Stage); err == nil { // not committed yet
		dir, err := upperDir(m)
		return err == nil && inode(dir) == j.Inode, err
	}
	if _, err := sn.Stat(ctx, j.ID); errdefs.IsNotFound(err) {
		return false, nil
	}
	dir, err := r.layerDir(ctx, sn, j.ID)
	return err == nil && inode(dir) == j.Inode, err
}

// entryOf is the record of a snapshot whose commit was cut short.
func (r *Runtime) entryOf(ctx context.Context, sn snapshots.Snapshotter, m *member, j journal) (snapstore.Entry, error) {
	if e, ok := r.snaps.ByID(m.rec.Spec.Ref.Bot, j.ID); ok {
		return e, nil
	}
	info, err := sn.Stat(ctx, j.ID)
	if err != nil {
		return snapstore.Entry{}, engineError("find a layer", err)
	}
	e := snapstore.Entry{ID: j.ID, Bot: m.rec.Spec.Ref.Bot, Name: j.Name, Under: info.Parent, Record: snapstore.Record{
		Container: m.rec.Spec.Ref.ID, Spec: m.rec.Spec, ImageEnv: m.rec.ImageEnv, Parent: j.Parent,
		Origin: j.Origin, Note: j.Note, Created: info.Created, Source: sourceOf(m),
	}}
	dir, err := r.layerDir(ctx, sn, j.ID)
	if err != nil {
		return e, err
	}
	rootBytes, rootFiles, err1 := copier.Usage(ctx, dir)
	dataBytes, dataFiles, err2 := copier.Usage(ctx, r.snaps.Data(j.ID))
	e.Record.RootBytes, e.Record.DataBytes, e.Record.Files = rootBytes, dataBytes, rootFiles+dataFiles
	return e, errors.Join(err1, err2)
}
