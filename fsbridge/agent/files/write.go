package files

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

const (
	newFileMode = 0o644
	newDirMode  = 0o755
)

// Source yields the content of a streamed write, chunk by chunk, then io.EOF. A
// chunk is used up before the next call.
type Source func(ctx context.Context) ([]byte, error)

// Bytes is the Source of content that is all there.
func Bytes(content []byte) Source {
	return func(context.Context) ([]byte, error) {
		if content == nil {
			return nil, io.EOF
		}
		chunk := content
		content = nil
		return chunk, nil
	}
}

// Write replaces, makes or appends to a regular file. After an error nothing has
// changed.
func (t *Tree) Write(ctx context.Context, req *fsbridge.WriteRequest, src Source) (fsbridge.WriteResult, error) {
	if req.Mode != nil && *req.Mode > 0o7777 {
		return fsbridge.WriteResult{}, fsbridge.Errorf(fsbridge.OpWrite, req.Path, fsbridge.CodeInvalid,
			"mode is %#o, the most is 07777", *req.Mode)
	}
	w := &writing{t: t, ctx: ctx, op: fsbridge.OpWrite, req: req, src: src}
	err := w.run()
	w.end(err)
	if err != nil {
		return fsbridge.WriteResult{}, fsbridge.NewError(fsbridge.OpWrite, req.Path, err)
	}
	return w.res, nil
}

// writing is one Write under way, or what another operation does of one.
type writing struct {
	t   *Tree
	ctx context.Context
	op  fsbridge.Op
	req *fsbridge.WriteRequest
	src Source

	target             // where it goes
	st     unix.Stat_t // of what is there
	exists bool
	seen   *unix.Stat_t // what was read, if the change holds only for that
	temp   *temp
	res    fsbridge.WriteResult
}

func (w *writing) run() error {
	if err := w.target.locate(w.op, w.req.Path); err != nil {
		return err
	}
	if err := w.check(); err != nil { // before the content is taken, to fail early
		return err
	}
	if kernel := kernelOf(w.dir); kernel != "" && w.exists {
		return notReplaced(w.op, w.req.Path, kernel)
	} else if kernel != "" {
		return notMade(w.op, w.req.Path, kernel)
	}
	if err := w.fill(); err != nil {
		return err
	}
	if !w.req.Append || !w.exists {
		if err := w.prepare(); err != nil && !errors.Is(err, unix.ENOENT) { // it was deleted just now
			return err
		}
	}
	unlock, err := w.t.locks.lock(w.ctx, w.target.place())
	if err != nil {
		return err
	}
	for range changeTries {
		if err = w.commit(); !errors.Is(err, errChanged) {
			break
		}
	}
	unlock()
	if errors.Is(err, errChanged) {
		return w.conflict("a program keeps changing it", *w.req.IfRevision)
	}
	if err != nil {
		return err
	}
	return w.target.sync()
}

// commit makes the change, under the place's lock.
func (w *writing) commit() error {
	if err := w.check(); err != nil {
		return err
	}
	w.res.Path, w.res.Created = w.req.Path, !w.exists
	if w.req.Append && w.exists {
		return w.append()
	}
	return w.replace()
}

// check looks at what is there and at the revision.
func (w *writing) check() error {
	err := unix.Fstatat(w.dir, w.name, &w.st, unix.AT_SYMLINK_NOFOLLOW)
	if w.exists = err == nil; !w.exists {
		if err != unix.ENOENT {
			return err
		}
		if want := w.req.IfRevision; want != nil && *want != "" {
			return w.conflict("it does not exist", "")
		}
		return nil
	}
	if err := regular(w.op, w.req.Path, &w.st); err != nil {
		return err
	}
	if w.req.IfRevision == nil {
		return nil
	}
	return w.checkRevision(*w.req.IfRevision)
}

