package sandbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// restoreGrace is how long the processes of containers have to end before a
// restore.
const restoreGrace = 2 * time.Second

// Restored is a container that was put back.
type Restored struct {
	Ref      Ref
	Snapshot Snapshot      // to which it was put back
	Before   Snapshot      // keeps the state before
	Stopped  []ContainerID // it and those that share its data, as far as they ran
	Started  []ContainerID // of those, what runs again
}

// Restore puts root filesystem and data of a container back to a snapshot: of
// container id, or if id is "" of the one that the snapshot was taken of
// (ErrNotFound if that is gone). The present state is kept as a snapshot first.
// The container and all that share its data are stopped for it, and started
// again, also when it fails: then with the state that they had.
//
// ErrNoSnapshot, and ErrLimit before anything is done. Once begun it is finished
// also when ctx ends, but by ErrGivenUp; the error is then ErrPending.
func (m *Manager) Restore(ctx context.Context, bot Bot, name SnapshotName, id ContainerID) (Restored, error) {
	s, err := m.snapshots()
	if err != nil {
		return Restored{}, err
	}
	var to Snapshot
	g, err := m.lockGroup(ctx, bot, func() (ContainerID, error) {
		to, err = m.snapshot(ctx, s, bot, name)
		if id == "" {
			return to.Spec.Ref.ID, err
		}
		return id, err
	})
	if err != nil {
		return Restored{}, err
	}
	before := beforeRestore(g.ref.ID, time.Now())
	what := fmt.Sprintf("restore snapshot %s in container %s", name, g.ref.ID)
	if err := m.roomForSnapshot(ctx, s, bot, before, what+" and keep the state before"); err != nil {
		g.unlock()
		return Restored{}, err
	}
	r := &restoration{m: m, group: g, what: what, done: Restored{Ref: g.ref, Snapshot: to}}
	pending := fmt.Sprintf("%s, with the state before kept as snapshot %s", what, before)
	return finishOrUndo(ctx, m, pending, g.unlock, func(ctx context.Context) (Restored, error) {
		err := r.run(ctx, func(ctx context.Context) (err error) {
			r.done.Before, err = s.RestoreSnapshot(ctx, RestoreRequest{
				Ref: g.ref, Name: name, Before: before, Note: "state before the restore of " + string(name),
			})
			return err
		})
		return r.done, err
	})
}

// beforeRestore is the name of the snapshot that keeps the state before.
func beforeRestore(id ContainerID, t time.Time) SnapshotName {
	return DefaultSnapshotName(id+"-before-restore", t)
}

// restoration is one restore under way.
type restoration struct {
	m *Manager
	*group
	what string
	done Restored
}

// run stops the group, has restore do its work, and starts what ran again.
func (r *restoration) run(ctx context.Context, restore func(context.Context) error) error {
	begun := time.Now()
	err := r.each(ctx, r.running(), &r.done.Stopped, r.stop)
	if err == nil {
		err = restore(ctx)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", r.what, err)
	}
	if err == nil {
		r.m.opts.Log.Info("restored snapshot", "bot", r.ref.Bot, "container", r.ref.ID, "snapshot", r.done.Snapshot.Name,
			"before", r.done.Before.Name, "dur", time.Since(begun))
	}
	if r.m.closing.Err() != nil {
		return err // containers that are started now would only be left behind
	}
	// What does not start again is started by the next call of it, which then
	// says why it cannot.
	again, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*startTimeout)
	defer cancel()
	if startErr := r.each(again, r.done.Stopped, &r.done.Started, r.start); startErr != nil {
		r.m.opts.Log.Warn("start containers again", "bot", r.ref.Bot, "container", r.ref.ID, "err", startErr)
	}
	return err
}

// running are the members of the group that have processes.
func (r *restoration) running() (ids []ContainerID) {
	for _, st := range r.members {
		if st.State != StateStopped {
			ids = append(ids, st.Spec.Ref.ID)
		}
	}
	return ids
}

// each does something to containers at once, and appends those for which it
// went well, in order.
func (r *restoration) each(ctx context.Context, ids []ContainerID, to *[]ContainerID, do func(context.Context, Ref) error) error {
	var wg sync.WaitGroup
	slots := make(chan struct{}, adoptParallel)
	errs := make([]error, len(ids))
	for i, id := range ids {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = do(ctx, Ref{r.ref.Bot, id})
		})
	}
	wg.Wait()
	for i, id := range ids {
		if errs[i] == nil {
			*to = append(*to, id)
		}
	}
	return errors.Join(errs...)
}

func (r *restoration) stop(ctx context.Context, ref Ref) error {
	defer r.m.drop(ref)
	if err := r.m.rt.Stop(ctx, ref, restoreGrace); err != nil {
		return fmt.Errorf("stop container %s: %w", ref.ID, err)
	}
	return nil
}

func (r *restoration) start(ctx context.Context, ref Ref) error {
	_, err := r.m.start(ctx, ref)
	return err
}
