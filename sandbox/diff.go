package sandbox

import (
	"context"
	"fmt"
	"path"
	"strings"
)

// Diff tells what changed from a snapshot to another or to the present.
// ErrNoSnapshot; ErrNotFound if the container is gone.
func (m *Manager) Diff(ctx context.Context, req DiffRequest) (Diff, error) {
	s, err := m.snapshots()
	if err != nil {
		return Diff{}, err
	}
	for _, name := range []SnapshotName{req.From, req.To} {
		if name == "" {
			continue
		}
		if _, err := m.snapshot(ctx, s, req.Bot, name); err != nil {
			return Diff{}, err
		}
	}
	if req.Path, err = m.underFirstMount(ctx, req.Bot, req.Path); err != nil {
		return Diff{}, err
	}
	d, err := s.DiffSnapshot(ctx, req)
	if err != nil {
		return d, fmt.Errorf("compare snapshot %s: %w", req.From, err)
	}
	return d, nil
}

// underFirstMount is a path in the container by the first of its data mounts, if
// it is below another of them: all show the same.
func (m *Manager) underFirstMount(ctx context.Context, bot Bot, p string) (string, error) {
	if p == "" {
		return "", nil
	}
	all, err := m.rt.List(ctx, bot)
	if err != nil {
		return "", fmt.Errorf("list containers: %w", err)
	}
	for _, st := range all {
		if len(st.DataMounts) > 0 {
			return byFirst(path.Clean(p), st.DataMounts), nil
		}
	}
	return path.Clean(p), nil
}

func byFirst(p string, mounts []string) string {
	for _, mount := range mounts[1:] {
		if below, ok := strings.CutPrefix(p, mount); ok && (below == "" || below[0] == '/') {
			return mounts[0] + below
		}
	}
	return p
}
