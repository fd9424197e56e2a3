package files

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
	"moorage/fsbridge/agent/text"
)

// changeTries is how often a change is made anew because a program, or the agent
// of another container, has changed the file meanwhile.
const changeTries = 20

// Edit replaces passages of a regular file, which is read under its place's lock.
// The data is the change as a unified diff. After an error nothing has changed.
func (t *Tree) Edit(ctx context.Context, req *fsbridge.EditRequest) (fsbridge.EditResult, []byte, error) {
	if err := checkEdit(req); err != nil {
		return fsbridge.EditResult{}, nil, err
	}
	e := &editing{edit: req, writing: writing{t: t, ctx: ctx, op: fsbridge.OpEdit, req: &fsbridge.WriteRequest{Path: req.Path}}}
	err := e.run()
	e.end(err)
	if err != nil {
		return fsbridge.EditResult{}, nil, missing(fsbridge.OpEdit, req.Path, err)
	}
	return e.result, e.diff.Text, nil
}

func checkEdit(req *fsbridge.EditRequest) error {
	bad := func(format string, args ...any) error {
		return fsbridge.Errorf(fsbridge.OpEdit, req.Path, fsbridge.CodeInvalid, format, args...)
	}
	switch n := len(req.Edits); {
	case n == 0 || n > fsbridge.EditsMax:
		return bad("there are %d edits, one call takes 1 to %d", n, fsbridge.EditsMax)
	case req.MaxDiff < 0:
		return bad("max_diff is %d, the least is 0", req.MaxDiff)
	case req.IfRevision != nil && *req.IfRevision == "":
		return bad("the revision is empty, which is that of no file; a file is made by a write")
	}
	return nil
}

// editing is one Edit under way.
type editing struct {
	writing
	edit   *fsbridge.EditRequest
	diff   text.Difference
	was    string // revision of what a program has changed meanwhile
	result fsbridge.EditResult
}

func (e *editing) run() error {
	e.must = true
	if err := e.target.locate(e.op, e.edit.Path); err != nil {
		return err
	}
	unlock, err := e.t.locks.lock(e.ctx, e.target.place())
	if err != nil {
		return err
	}
	for range changeTries {
		if err = e.commit(); !errors.Is(err, errChanged) {
			break
		}
		e.dropTemp()
	}
	unlock()
	if errors.Is(err, errChanged) {
		return e.conflict("a program keeps changing it", e.was)
	}
	if err != nil || e.edit.DryRun {
		return err
	}
	return e.target.sync()
}

// commit makes the change, under the place's lock.
func (e *editing) commit() error {
	if err := e.check(); err != nil {
		return err
	}
	if !e.exists {
		return unix.ENOENT
	}
	if kernel := kernelOf(e.dir); kernel != "" {
		return notReplaced(e.op, e.edit.Path, kernel)
	}
	f, err := openAt(e.op, e.edit.Path, e.dir, e.name, unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer f.close()
	content, done, err := e.t.readWhole(e.ctx, e.op, e.edit.Path, f)
	if err != nil {
		return err
	}
	defer done()
	e.seen = &f.st
	return e.change(content)
}

func (e *editing) change(content []byte) error {
	if want := e.edit.IfRevision; want != nil {
		if now := digestOf(content).revision; now != *want {
			return e.conflict("its revision is "+now, now)
		}
	}
	change, err := text.Replace(e.ctx, content, e.edit.Edits)
	if err != nil {
		return about(e.op, e.edit.Path, err)
	}
	limit := e.edit.MaxDiff
	if limit == 0 || limit > fsbridge.DiffMax {
		limit = fsbridge.DiffMax
	}
	e.diff = change.Diff(string(e.edit.Path), limit)
	if err := e.put(change.New); err != nil {
		if errors.Is(err, errChanged) {
			e.was = digestOf(content).revision
		}
		return err
	}
	e.result = fsbridge.EditResult{
		Path: e.edit.Path, Size: int64(len(change.New)), Revision: e.res.Revision, Replacements: change.Count,
		Added: e.diff.Added, Removed: e.diff.Removed, DiffCut: e.diff.Cut,
	}
	return nil
}

// put replaces the file.
func (e *editing) put(content []byte) (err error) {
	if e.edit.DryRun {
		e.res.Revision = digestOf(content).revision
		return e.ctx.Err()
	}
	if e.temp, err = e.t.newTemp(&e.target); err != nil {
		return err
	}
	if err := e.temp.fill(e.ctx, Bytes(content)); err != nil {
		return err
	}
	return e.replace()
}

func (e *editing) dropTemp() {
	if e.temp != nil {
		e.temp.close()
		e.temp = nil
	}
}