func (w *writing) checkRevision(want string) error {
	f, err := openAt(w.op, w.req.Path, w.dir, w.name, unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer f.close()
	d, _, err := w.t.digest(w.ctx, f, -1)
	switch {
	case err != nil:
		return err
	case want == "":
		return w.conflict("it exists", d.revision)
	case want != d.revision:
		return w.conflict("its revision is "+d.revision, d.revision)
	}
	w.seen = &f.st
	return nil
}

func (w *writing) conflict(why, revision string) error {
	e := fsbridge.Errorf(w.op, w.req.Path, fsbridge.CodeConflict, "%s", why)
	e.Revision = revision
	return e
}

// fill puts the content into a temporary file.
func (w *writing) fill() (err error) {
	if w.temp, err = w.t.newTemp(&w.target); err != nil {
		return err
	}
	return w.temp.fill(w.ctx, w.src)
}

// prepare makes the temporary file all that it is to be, durably. It comes before
// the place's lock, so that those who write a file at once share the disk's work.
func (w *writing) prepare() error {
	if err := w.dress(); err != nil {
		return err
	}
	w.temp.ready, w.temp.as = true, unix.Stat_t{}
	if w.exists {
		w.temp.as = w.st
	}
	return syncFile(w.temp.fd)
}

// prepared reports whether the temporary file is still what the target, which
// may have become another, wants it to be.
func (w *writing) prepared() bool {
	switch as := &w.temp.as; {
	case !w.temp.ready || w.exists != (as.Mode != 0):
		return false
	case !w.exists || w.st.Ino == as.Ino && w.st.Ctim == as.Ctim:
		return true
	case w.st.Mode != as.Mode || w.st.Uid != as.Uid || w.st.Gid != as.Gid || w.temp.attributes:
		return false
	}
	old, err := openAt(w.op, w.req.Path, w.dir, w.name, unix.O_NOFOLLOW)
	if err != nil {
		return false
	}
	defer old.close()
	n, err := unix.Flistxattr(old.fd, nil)
	return err == nil && n == 0
}

// replace puts the temporary file in the place of the target.
func (w *writing) replace() error {
	if !w.prepared() {
		if err := w.prepare(); err != nil {
			return err
		}
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	done, err := w.t.turn(w.ctx, &w.target)
	if err != nil {
		return err
	}
	defer done()
	if w.seen != nil && !unchanged(w.dir, w.name, w.seen) {
		return errChanged
	}
	if err := w.rename(); err != nil {
		return err
	}
	w.res.Size, w.res.Revision = w.temp.size, w.temp.revision()
	return nil
}

func (w *writing) rename() error {
	if w.req.IfRevision != nil && *w.req.IfRevision == "" {
		switch err := w.temp.rename(unix.RENAME_NOREPLACE); err {
		case unix.EEXIST:
			return w.checkRevision("")
		case unix.EINVAL, unix.ENOSYS: // not every file system knows the flag
		default:
			return err
		}
	}
	return w.temp.rename(0)
}

// dress gives the temporary file the mode that was asked for, else what the
// target has of mode, owner and extended attributes.
func (w *writing) dress() error {
	if !w.exists {
		return w.temp.dress(nil, -1, w.req.Mode)
	}
	old, err := openAt(w.op, w.req.Path, w.dir, w.name, unix.O_NOFOLLOW)
	if errors.Is(err, unix.EACCES) { // may be replaced but not read
		return w.temp.dress(&w.st, -1, w.req.Mode)
	}
	if err != nil {
		return err
	}
	defer old.close()
	return w.temp.dress(&w.st, old.fd, w.req.Mode)
}

// errChanged: a program has changed the file since it was read.
var errChanged = errors.New("it changed meanwhile")

// unchanged reports whether a name still is the content that st is of.
func unchanged(dir int, name string, st *unix.Stat_t) bool {
	var now unix.Stat_t
	err := unix.Fstatat(dir, name, &now, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && versionOf(&now) == versionOf(st)
}

// end removes what a write leaves behind.
func (w *writing) end(err error) {
	if w.temp != nil {
		w.temp.close()
	}
	w.target.close(err)
}
