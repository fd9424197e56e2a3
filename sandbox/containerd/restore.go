package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"moorage/sandbox"
	"moorage/sandbox/containerd/snapstore"
	"moorage/sandbox/copier"
)

// RestoreSnapshot puts a container back; see sandbox.Snapshots. The data of the
// snapshot is copied; the present data becomes that of the snapshot which keeps
// the state before, by a rename, and so does the active layer, by a commit.
func (r *Runtime) RestoreSnapshot(ctx context.Context, req sandbox.RestoreRequest) (sandbox.Snapshot, error) {
	ctx = r.namespaced(ctx)
	g, err := r.lockGroup(ctx, req.Ref)
	if err != nil {
		return sandbox.Snapshot{}, err
	}
	defer g.release()
	if err := g.mustBeStopped(); err != nil {
		return sandbox.Snapshot{}, err
	}
	m := g.target
	to, err := r.snaps.Get(req.Ref.Bot, req.Name)
	if err != nil {
		return sandbox.Snapshot{}, err
	}
	if _, err := r.snaps.Get(req.Ref.Bot, req.Before); err == nil {
		return sandbox.Snapshot{}, fmt.Errorf("snapshot %s: %w", req.Before, sandbox.ErrAlreadyExists)
	}
	if to.Record.Spec.Snapshotter != m.rec.Spec.Snapshotter {
		return sandbox.Snapshot{}, fmt.Errorf("%w: the snapshot is of snapshotter %s, the container of %s", sandbox.ErrUnsupported, to.Record.Spec.Snapshotter, m.rec.Spec.Snapshotter)
	}
	e, err := r.restore(ctx, m, to, req)
	if err != nil {
		return sandbox.Snapshot{}, noSpace(err)
	}
	return e.Snapshot(), nil
}

func (g *group) mustBeStopped() error {
	if len(g.running()) > 0 {
		ids := g.others()
		if g.target.pid != 0 {
			ids = append(ids, g.target.rec.Spec.Ref.ID)
		}
		return fmt.Errorf("%w: %v run, and have its files in use", sandbox.ErrConflict, ids)
	}
	return nil
}

func (r *Runtime) restore(ctx context.Context, m *member, to snapstore.Entry, req sandbox.RestoreRequest) (_ snapstore.Entry, err error) {
	sn := r.client.SnapshotService(m.rec.Spec.Snapshotter)
	j := journal{
		Op: opRestore, ID: snapstore.NewID(), Old: m.rec.snapshot, Next: snapshotName(m.key), To: to.ID,
		Name: req.Before, Origin: sandbox.OriginRestore, Note: req.Note, Created: time.Now().UTC(),
		Parent: r.parentName(ctx, sn, req.Ref.Bot, m.rec.snapshot),
	}
	r.step("begin restore")
	if err := r.begin(ctx, m.key, j); err != nil {
		return snapstore.Entry{}, err
	}
	if err := r.prepareRestore(ctx, m, &j); err != nil {
		r.undo(ctx, "undo restore", func(ctx context.Context) error { return r.undoRestore(ctx, m, j) })
		return snapstore.Entry{}, err
	}
	j.Go = true
	r.step("decide restore")
	if err := r.begin(ctx, m.key, j); err != nil {
		r.undo(ctx, "finish or undo restore", func(ctx context.Context) error { return r.recovered(ctx, m) })
		return snapstore.Entry{}, err
	}
	// From here on there is no way back.
	return r.finishRestore(context.WithoutCancel(ctx), m, j)
}

// prepareRestore makes what will take the place of the present state.
func (r *Runtime) prepareRestore(ctx context.Context, m *member, j *journal) error {
	bot := m.rec.Spec.Ref.Bot
	if err := r.makeData(m.key, m.rec); err != nil {
		return err
	}
	if err := r.snaps.MakeTmp(j.ID); err != nil {
		return err
	}
	if err := r.limitDisk(bot, r.snaps.Tmp(j.ID)); err != nil {
		return err
	}
	r.step("copy data back")
	if _, err := copier.Tree(ctx, r.snaps.Tmp(j.ID), r.snaps.Data(j.To), copier.Options{}); err != nil {
		return err
	}
	r.step("measure data")
	var err error
	if j.DataBytes, j.DataFiles, err = copier.Usage(ctx, r.dataDirOf(m.key, m.rec)); err != nil {
		return err
	}
	r.step("prepare restored layer")
	sn := r.client.SnapshotService(m.rec.Spec.Snapshotter)
	return r.continueLayer(ctx, sn, bot, m.key, j.Next, j.To)
}

