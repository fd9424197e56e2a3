package sandbox

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// holdTimeout is how long a snapshot waits for operations in flight to end.
const holdTimeout = 10 * time.Millisecond

// snapshots is the runtime as one that keeps states, if it does.
func (m *Manager) snapshots() (Snapshots, error) {
	s, ok := m.rt.(Snapshots)
	if !ok {
		return nil, fmt.Errorf("snapshots: %w: this server's runtime keeps none", ErrUnsupported)
	}
	return s, nil
}

// TakeSnapshot keeps the root filesystem and the data of one of the bot's
// containers, id, or of its current one if id is "", under name, or under
// DefaultSnapshotName. The container goes on running, or stays stopped.
//
// ErrLimit before anything is done. Once begun it is finished also when ctx
// ends, but by ErrGivenUp; the error is then ErrPending.
func (m *Manager) TakeSnapshot(ctx context.Context, bot Bot, id ContainerID, name SnapshotName, note string) (Taken, error) {
	s, err := m.snapshots()
	if err != nil {
		return Taken{}, err
	}
	if err := checkNote(note); err != nil {
		return Taken{}, err
	}
	g, err := m.lockGroup(ctx, bot, func() (ContainerID, error) { return m.existingID(ctx, bot, id) })
	if err != nil {
		return Taken{}, err
	}
	if name == "" {
		name = DefaultSnapshotName(g.ref.ID, time.Now())
	}
	what := fmt.Sprintf("take snapshot %s of container %s", name, g.ref.ID)
	if err := m.roomForSnapshot(ctx, s, bot, name, what); err != nil {
		g.unlock()
		return Taken{}, err
	}
	req := SnapshotRequest{Ref: g.ref, Name: name, Origin: OriginAsked, Note: note, Hold: func(ctx context.Context) (func(), bool) { return m.hold(ctx, g) }}
	return finishOrUndo(ctx, m, what, g.unlock, func(ctx context.Context) (Taken, error) {
		begun := time.Now()
		t, err := s.TakeSnapshot(ctx, req)
		if err != nil {
			return t, fmt.Errorf("%s: %w", what, err)
		}
		m.opts.Log.Info("took snapshot", "bot", bot, "container", g.ref.ID, "snapshot", name, "paused", t.Paused, "dur", time.Since(begun))
		return t, nil
	})
}

// checkNote refuses a note that is too long or no text.
func checkNote(note string) error {
	switch {
	case len(note) > MaxNote:
		return fmt.Errorf("note %.40q...: %w: it has %d bytes, at most %d are allowed", note, ErrInvalid, len(note), MaxNote)
	case !utf8.ValidString(note) || strings.ContainsRune(note, 0):
		return fmt.Errorf("note %.40q: %w: it is not UTF-8, or has a NUL byte", note, ErrInvalid)
	}
	return nil
}

// existingID is id, or the bot's current container if id is "". Unlike Agent it
// makes none. The bot's lock is held.
func (m *Manager) existingID(ctx context.Context, bot Bot, id ContainerID) (ContainerID, error) {
	if id != "" {
		return id, nil
	}
	m.mu.Lock()
	ref, ok := m.current[bot]
	m.mu.Unlock()
	if ok {
		return ref.ID, nil
	}
	ref, err := m.lookUpCurrent(ctx, bot)
	return ref.ID, err
}

// hold keeps the operations of the group's agents back. It is not quiet, and an
// agent is not held, if what it has in flight does not end soon, and if no client
// is connected to it: then it may still be at work on a lost call.
func (m *Manager) hold(ctx context.Context, g *group) (release func(), quiet bool) {
	ctx, cancel := context.WithTimeout(ctx, holdTimeout)
	defer cancel()
	quiet = true
	var held []func()
	for _, st := range g.members {
		if st.State == StateStopped {
			continue
		}
		c := m.open(st.Spec.Ref)
		if c == nil {
			quiet = false
			continue
		}
		free, err := c.Hold(ctx)
		if err != nil {
			quiet = false
			continue
		}
		held = append(held, free)
	}
	return func() {
		for _, free := range held {
			free()
		}
	}, quiet
}

// ListSnapshots returns the bot's snapshots by creation time, then name: all, or
// those of one container and of one snapshotter.
func (m *Manager) ListSnapshots(ctx context.Context, bot Bot, of ContainerID, snapshotter string) ([]Snapshot, error) {
	s, err := m.snapshots()
	if err != nil {
		return nil, err
	}
	all, err := s.ListSnapshots(ctx, bot)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	out := make([]Snapshot, 0, len(all))
	for _, sn := range all {
		if (of == "" || sn.Spec.Ref.ID == of) && (snapshotter == "" || sn.Spec.Snapshotter == snapshotter) {
			out = append(out, sn)
		}
	}
	return out, nil
}

// DataDir is where relative paths start in a container.
func (m *Manager) DataDir() string { return m.opts.DataDir }

// Snapshotter is the one that containers get whose request names none.
func (m *Manager) Snapshotter() string { return m.opts.Snapshotter }

// snapshot returns one of the bot's. ErrNoSnapshot if it has none of that name.
func (m *Manager) snapshot(ctx context.Context, s Snapshots, bot Bot, name SnapshotName) (Snapshot, error) {
	all, err := s.ListSnapshots(ctx, bot)
	if err != nil {
		return Snapshot{}, fmt.Errorf("list snapshots: %w", err)
	}
	for _, sn := range all {
		if sn.Name == name {
			return sn, nil
		}
	}
	return Snapshot{}, noSnapshot(name)
}

func noSnapshot(name SnapshotName) error {
	return fmt.Errorf("snapshot %s: %w", name, ErrNoSnapshot)
}

// DeleteSnapshot removes a snapshot and returns what it was. ErrNoSnapshot;
// ErrConflict while a container that was forked from it exists. Once begun it is
// finished also when ctx ends; the error is then ErrPending.
func (m *Manager) DeleteSnapshot(ctx context.Context, bot Bot, name SnapshotName) (Snapshot, error) {
	s, err := m.snapshots()
	if err != nil {
		return Snapshot{}, err
	}
	unlock, err := m.lockNames(ctx, bot)
	if err != nil {
		return Snapshot{}, err
	}
	sn, err := m.snapshot(ctx, s, bot, name)
	if err != nil {
		unlock()
		return Snapshot{}, err
	}
	what := fmt.Sprintf("delete snapshot %s", name)
	return finish(ctx, m, what, unlock, func(ctx context.Context) (Snapshot, error) {
		if err := s.DeleteSnapshot(ctx, bot, name); err != nil {
			return Snapshot{}, fmt.Errorf("%s: %w", what, err)
		}
		m.opts.Log.Info("deleted snapshot", "bot", bot, "snapshot", name)
		return sn, nil
	})
}
