package sandbox

import (
	"context"
	"fmt"
	"io"
)

// ExportSnapshot writes a snapshot as an OCI image tar. It is an operator's
// call; no tool offers it.
func (m *Manager) ExportSnapshot(ctx context.Context, bot Bot, name SnapshotName, w io.Writer) error {
	s, err := m.snapshots()
	if err != nil {
		return err
	}
	if _, err := m.snapshot(ctx, s, bot, name); err != nil {
		return err
	}
	if err := s.ExportSnapshot(ctx, bot, name, w); err != nil {
		return fmt.Errorf("export snapshot %s: %w", name, err)
	}
	return nil
}

// ImportSnapshot makes a snapshot of an OCI image tar. It is an operator's call;
// no tool offers it. When ctx ends it is given up. Until the tar is read the bot
// creates and deletes no container.
func (m *Manager) ImportSnapshot(ctx context.Context, bot Bot, name SnapshotName, tar io.Reader) (Snapshot, error) {
	s, err := m.snapshots()
	if err != nil {
		return Snapshot{}, err
	}
	unlock, err := m.lockNames(ctx, bot)
	if err != nil {
		return Snapshot{}, err
	}
	defer unlock()
	what := fmt.Sprintf("import snapshot %s", name)
	if err := m.roomForSnapshot(ctx, s, bot, name, what); err != nil {
		return Snapshot{}, err
	}
	sn, err := s.ImportSnapshot(ctx, bot, name, tar)
	if err != nil {
		return sn, fmt.Errorf("%s: %w", what, err)
	}
	m.opts.Log.Info("imported snapshot", "bot", bot, "snapshot", name)
	return sn, nil
}
