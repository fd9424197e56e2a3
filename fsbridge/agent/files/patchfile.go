package files

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
	"moorage/fsbridge/agent/text"
)

// namesMax is the most bytes of all names in a patch: what its result can hold.
const namesMax = 600 << 10

// parse checks the request and makes its paths absolute.
func (p *patching) parse() error {
	bad := func(path fsbridge.Path, format string, args ...any) error {
		return fsbridge.Errorf(fsbridge.OpPatch, path, fsbridge.CodeInvalid, format, args...)
	}
	n, hunks, names := len(p.req.Files), 0, 0
	if n == 0 || n > fsbridge.PatchFilesMax {
		return bad(p.req.Path, "the patch has %d files, one call takes 1 to %d", n, fsbridge.PatchFilesMax)
	}
	for i := range p.req.Files {
		f := &patchFile{FilePatch: &p.req.Files[i]}
		for _, path := range []*fsbridge.Path{&f.Old, &f.New} {
			if *path != "" {
				*path = Resolve(p.req.Path, *path)
				names += len(*path)
			}
		}
		if why := f.fault(); why != "" {
			return bad(f.name(), "%s", why)
		}
		if f.Action == fsbridge.ActionModify {
			f.New = f.Old
		}
		if hunks += len(f.Hunks); hunks > fsbridge.HunksMax {
			return bad(f.name(), "the patch has more than %d hunks", fsbridge.HunksMax)
		}
		if names > namesMax {
			return bad(f.name(), "the names in the patch are too long: over %d bytes in all", namesMax)
		}
		f.res = fsbridge.PatchedFile{Action: f.Action, Old: f.Old, New: f.New}
		p.files = append(p.files, f)
	}
	return nil
}

// name is what errors of a file name.
func (f *patchFile) name() fsbridge.Path {
	if f.Old == "" {
		return f.New
	}
	return f.Old
}

// fault says what is wrong with a file of the request, or "".
func (f *patchFile) fault() string {
	old, fresh := f.Old != "", f.New != ""
	names := map[string]bool{
		fsbridge.ActionCreate: !old && fresh,
		fsbridge.ActionModify: old && (!fresh || f.New == f.Old),
		fsbridge.ActionDelete: old && !fresh,
		fsbridge.ActionRename: old && fresh && f.New != f.Old,
		fsbridge.ActionCopy:   old && fresh && f.New != f.Old,
	}
	fits, known := names[f.Action]
	switch {
	case !known:
		return "unknown action: " + printable(f.Action)
	case !fits:
		return "the names do not fit the action " + f.Action
	case f.Mode != nil && *f.Mode > 0o7777:
		return "the mode is over 07777"
	case f.Action == fsbridge.ActionModify && len(f.Hunks) == 0 && f.Mode == nil:
		return "the patch changes nothing in it: it has no hunks"
	}
	return ""
}

// prepare makes what a file becomes, in a temporary file.
func (p *patching) prepare(f *patchFile) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	switch {
	case f.Action == fsbridge.ActionCreate:
		return p.create(f)
	case len(f.Hunks) == 0 && f.Action == fsbridge.ActionModify:
		f.from.mode = f.Mode
		return p.facts(f)
	case len(f.Hunks) == 0 && f.Action == fsbridge.ActionRename && f.Mode == nil && p.linked(f):
		return p.facts(f)
	}
	return p.change(f)
}

// facts fills in the size and revision of a file whose content stays.
func (p *patching) facts(f *patchFile) error {
	file, err := openAt(fsbridge.OpPatch, f.Old, f.from.dir, f.from.name, unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer file.close()
	f.res.Size = file.st.Size
	f.res.Revision, err = p.t.revisionOf(p.ctx, file)
	return err
}

// linked makes the file itself appear under a temporary name at its new place,
// if it can.
func (p *patching) linked(f *patchFile) bool {
	if p.req.DryRun {
		return true
	}
	t := p.t.tempName(&f.to.target)
	if link(f.from.dir, f.from.name, t.dir, t.name) != nil {
		t.gone = true
		t.close()
		return false
	}
	f.to.temp, f.from.linked = t, true
	if unix.Fstatat(t.dir, t.name, &f.from.st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		f.from.st = unix.Stat_t{} // which the commit will not find
	}
	return true
}

// create makes a file of added lines.
func (p *patching) create(f *patchFile) error {
	for i, h := range f.Hunks {
		old := func(line string) bool { return !strings.HasPrefix(line, "+") }
		if slices.ContainsFunc(h.Lines, old) {
			e := fsbridge.Errorf(fsbridge.OpPatch, f.New, fsbridge.CodeInvalid, "hunk %d: a file that is made has added lines only", i+1)
			e.Item = i + 1
			return e
		}
	}
	if len(f.Hunks) > 1 {
		return fsbridge.Errorf(fsbridge.OpPatch, f.New, fsbridge.CodeInvalid, "a file that is made has one hunk, this has %d", len(f.Hunks))
	}
	patched, err := text.Patch(p.ctx, nil, f.Hunks)
	if err != nil {
		return about(fsbridge.OpPatch, f.New, err)
	}
	return p.put(f, patched, nil)
}

// change makes a file of another.
func (p *patching) change(f *patchFile) error {
	old, err := openAt(fsbridge.OpPatch, f.Old, f.from.dir, f.from.name, unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer old.close()
	f.from.st = old.st // what is found later must be this
	content, done, err := p.t.readWhole(p.ctx, fsbridge.OpPatch, f.Old, old)
	if err != nil {
		return err
	}
	defer done()
	patched, err := text.Patch(p.ctx, content, f.Hunks)
	if err != nil {
		return about(fsbridge.OpPatch, f.Old, err)
	}
	if f.Action == fsbridge.ActionDelete && len(patched.New) > 0 {
		return fsbridge.Errorf(fsbridge.OpPatch, f.Old, fsbridge.CodeNoMatch,
			"the patch deletes it but does not have all its content: %d bytes would stay; delete the file outright instead, or give all its lines", len(patched.New))
	}
	return p.put(f, patched, old)
}

// put writes the new content to a temporary file that is as like is, and syncs it.
func (p *patching) put(f *patchFile, patched *text.Patched, like *file) (err error) {
	f.res.Added, f.res.Removed, f.res.Moved = patched.Added, patched.Removed, patched.Moved
	if f.to == nil {
		return nil
	}
	f.res.Size = int64(len(patched.New))
	f.res.Revision = digestOf(patched.New).revision
	if p.req.DryRun {
		return nil
	}
	if f.to.temp, err = p.t.newTemp(&f.to.target); err != nil {
		return fsbridge.NewError(fsbridge.OpPatch, f.New, err)
	}
	t := f.to.temp
	defer t.closeFile()
	err = t.fill(p.ctx, Bytes(patched.New))
	if err == nil && like != nil {
		err = t.dress(&like.st, like.fd, f.Mode)
	} else if err == nil {
		err = t.dress(nil, -1, f.Mode)
	}
	if err == nil {
		err = syncFile(t.fd)
	}
	if err != nil {
		return fsbridge.NewError(fsbridge.OpPatch, f.New, err)
	}
	return nil
}