// undoRestore leaves everything as it was before.
func (r *Runtime) undoRestore(ctx context.Context, m *member, j journal) error {
	sn := r.client.SnapshotService(m.rec.Spec.Snapshotter)
	return errors.Join(r.removeLayer(ctx, sn, j.Next), r.snaps.RemoveTmp(ctx, j.ID), r.snaps.RemoveTree(ctx, j.ID), r.conclude(ctx, m.key))
}

// finishRestore makes the switch. Each step can find that it was done already.
func (r *Runtime) finishRestore(ctx context.Context, m *member, j journal) (snapstore.Entry, error) {
	if err := r.moveData(r.dataDirOf(m.key, m.rec), j.ID); err != nil {
		return snapstore.Entry{}, err
	}
	e, err := r.commitBefore(ctx, m, j)
	if err != nil {
		return e, err
	}
	r.step("record restored layer")
	rec := m.rec
	rec.snapshot = j.Next
	if to, ok := r.snaps.ByID(m.rec.Spec.Ref.Bot, j.To); ok { // an image of another container's may come with it
		rec.Spec.Image, rec.ImageEnv = to.Record.Spec.Image, to.Record.ImageEnv
	}
	if err := r.replaceRecord(ctx, m, rec); err != nil {
		return e, err
	}
	r.snaps.Published(e)
	return e, nil
}

// moveData puts the present data into the snapshot and the restored data into its
// place.
func (r *Runtime) moveData(data, id string) error {
	r.step("move data away")
	kept, restored := r.snaps.Data(id), r.snaps.Tmp(id)
	if !exists(kept) {
		if err := os.MkdirAll(filepath.Dir(kept), 0o700); err != nil {
			return fmt.Errorf("keep data: %w", err)
		}
		if err := os.Rename(data, kept); err != nil {
			return fmt.Errorf("keep data: %w", err)
		}
	}
	r.step("move data back")
	if !exists(data) {
		if err := os.Rename(restored, data); err != nil {
			return fmt.Errorf("put data back: %w", err)
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// commitBefore makes the state before the restore a snapshot.
func (r *Runtime) commitBefore(ctx context.Context, m *member, j journal) (snapstore.Entry, error) {
	sn := r.client.SnapshotService(m.rec.Spec.Snapshotter)
	e := snapstore.Entry{ID: j.ID, Bot: m.rec.Spec.Ref.Bot, Name: j.Name, Record: snapstore.Record{
		Container: m.rec.Spec.Ref.ID, Spec: m.rec.Spec, ImageEnv: m.rec.ImageEnv, Parent: j.Parent, Origin: j.Origin,
		Note: j.Note, Created: j.Created, Source: sourceOf(m), DataBytes: j.DataBytes, Files: j.DataFiles,
	}}
	if mounts, err := sn.Mounts(ctx, j.Old); err == nil {
		dir, err := upperDir(mounts)
		if err != nil {
			return e, err
		}
		size, err := copier.Measure(ctx, dir)
		if err != nil {
			return e, err
		}
		e.Record.RootBytes, e.Record.Unlinked = size.Bytes, size.Linked == 0
		e.Record.Files += size.Files
		labels, err := e.Labels(r.instance)
		if err != nil {
			return e, err
		}
		r.step("commit state before")
		return e, engineError("commit a layer", sn.Commit(ctx, j.ID, j.Old, snapshots.WithLabels(labels)))
	} else if !errdefs.IsNotFound(err) {
		return e, engineError("find root filesystem", err)
	}
	kept, ok := r.snaps.ByID(e.Bot, j.ID) // committed by an earlier try
	if !ok {
		return e, fmt.Errorf("the layer %s of the state before is gone", j.Old)
	}
	return kept, nil
}

// recoverRestore finishes or undoes a restore that was cut short.
func (r *Runtime) recoverRestore(ctx context.Context, m *member, j journal) error {
	if !j.Go {
		return r.undoRestore(ctx, m, j)
	}
	_, err := r.finishRestore(ctx, m, j)
	return err
}

// replaceRecord writes a container's record anew, without a journal.
func (r *Runtime) replaceRecord(ctx context.Context, m *member, rec record) error {
	c, err := r.container(m.key, rec)
	if err != nil {
		return err
	}
	if _, err := r.client.ContainerService().Update(ctx, c, "labels", "spec", "image"); err != nil {
		return engineError("write record", err)
	}
	return r.reload(ctx, m)
}
