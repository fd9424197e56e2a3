package files

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// nameStep is a change of one name, and how to take it back.
type nameStep struct {
	path     fsbridge.Path
	do, undo func() error
}

// commit puts everything in its place: first what is new, then what replaces,
// last what goes, so that nothing is nowhere in between. What was there is kept
// beside its place until all is done and synced.
func (p *patching) commit() error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	p.plan()
	if err := p.apply(); err != nil {
		return err
	}
	synced := make(map[place]bool)
	for _, s := range p.order {
		dir := placeOf(&s.target.st, "")
		if s.gives == nil && s.takes == nil || synced[dir] && len(s.made) == 0 {
			continue
		}
		synced[dir] = true
		if err := s.target.sync(); err != nil {
			return p.undo(len(p.steps), s.path, err)
		}
	}
	return nil
}

// apply does the steps, or none, in the turns of all directories.
func (p *patching) apply() error {
	done, err := p.turns()
	if err != nil {
		return err
	}
	defer done()
	for i, s := range p.steps {
		if err := s.do(); err != nil {
			return p.undo(i, s.path, err)
		}
	}
	return nil
}

// turns takes the turn of each directory, in an order that all patches have.
func (p *patching) turns() (done func(), err error) {
	spots := slices.Clone(p.order)
	at := func(s *spot) place { return placeOf(&s.target.st, "") }
	slices.SortFunc(spots, func(a, b *spot) int { return at(a).compare(at(b)) })
	spots = slices.CompactFunc(spots, func(a, b *spot) bool { return at(a) == at(b) })
	var taken []func()
	done = func() {
		for _, d := range taken {
			d()
		}
	}
	for _, s := range spots {
		if s.absent {
			continue
		}
		d, err := p.t.turn(p.ctx, &s.target)
		if err != nil {
			done()
			return nil, err
		}
		taken = append(taken, d)
	}
	return done, nil
}

// plan makes the steps in their order.
func (p *patching) plan() {
	var fresh, renamed, replaced, modes, gone []nameStep
	for _, s := range p.order {
		switch {
		case s.temp != nil && !s.exists:
			fresh = append(fresh, p.putNew(s))
		case s.temp != nil && s.gives.Action == fsbridge.ActionRename:
			renamed = append(renamed, p.replace(s))
		case s.temp != nil:
			replaced = append(replaced, p.replace(s))
		case s.mode != nil:
			modes = append(modes, p.chmod(s))
		case s.takes != nil:
			gone = append(gone, p.remove(s))
		}
	}
	for _, steps := range [][]nameStep{fresh, renamed, replaced, modes, gone} {
		p.steps = append(p.steps, steps...)
	}
}

// undo takes the first n steps back, the last first.
func (p *patching) undo(n int, path fsbridge.Path, cause error) error {
	e := fsbridge.NewError(fsbridge.OpPatch, path, cause)
	if errors.Is(cause, errChanged) {
		e = fsbridge.Errorf(fsbridge.OpPatch, path, fsbridge.CodeConflict, "a program has changed it meanwhile")
		e.Revision = p.revisionNow(path)
	}
	for i := n - 1; i >= 0; i-- {
		if err := p.steps[i].undo(); err != nil {
			e.Message += fmt.Sprintf("; %q could not be put back: %v", p.steps[i].path, err)
		}
	}
	return e
}

func (p *patching) revisionNow(path fsbridge.Path) string {
	f, err := openRegular(fsbridge.OpPatch, path)
	if err != nil {
		return ""
	}
	defer f.close()
	revision, _ := p.t.revisionOf(p.ctx, f)
	return revision
}

func (p *patching) putNew(s *spot) nameStep {
	return nameStep{
		path: s.path,
		do: func() error {
			err := renameNew(s.dir, s.temp.name, s.dir, s.name)
			s.temp.gone = err == nil
			return err
		},
		undo: func() error { return unix.Unlinkat(s.dir, s.name, 0) },
	}
}

// replace swaps the new with the old, which then has the temporary name. Where
// the file system cannot, a link keeps the old.
func (p *patching) replace(s *spot) nameStep {
	return nameStep{
		path: s.path,
		do: func() error {
			if !s.same() {
				return errChanged
			}
			err := exchange(s.dir, s.temp.name, s.dir, s.name)
			if !errors.Is(err, unix.EINVAL) {
				return err
			}
			s.backup = p.t.tempName(&s.target)
			if err := link(s.dir, s.name, s.dir, s.backup.name); err != nil {
				s.backup.gone = true
				return err
			}
			return s.temp.rename(0)
		},
		undo: func() error {
			if s.backup != nil {
				return rename(s.dir, s.backup.name, s.dir, s.name)
			}
			return exchange(s.dir, s.temp.name, s.dir, s.name)
		},
	}
}

func (p *patching) chmod(s *spot) nameStep {
	set := func(mode uint32) error {
		f, err := openAt(fsbridge.OpPatch, s.path, s.dir, s.name, unix.O_NOFOLLOW)
		if err != nil {
			return err
		}
		defer f.close()
		return unix.Fchmod(f.fd, mode)
	}
	return nameStep{
		path: s.path,
		do:   func() error { return set(*s.mode) },
		undo: func() error { return set(permissions(s.st.Mode)) },
	}
}

// remove takes a name away; what it named keeps a temporary one.
func (p *patching) remove(s *spot) nameStep {
	return nameStep{
		path: s.path,
		do: func() error {
			if !s.same() {
				return errChanged
			}
			s.backup = p.t.tempName(&s.target)
			err := rename(s.dir, s.name, s.dir, s.backup.name)
			s.backup.gone = err != nil
			return err
		},
		undo: func() error { return renameNew(s.dir, s.backup.name, s.dir, s.name) },
	}
}

// same reports whether what was read is still there. The change time does not
// count: the patch itself may have changed another name of the file. Of a file
// that gets another name as it is, the content does not matter.
func (s *spot) same() bool {
	var st unix.Stat_t
	if unix.Fstatat(s.dir, s.name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return false
	}
	was, now := versionOf(&s.st), versionOf(&st)
	was.ctime = now.ctime
	return was == now || s.linked && was.dev == now.dev && was.ino == now.ino
}
