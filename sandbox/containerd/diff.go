package containerd

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/containerd/containerd/v2/core/snapshots"
	"golang.org/x/sys/unix"

	"moorage/sandbox"
	"moorage/sandbox/containerd/layers"
	"moorage/sandbox/containerd/ocispec"
	"moorage/sandbox/containerd/snapstore"
)

// DiffSnapshot compares a snapshot with another one or with the present; see
// sandbox.Snapshots.
func (r *Runtime) DiffSnapshot(ctx context.Context, req sandbox.DiffRequest) (sandbox.Diff, error) {
	return r.compare(r.namespaced(ctx), req)
}

// side is what is compared: a root filesystem and data.
type side struct {
	root *layers.Stack
	data *layers.Stack
}

func (s *side) close() {
	for _, st := range []*layers.Stack{s.root, s.data} {
		if st != nil {
			st.Close()
		}
	}
}

// views opens a side's directories.
func views(root []string, data string) (s *side, err error) {
	s = &side{}
	if s.root, err = layers.OpenStack(root...); err == nil {
		s.data, err = layers.OpenPlain(data)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (r *Runtime) compare(ctx context.Context, req sandbox.DiffRequest) (d sandbox.Diff, err error) {
	from, err := r.snaps.Get(req.Bot, req.From)
	if err != nil {
		return d, err
	}
	sn := r.client.SnapshotService(from.Record.Spec.Snapshotter)
	a, err := r.snapshotSide(ctx, sn, from)
	if err != nil {
		return d, err
	}
	defer a.close()
	b, present, err := r.otherSide(ctx, sn, from, req)
	if err != nil {
		return d, err
	}
	defer b.close()
	p := &page{req: req, from: a, to: b, mounts: r.opts.DataMounts}
	root, data := r.known(from, present)
	if err := p.fill(ctx, root, data); err != nil {
		return d, err
	}
	return p.Diff, nil
}

func (r *Runtime) snapshotSide(ctx context.Context, sn snapshots.Snapshotter, e snapstore.Entry) (*side, error) {
	root, err := r.stackOf(ctx, sn, e.ID)
	if err != nil {
		return nil, err
	}
	return views(root, r.snaps.Data(e.ID))
}

// otherSide is another snapshot, or the present state of a container.
func (r *Runtime) otherSide(ctx context.Context, sn snapshots.Snapshotter, from snapstore.Entry, req sandbox.DiffRequest) (s *side, present bool, err error) {
	if req.To != "" {
		to, err := r.snaps.Get(req.Bot, req.To)
		if err != nil {
			return nil, false, err
		}
		if to.Record.Spec.Snapshotter != from.Record.Spec.Snapshotter {
			return nil, false, fmt.Errorf("%w: they are of two snapshotters", sandbox.ErrUnsupported)
		}
		s, err = r.snapshotSide(ctx, sn, to)
		return s, false, err
	}
	ref := sandbox.Ref{Bot: req.Bot, ID: req.Container}
	if ref.ID == "" {
		ref.ID = from.Record.Container
	}
	c, err := r.load(ctx, ref)
	if err != nil {
		return nil, false, err
	}
	rec, err := decode(c)
	if err != nil {
		return nil, false, err
	}
	root, err := stackOfActive(ctx, sn, rec.snapshot)
	if err != nil {
		return nil, false, err
	}
	s, err = views(root, r.dataDirOf(c.ID, rec))
	return s, true, err
}

// known says of files of which the snapshot is a copy that they are as they were.
func (r *Runtime) known(from snapstore.Entry, present bool) (root, data func(string, *unix.Stat_t, *unix.Stat_t) bool) {
	if !present {
		return nil, nil
	}
	if rec := r.snaps.LoadRoot(from.ID); rec != nil {
		root = func(p string, _, to *unix.Stat_t) bool { return rec.Unchanged(strings.TrimPrefix(p, "/"), to) }
	}
	if rec := r.snaps.LoadData(from.ID); rec != nil {
		data = func(p string, _, to *unix.Stat_t) bool { return rec.Unchanged(strings.TrimPrefix(p, "/"), to) }
	}
	return root, data
}

// page gathers the changes that are asked for and counts all.
type page struct {
	sandbox.Diff
	req      sandbox.DiffRequest
	from, to *side
	mounts   []string // where the data is in the container
	patched  int      // bytes
}

// fill walks both halves in the order of paths: the data has its place among the
// root filesystem's.
func (p *page) fill(ctx context.Context, root, data func(string, *unix.Stat_t, *unix.Stat_t) bool) error {
	want := path.Clean("/" + p.req.Path)
	at := p.mounts[0]
	doData := func() error {
		below, ok := within(at, want)
		if at == "" || !ok {
			return nil
		}
		mount := at
		at = "" // once
		return p.walk(ctx, p.from.data, p.to.data, layers.Options{Path: below, Unchanged: data}, func(c layers.Change) error {
			if c.Path == "/" {
				c.Path = ""
			}
			c.Path = mount + c.Path
			return p.add(ctx, c, p.from.data, p.to.data, mount)
		})
	}
	if _, inData := within(p.mounts[0], want); inData && want != "/" && isBelow(want, p.mounts[0]) {
		return doData()
	}
	err := p.walk(ctx, p.from.root, p.to.root, layers.Options{Path: want, Unchanged: root}, func(c layers.Change) error {
		if at != "" && before(at, c.Path) {
			if err := doData(); err != nil {
				return err
			}
		}
		if p.hidden(c.Path) {
			return nil
		}
		return p.add(ctx, c, p.from.root, p.to.root, "")
	})
	return errors.Join(err, doData())
}

func (p *page) walk(ctx context.Context, from, to *layers.Stack, o layers.Options, yield func(layers.Change) error) error {
	return layers.Changes(ctx, from, to, o, yield)
}

// within is which part of what is mounted at a place lies at want or below.
func within(mount, want string) (below string, ok bool) {
	if isBelow(mount, want) {
		return "/", true
	}
	if isBelow(want, mount) {
		return "/" + strings.TrimPrefix(strings.TrimPrefix(want, mount), "/"), true
	}
	return "", false
}

// isBelow reports whether p is dir or lies below it.
func isBelow(p, dir string) bool {
	return dir == "/" || p == dir || strings.HasPrefix(p, dir+"/")
}

// before reports whether a comes before b in the order of a walk: by names.
func before(a, b string) bool {
	return strings.ReplaceAll(a, "/", "\x00") < strings.ReplaceAll(b, "/", "\x00")
}

// hidden are places of the root filesystem that something else is mounted over.
func (p *page) hidden(name string) bool {
	if isBelow(name, ocispec.Dir) {
		return true
	}
	for _, m := range p.mounts {
		if isBelow(name, m) {
			return true
		}
	}
	return false
}

// add counts a change, and keeps it if it is on the page.
func (p *page) add(ctx context.Context, c layers.Change, from, to *layers.Stack, mount string) error {
	switch c.Kind {
	case sandbox.Added:
		p.Added++
	case sandbox.Modified:
		p.Modified++
	case sandbox.Deleted:
		p.Deleted++
	}
	n := p.Total
	p.Total++
	if n < p.req.Offset || len(p.Changes) >= p.req.Limit {
		return nil
	}
	out := sandbox.Change{Kind: c.Kind, Path: c.Path, Dir: c.Dir(), Size: c.Size()}
	if p.req.Patch && !out.Dir {
		if err := p.patch(ctx, &out, c, from, to, mount); err != nil {
			return err
		}
	}
	p.Changes = append(p.Changes, out)
	return nil
}

// patch adds a change's unified diff, as long as there is room for more.
func (p *page) patch(ctx context.Context, out *sandbox.Change, c layers.Change, from, to *layers.Stack, mount string) (err error) {
	room := p.req.MaxPatch - p.patched
	if room <= 0 {
		out.PatchNote = "left out: the diffs before it have filled the result"
		return nil
	}
	name := c.Path
	c.Path = "/" + strings.TrimPrefix(strings.TrimPrefix(c.Path, mount), "/")
	if out.Patch, out.PatchNote, err = layers.Patch(ctx, from, to, c, name, room); err != nil {
		return err
	}
	p.patched += len(out.Patch)
	return nil
}
