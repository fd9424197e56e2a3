package states

import (
	"context"
	"errors"
	"fmt"
	"time"

	"moorage/sandbox"
	"moorage/sandbox/containerd/layertar"
)

// Scene is what is kept.
type Scene struct {
	Data   bool  `json:"data"`   // in the data, not the root filesystem
	Files  int   `json:"files"`  // how many, 100 in a directory; of one it is random bytes
	Size   int64 `json:"size"`   // bytes of each
	Rounds int   `json:"rounds"` // that count, at most
	Warm   bool  `json:"warm"`   // with one more before them
	Layers int   `json:"layers"` // how many of the engine's layers are made: it can be slow

	Limit time.Duration `json:"limit"` // no round but the first begins later than this after the files are there
}

// Result is how long each of the calls of an op took, in nanoseconds.
type Result map[string][]time.Duration

// The ops of a scene. A snapshot's, with Paused after it, are how long it kept the
// container from working.
const (
	Quiet   = "quiet"
	Busy    = "busy"
	Again   = "again"
	Paused  = " paused"
	Layer   = "layer"
	Fork    = "fork"
	Create  = "create"
	DiffAll = "diff all"
	DiffOne = "diff one"
	Restore = "restore"
)

func (r Result) add(op string, d time.Duration) { r[op] = append(r[op], d) }

// scene is a Scene under way.
type scene struct {
	Scene
	*box
	result Result
	layers int
}

const emptyName = "empty" // the snapshot before the files are made

// scene plays a Scene with a container of bot.
func (e *engine) scene(ctx context.Context, bot sandbox.Bot, s Scene) (_ Result, err error) {
	b, err := e.newBox(ctx, bot, s.Data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.drop(b.ref)) }()
	p := &scene{Scene: s, box: b, result: Result{}}
	if _, err := b.TakeSnapshot(ctx, bot, b.ref.ID, emptyName, ""); err != nil {
		return nil, err
	}
	if err := b.fill(ctx, s.Files, s.Size); err != nil {
		return nil, err
	}
	begun := time.Now()
	if s.Warm {
		if err := p.round(ctx); err != nil {
			return nil, err
		}
		p.result, p.layers = Result{}, 0
	}
	for n := range s.Rounds {
		if n > 0 && time.Since(begun) > s.Limit {
			break
		}
		if err := p.round(ctx); err != nil {
			return nil, err
		}
	}
	return p.result, nil
}

// round does each op once.
func (p *scene) round(ctx context.Context) error {
	const kept, again = "kept", "again"
	steps := []func(context.Context) error{
		p.busy,
		p.layer,
		func(ctx context.Context) error { return p.take(ctx, Quiet, kept) },
		p.change,
		func(ctx context.Context) error { return p.take(ctx, Again, again) },
		func(ctx context.Context) error { return p.remove(ctx, again) },
		func(ctx context.Context) error { return p.create(ctx, Fork, kept) },
		func(ctx context.Context) error { return p.create(ctx, Create, "") },
		func(ctx context.Context) error { return p.diff(ctx, DiffAll, emptyName, kept, p.Files) },
		func(ctx context.Context) error { return p.diff(ctx, DiffOne, kept, "", 1) },
		func(ctx context.Context) error { return p.restore(ctx, kept) },
		func(ctx context.Context) error { return p.remove(ctx, kept) },
		p.touch,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// take keeps the container's state under a name.
func (p *scene) take(ctx context.Context, op string, name sandbox.SnapshotName) error {
	begun := time.Now()
	t, err := p.TakeSnapshot(ctx, p.ref.Bot, p.ref.ID, name, "")
	if err != nil {
		return err
	}
	p.result.add(op, time.Since(begun))
	p.result.add(op+Paused, t.Paused)
	return nil
}

func (p *scene) remove(ctx context.Context, name sandbox.SnapshotName) error {
	_, err := p.DeleteSnapshot(ctx, p.ref.Bot, name)
	return errors.Join(err, p.sync())
}

func (p *scene) busy(ctx context.Context) (err error) {
	end, err := p.box.busy(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	if err := p.take(ctx, Busy, Busy); err != nil {
		return err
	}
	return p.remove(ctx, Busy)
}

// layer makes the engine's layer of the same root filesystem.
func (p *scene) layer(ctx context.Context) error {
	if p.layers >= p.Layers || p.Data {
		return nil
	}
	p.layers++
	st, err := p.Status(ctx, p.ref)
	if err != nil {
		return err
	}
	begun := time.Now()
	l, err := layertar.Make(ctx, p.in.Client(), namespace, st.Spec.Snapshotter, st.SnapshotKey)
	if err != nil {
		return err
	}
	p.result.add(Layer, time.Since(begun))
	return errors.Join(layertar.Remove(ctx, p.in.Client(), namespace, l), p.sync())
}

// create makes a container, from a snapshot if one is named, runs true in it and
// deletes it.
func (p *scene) create(ctx context.Context, op string, from sandbox.SnapshotName) error {
	ref := sandbox.Ref{Bot: p.ref.Bot, ID: "other"}
	begun := time.Now()
	if _, err := p.Create(ctx, sandbox.CreateRequest{Bot: ref.Bot, ID: ref.ID, FromSnapshot: from}, nil); err != nil {
		return err
	}
	if err := p.sh(ctx, ref.ID, "true"); err != nil {
		return err
	}
	p.result.add(op, time.Since(begun))
	return errors.Join(p.Delete(ctx, ref, false), p.sync())
}

// diff compares, and makes sure that it finds as much as there must be.
func (p *scene) diff(ctx context.Context, op string, from, to sandbox.SnapshotName, least int) error {
	begun := time.Now()
	d, err := p.Diff(ctx, sandbox.DiffRequest{Bot: p.ref.Bot, From: from, To: to, Limit: 200})
	if err != nil {
		return err
	}
	p.result.add(op, time.Since(begun))
	if d.Total < least || least == 1 && d.Total > 10 {
		return fmt.Errorf("%s: it found %d changes, not %d", op, d.Total, least)
	}
	return nil
}

// restore puts the running container back.
func (p *scene) restore(ctx context.Context, name sandbox.SnapshotName) error {
	begun := time.Now()
	r, err := p.Restore(ctx, p.ref.Bot, name, p.ref.ID)
	if err != nil {
		return err
	}
	if err := p.sh(ctx, p.ref.ID, "true"); err != nil {
		return err
	}
	p.result.add(Restore, time.Since(begun))
	return p.remove(ctx, r.Before.Name)
}
