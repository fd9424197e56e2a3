package containerd

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"

	"moorage/sandbox"
)

// member is a container of a group, with its slot held.
type member struct {
	key  string
	slot *slot
	c    containers.Container
	rec  record
	pid  int // of the agent on the host; 0 when it does not run

	// quiet: it runs, but nothing in it does anything. Set by still.
	quiet bool
}

// talk changes with what is asked of the agent and what it answers, see door.Talk.
func (m *member) talk() uint64 {
	if d := m.slot.current(); d != nil {
		return d.Talk()
	}
	return 0
}

// group is a container and all others that share its data. Their slots are held,
// so none of them starts, stops or goes.
type group struct {
	target *member
	all    []*member // sorted by key
	r      *Runtime
}

// lockGroup locks a container's group. What an earlier change of one of them has
// left is finished or undone first.
func (r *Runtime) lockGroup(ctx context.Context, ref sandbox.Ref) (_ *group, err error) {
	c, err := r.load(ctx, ref)
	if err != nil {
		return nil, err
	}
	rec, err := decode(c)
	if err != nil {
		return nil, err
	}
	keys := []string{c.ID}
	if !rec.Spec.OwnData {
		if keys, err = r.sharers(ctx, ref.Bot); err != nil {
			return nil, err
		}
	}
	g := &group{r: r}
	defer func() {
		if err != nil {
			g.release()
		}
	}()
	for _, key := range keys {
		m, err := r.lockMember(ctx, key)
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue // deleted meanwhile
		}
		g.all = append(g.all, m)
		if key == c.ID {
			g.target = m
		}
	}
	if g.target == nil {
		return nil, fmt.Errorf("container %s: %w", ref.ID, sandbox.ErrNotFound)
	}
	return g, nil
}

// sharers are the keys, sorted, of a bot's containers that share its data.
func (r *Runtime) sharers(ctx context.Context, bot sandbox.Bot) ([]string, error) {
	all, err := r.loadAll(ctx, bot)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, c := range all {
		rec, err := decode(c)
		if err != nil {
			return nil, err
		}
		if !rec.Spec.OwnData {
			keys = append(keys, c.ID)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

// lockMember takes a slot and reads the record under it; nil if it is gone.
func (r *Runtime) lockMember(ctx context.Context, key string) (_ *member, err error) {
	s, err := r.acquire(ctx, key)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.release(key, s)
		}
	}()
	m := &member{key: key, slot: s}
	if err := r.reload(ctx, m); errdefs.IsNotFound(err) {
		r.release(key, s)
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if err := r.recovered(ctx, m); err != nil {
		return nil, err
	}
	if d := s.current(); d != nil && d.IsOpen() {
		m.pid = int(d.Admitted())
	}
	return m, nil
}

// reload reads a member's record anew. What is gone is containerd's not found.
func (r *Runtime) reload(ctx context.Context, m *member) (err error) {
	if m.c, err = r.client.ContainerService().Get(ctx, m.key); err != nil {
		if errdefs.IsNotFound(err) {
			return err
		}
		return engineError("find container", err)
	}
	m.rec, err = decode(m.c)
	return err
}

func (g *group) release() {
	for _, m := range g.all {
		g.r.release(m.key, m.slot)
	}
}

// running are those that run.
func (g *group) running() []*member {
	var out []*member
	for _, m := range g.all {
		if m.pid != 0 {
			out = append(out, m)
		}
	}
	return out
}

// others are the ids of the running ones but the target, sorted.
func (g *group) others() []sandbox.ContainerID {
	var ids []sandbox.ContainerID
	for _, m := range g.running() {
		if m != g.target {
			ids = append(ids, m.rec.Spec.Ref.ID)
		}
	}
	slices.SortFunc(ids, func(a, b sandbox.ContainerID) int { return cmp.Compare(a, b) })
	return ids
}
