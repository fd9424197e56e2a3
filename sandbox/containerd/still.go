package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/containers"

	"moorage/sandbox"
	"moorage/sandbox/containerd/freezer"
	"moorage/sandbox/containerd/swaproot"
)

// processes are those of a container. They are in one cgroup of each hierarchy,
// and cannot leave it; the one is looked at by which they are frozen.
func (r *Runtime) processes(key string) []int {
	for _, hierarchy := range []string{"freezer", "unified", "."} {
		dir := filepath.Join(cgroupRoot, hierarchy, r.cgroupParent(), key)
		if pids := processesIn(dir); len(pids) > 0 {
			return pids
		}
	}
	return nil
}

// still makes sure that nothing changes in the members until go on is called.
// If their agents' operations are held back, those in which nothing else runs are
// still by that; they are marked quiet. The others are frozen.
func (r *Runtime) still(ctx context.Context, members []*member, held bool) (goOn func() error, err error) {
	var dirs []string
	for _, m := range members {
		m.quiet = held && r.isQuiet(m)
		if !m.quiet {
			dirs = append(dirs, r.cgroupDirs(m.key)...)
		}
	}
	frozen, err := freezer.Freeze(ctx, dirs)
	if err != nil {
		return nil, fmt.Errorf("freeze: %w: %w", sandbox.ErrUnavailable, err)
	}
	return frozen.Thaw, nil
}

// isQuiet reports whether only the agent runs in a container and uses nothing of
// its root filesystem.
func (r *Runtime) isQuiet(m *member) bool {
	err := swaproot.Quiet(m.pid, func() ([]int, error) { return r.processes(m.key), nil })
	if err != nil {
		r.log.Debug("container is not quiet", "bot", m.rec.Spec.Ref.Bot, "container", m.rec.Spec.Ref.ID, "why", err)
	}
	return err == nil
}

// swap puts a new active layer's filesystem under a running agent. old is to be
// closed when the container goes on, see swaproot.Swap.
func (r *Runtime) swap(ctx context.Context, m *member, active string) (old *os.File, err error) {
	rec := m.rec
	rec.snapshot = active
	root, err := r.detached(ctx, m.key, rec)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return swaproot.Swap(m.pid, root, m.rec.ids.Base)
}

// recovered finishes or undoes what a change has left half done. The slot is held.
func (r *Runtime) recovered(ctx context.Context, m *member) error {
	j, err := parseJournal(m.c)
	if err != nil || j == nil {
		return err
	}
	r.log.Info("finish or undo what was left half done", "bot", m.rec.Spec.Ref.Bot, "container", m.rec.Spec.Ref.ID, "op", j.Op)
	switch j.Op {
	case opCommit:
		err = r.recoverCommit(ctx, m, *j)
	case opRestore:
		err = r.recoverRestore(ctx, m, *j)
	default:
		err = errors.New("it is of a newer version")
	}
	if err != nil {
		return fmt.Errorf("finish what was begun in container %s (%s): %w", m.rec.Spec.Ref.ID, j.Op, err)
	}
	return r.reload(ctx, m)
}

// settled is recovered for a container of which no more is known.
func (r *Runtime) settled(ctx context.Context, s *slot, c containers.Container) (containers.Container, error) {
	m := &member{key: c.ID, slot: s, c: c}
	var err error
	if m.rec, err = decode(c); err == nil {
		err = r.recovered(ctx, m)
	}
	return m.c, err
}
