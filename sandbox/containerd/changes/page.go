package changes

import (
	"context"
	"errors"
	"path"
	"strings"

	"moorage/sandbox"
	"moorage/sandbox/containerd/layers"
)

// Compare tells a page of what changed from one side to the other. mounts are where
// the data is in the containers; it is told under the first. own is a directory of
// the containers that is none of the bot's business.
func Compare(ctx context.Context, req sandbox.DiffRequest, from, to *Side, mounts []string, own string) (sandbox.Diff, error) {
	p := &page{req: req, from: from, to: to, mounts: mounts, own: own}
	err := p.fill(ctx)
	return p.Diff, err
}

// page gathers the changes that are asked for and counts all.
type page struct {
	sandbox.Diff
	req      sandbox.DiffRequest
	from, to *Side
	mounts   []string // where the data is in the container
	own      string   // a directory of the container that is not the bot's
	patched  int      // bytes
}

// fill walks both halves in the order of paths: the data has its place among the
// root filesystem's.
func (p *page) fill(ctx context.Context) error {
	want := path.Clean("/" + p.req.Path)
	at := p.mounts[0]
	doData := func() error {
		below, ok := within(at, want)
		if at == "" || !ok {
			return nil
		}
		mount := at
		at = "" // once
		return layers.Changes(ctx, p.from.data, p.to.data, layers.Options{Path: below, Unchanged: p.to.DataSame}, func(c layers.Change) error {
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
	err := layers.Changes(ctx, p.from.root, p.to.root, layers.Options{Path: want, Unchanged: p.to.RootSame}, func(c layers.Change) error {
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
	if isBelow(name, p.own) {
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
