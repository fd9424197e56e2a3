package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// group is a container and those that share its data, with their locks and
// their bot's held, so that none of them starts, stops, comes or goes.
type group struct {
	ref     Ref
	members []Status // itself too, by id
	unlock  func()
}

// lockGroup locks the bot, has which say the container, and locks that and all
// that share its data.
func (m *Manager) lockGroup(ctx context.Context, bot Bot, which func() (ContainerID, error)) (_ *group, err error) {
	unlockBot, err := m.lockNames(ctx, bot)
	if err != nil {
		return nil, err
	}
	g := &group{unlock: unlockBot}
	defer func() {
		if err != nil {
			g.unlock()
		}
	}()
	id, err := which()
	if err != nil {
		return nil, err
	}
	g.ref = Ref{bot, id}
	all, err := m.rt.List(ctx, bot)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	if g.members = sharing(all, id); len(g.members) == 0 {
		err := fmt.Errorf("container %s: %w", id, ErrNotFound)
		m.forget(g.ref, err)
		return nil, err
	}
	for i, st := range g.members {
		ref := st.Spec.Ref
		free, err := m.containers.lock(ctx, ref)
		if err != nil {
			return nil, fmt.Errorf("wait for container %s: %w", ref.ID, err)
		}
		g.unlock = both(free, g.unlock)
		// Only now can its state not change.
		if g.members[i], err = m.rt.Status(ctx, ref); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func both(first, then func()) func() {
	return func() { first(); then() }
}

// sharing are the container id and those that share its data, by id; none if it
// is not among all.
func sharing(all []Status, id ContainerID) []Status {
	i := slices.IndexFunc(all, func(st Status) bool { return st.Spec.Ref.ID == id })
	if i < 0 {
		return nil
	}
	if all[i].Spec.OwnData {
		return []Status{all[i]}
	}
	var out []Status
	for _, st := range all {
		if !st.Spec.OwnData {
			out = append(out, st)
		}
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Spec.Ref.ID, b.Spec.Ref.ID) })
	return out
}

func (m *Manager) lockBot(ctx context.Context, bot Bot) (unlock func(), err error) {
	unlock, err = m.bots.lock(ctx, bot)
	if err != nil {
		return nil, fmt.Errorf("wait for the containers of this bot: %w", err)
	}
	return unlock, nil
}

// lockNames is lockBot for what may hold it long. The bot's current container is
// known from then on, so that calls without an id do not wait for the lock.
func (m *Manager) lockNames(ctx context.Context, bot Bot) (unlock func(), err error) {
	unlock, err = m.lockBot(ctx, bot)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	_, known := m.current[bot]
	m.mu.Unlock()
	if known {
		return unlock, nil
	}
	if _, err := m.lookUpCurrent(ctx, bot); err != nil && !errors.Is(err, ErrNotFound) {
		unlock()
		return nil, err
	}
	return unlock, nil
}
