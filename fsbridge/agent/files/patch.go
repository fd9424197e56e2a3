package files

import (
	"cmp"
	"context"
	"slices"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// Patch changes, makes, deletes and renames files by the hunks of a diff. All of
// it is prepared in temporary files before the first name changes; when a change
// of a name fails, those before it are undone.
func (t *Tree) Patch(ctx context.Context, req *fsbridge.PatchRequest) (fsbridge.PatchResult, error) {
	p := &patching{t: t, ctx: ctx, req: req, spots: make(map[place]*spot)}
	err := p.run()
	p.end(err)
	if err != nil {
		return fsbridge.PatchResult{}, fsbridge.NewError(fsbridge.OpPatch, req.Path, err)
	}
	return p.res, nil
}

// patching is one Patch under way.
type patching struct {
	t   *Tree
	ctx context.Context
	req *fsbridge.PatchRequest
	res fsbridge.PatchResult

	spots  map[place]*spot
	order  []*spot // in the order of the request
	files  []*patchFile
	unlock []func()
	steps  []nameStep
}

// spot is a name that a patch reads or changes. Two paths that lead to one name
// have one spot.
type spot struct {
	target
	path   fsbridge.Path
	st     unix.Stat_t
	exists bool
	takes  *patchFile // changes, deletes or renames what is there
	gives  *patchFile // puts something there
	temp   *temp      // what is put there
	backup *temp      // where what was there is kept until all is done
	mode   *uint32    // only the mode changes
	linked bool       // what is there gets another name by a link
}

// patchFile is one file of the request.
type patchFile struct {
	*fsbridge.FilePatch
	from, to *spot // nil where there is no old, no new name
	res      fsbridge.PatchedFile
}

func (p *patching) run() error {
	if err := p.parse(); err != nil {
		return err
	}
	for _, f := range p.files {
		if err := p.locate(f); err != nil {
			return err
		}
	}
	if err := p.lock(); err != nil {
		return err
	}
	if err := p.look(); err != nil {
		return err
	}
	for _, f := range p.files {
		if err := p.prepare(f); err != nil {
			return err
		}
		p.res.Files = append(p.res.Files, f.res)
	}
	if p.req.DryRun {
		return p.ctx.Err()
	}
	return p.commit()
}

// locate finds the names of a file.
func (p *patching) locate(f *patchFile) (err error) {
	follow := f.Action == fsbridge.ActionModify || f.Action == fsbridge.ActionCopy
	if f.Old != "" {
		if f.from, err = p.spot(f.Old, true, follow); err != nil {
			return err
		}
	}
	if f.Action == fsbridge.ActionModify {
		f.to = f.from
	} else if f.New != "" {
		f.to, err = p.spot(f.New, false, false)
	}
	return err
}

// spot finds a name, which must exist or may be made.
func (p *patching) spot(path fsbridge.Path, must, follow bool) (*spot, error) {
	s := &spot{path: path, target: target{must: must, dry: p.req.DryRun}}
	find := s.target.locateNode
	if follow {
		find = s.target.locate
	}
	if err := find(fsbridge.OpPatch, path); err != nil {
		s.target.close(err)
		return nil, missing(fsbridge.OpPatch, path, err)
	}
	key := s.target.place()
	if had := p.spots[key]; had != nil {
		s.target.close(nil)
		had.made = append(had.made, s.made...)
		return had, nil
	}
	p.spots[key] = s
	p.order = append(p.order, s)
	return s, nil
}

// lock takes the locks of all places, in an order that all patches have.
func (p *patching) lock() error {
	places := make([]place, 0, len(p.spots))
	for key := range p.spots {
		places = append(places, key)
	}
	slices.SortFunc(places, place.compare)
	for _, key := range places {
		unlock, err := p.t.locks.lock(p.ctx, key)
		if err != nil {
			return err
		}
		p.unlock = append(p.unlock, unlock)
	}
	return nil
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.dev, q.dev), cmp.Compare(p.ino, q.ino), cmp.Compare(p.name, q.name))
}

// look finds out what is at each name, and holds that the files of the patch do
// not stand in each other's way.
func (p *patching) look() error {
	for _, s := range p.order {
		if s.absent {
			continue
		}
		err := unix.Fstatat(s.dir, s.name, &s.st, unix.AT_SYMLINK_NOFOLLOW)
		if s.exists = err == nil; !s.exists && err != unix.ENOENT {
			return fsbridge.NewError(fsbridge.OpPatch, s.path, err)
		}
	}
	for _, f := range p.files {
		if err := p.claim(f); err != nil {
			return err
		}
	}
	for _, f := range p.files {
		if err := p.free(f); err != nil {
			return err
		}
	}
	return nil
}

// claim notes what a file takes and gives, which no other may.
func (p *patching) claim(f *patchFile) error {
	if s := f.from; s != nil {
		if !s.exists {
			return missing(fsbridge.OpPatch, f.Old, unix.ENOENT)
		}
		if err := regular(fsbridge.OpPatch, f.Old, &s.st); err != nil {
			return err
		}
		if kernel := kernelOf(s.dir); kernel != "" {
			return notReplaced(fsbridge.OpPatch, f.Old, kernel)
		}
		if f.Action != fsbridge.ActionCopy {
			if s.takes != nil {
				return p.twice(f, s.takes)
			}
			s.takes = f
		}
	}
	if s := f.to; s != nil {
		if s.gives != nil {
			return p.twice(f, s.gives)
		}
		if s.gives = f; !s.absent {
			if kernel := kernelOf(s.dir); kernel != "" {
				return notMade(fsbridge.OpPatch, f.New, kernel)
			}
		}
	}
	return nil
}

func (p *patching) twice(f, before *patchFile) error {
	path, other := cmp.Or(f.New, f.Old), cmp.Or(before.New, before.Old)
	if path == other {
		return fsbridge.Errorf(fsbridge.OpPatch, path, fsbridge.CodeInvalid, "it is in the patch twice; join its hunks, or patch one after the other")
	}
	return fsbridge.Errorf(fsbridge.OpPatch, path, fsbridge.CodeInvalid, "it is in the patch twice, also as %q; patch one after the other", other)
}

// free holds that where something new goes nothing is, or nothing any more.
func (p *patching) free(f *patchFile) error {
	if f.to == nil || f.to == f.from || !f.to.exists {
		return nil
	}
	switch by := f.to.takes; {
	case by == nil || by.Action == fsbridge.ActionModify:
		e := fsbridge.NewError(fsbridge.OpPatch, f.New, unix.EEXIST)
		e.Message = "it exists already: a " + typeOf(f.to.st.Mode)
		return e
	case by.Action == fsbridge.ActionRename && f.Action == fsbridge.ActionRename:
		return fsbridge.Errorf(fsbridge.OpPatch, f.New, fsbridge.CodeInvalid, "it is renamed and another is renamed to it; patch one after the other")
	}
	return nil
}

// end gives everything back, and after an error leaves nothing.
func (p *patching) end(err error) {
	for _, s := range p.order {
		for _, t := range []*temp{s.temp, s.backup} {
			if t != nil {
				t.close()
			}
		}
	}
	for i := len(p.order) - 1; i >= 0; i-- {
		p.order[i].target.close(err)
	}
	for _, unlock := range p.unlock {
		unlock()
	}
}
