package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

func hunk(start int64, lines ...string) []fsbridge.Hunk {
	return []fsbridge.Hunk{{Start: start, Lines: lines}}
}

func patch(t *testing.T, tree *Tree, dir string, patches ...fsbridge.FilePatch) error {
	t.Helper()
	_, err := tree.Patch(t.Context(), &fsbridge.PatchRequest{Path: fsbridge.Path(dir), Files: patches})
	return err
}

// content is what a tree of small files has: names and what is in them.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case d.IsDir():
			all[name+"/"] = ""
		case d.Type() == 0:
			b, err := os.ReadFile(path)
			info, _ := d.Info()
			all[name] = info.Mode().String() + " " + string(b)
			return err
		default:
			all[name], err = os.Readlink(path)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// put makes files on the disk.
func put(t *testing.T, dir string, named map[string]string) {
	t.Helper()
	for name, content := range named {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A patch that fails when some names have changed already takes them back.
func TestPatchUndone(t *testing.T) {
	tree, _ := newTree(t, "b")
	dir := t.TempDir()
	put(t, dir, map[string]string{"a": "a\n", "b": "b\n", "c": "c\n", "d": "d\n", "m": "m\n", "stuck": "s\n"})
	want := content(t, dir)
	if err := unix.Mount(dir+"/c", dir+"/stuck", "", unix.MS_BIND, ""); err != nil {
		t.Skip("no mount:", err)
	}
	defer unix.Unmount(dir+"/stuck", 0)
	for _, stuck := range []fsbridge.FilePatch{
		{Action: fsbridge.ActionModify, Old: "stuck", Hunks: hunk(1, "-c\n", "+x\n")},
		{Action: fsbridge.ActionDelete, Old: "stuck", Hunks: hunk(1, "-c\n")},
	} {
		err := patch(t, tree, dir,
			fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "a", Hunks: hunk(1, "-a\n", "+x\n")},
			fsbridge.FilePatch{Action: fsbridge.ActionRename, Old: "b", New: "new/b"},
			fsbridge.FilePatch{Action: fsbridge.ActionCreate, New: "new/e", Hunks: hunk(0, "+e\n")},
			fsbridge.FilePatch{Action: fsbridge.ActionDelete, Old: "d", Hunks: hunk(1, "-d\n")},
			fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "m", Mode: new(uint32)},
			stuck,
		)
		var e *fsbridge.Error
		if !errors.Is(err, syscall.EBUSY) || !errors.As(err, &e) || e.Path != fsbridge.Path(dir+"/stuck") || strings.Contains(e.Message, "put back") {
			t.Errorf("got %v", err)
		}
		got := content(t, dir)
		got["stuck"] = want["stuck"]
		same(t, stuck.Action, got, want)
	}
}

// What a program changes between the reading and the writing is not lost.
func TestPatchAgainstPrograms(t *testing.T) {
	tree, _ := newTree(t, "b")
	dir := t.TempDir()
	put(t, dir, map[string]string{"a": "a\n", "b": "b\n"})
	p := &patching{t: tree, ctx: t.Context(), spots: make(map[place]*spot), req: &fsbridge.PatchRequest{Path: fsbridge.Path(dir), Files: []fsbridge.FilePatch{
		{Action: fsbridge.ActionModify, Old: "a", Hunks: hunk(1, "-a\n", "+x\n")},
		{Action: fsbridge.ActionModify, Old: "b", Hunks: hunk(1, "-b\n", "+x\n")},
		{Action: fsbridge.ActionCreate, New: "c/d", Hunks: hunk(0, "+d\n")},
	}}}
	prepare := func() error {
		if err := p.parse(); err != nil {
			return err
		}
		for _, f := range p.files {
			if err := p.locate(f); err != nil {
				return err
			}
		}
		if err := errors.Join(p.lock(), p.look()); err != nil {
			return err
		}
		for _, f := range p.files {
			if err := p.prepare(f); err != nil {
				return err
			}
		}
		return nil
	}
	if err := prepare(); err != nil {
		t.Fatal(err)
	}
	put(t, dir, map[string]string{"b": "a program's\n"})
	err := p.commit()
	p.end(err)
	var e *fsbridge.Error
	if !errors.Is(err, fsbridge.ErrConflict) || !errors.As(err, &e) || e.Revision != digestOf([]byte("a program's\n")).revision {
		t.Errorf("got %+v", err)
	}
	same(t, "after", content(t, dir), map[string]string{"./": "", "a": "-rw-r--r-- a\n", "b": "-rw-r--r-- a program's\n"})
}

// An edit of a file that a program writes meanwhile is made anew.
func TestEditAgainstPrograms(t *testing.T) {
	tree, _ := newTree(t, "b")
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	put(t, dir, map[string]string{"f": "0\nold\n"})
	e := &editing{
		edit:    &fsbridge.EditRequest{Path: fsbridge.Path(path), Edits: []fsbridge.Edit{{Old: "old", New: "new"}}},
		writing: writing{t: tree, ctx: t.Context(), op: fsbridge.OpEdit, req: &fsbridge.WriteRequest{Path: fsbridge.Path(path)}},
	}
	if err := e.target.locate(e.op, e.edit.Path); err != nil {
		t.Fatal(err)
	}
	var before unix.Stat_t
	if err := unix.Stat(path, &before); err != nil {
		t.Fatal(err)
	}
	e.seen = &before
	put(t, dir, map[string]string{"f": "a program's\nold\n"})
	if err := e.check(); err != nil {
		t.Fatal(err)
	}
	if err := e.put([]byte("lost")); !errors.Is(err, errChanged) {
		t.Errorf("got %v", err)
	}
	e.dropTemp()
	if err := e.run(); err != nil {
		t.Error(err)
	}
	e.end(nil)
	same(t, "after", content(t, dir), map[string]string{"./": "", "f": "-rw-r--r-- a program's\nnew\n"})
}

func TestChangeFullDisk(t *testing.T) {
	tree, _ := newTree(t, "b")
	dir := mountTmpfs(t, "size=256k")
	put(t, dir, map[string]string{"f": "needle\n" + strings.Repeat("x", 150_000), "g": "a\n"})
	want := content(t, dir)
	_, _, err := tree.Edit(t.Context(), &fsbridge.EditRequest{Path: fsbridge.Path(dir + "/f"), Edits: []fsbridge.Edit{{Old: "needle", New: "n"}}})
	if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, fsbridge.ErrLimit) {
		t.Errorf("edit: got %v", err)
	}
	err = patch(t, tree, dir,
		fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "g", Hunks: hunk(1, "-a\n", "+b\n")},
		fsbridge.FilePatch{Action: fsbridge.ActionCreate, New: "new/f", Hunks: hunk(0, "+n\n")},
		fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: "f", Hunks: hunk(1, "-needle\n")})
	if !errors.Is(err, fsbridge.ErrLimit) {
		t.Errorf("patch: got %v", err)
	}
	same(t, "after", content(t, dir), want)
}

// A move to another file system that fails leaves both ends as they were.
func TestMoveAcrossFails(t *testing.T) {
	tree, _ := newTree(t, "b")
	from, small := t.TempDir(), mountTmpfs(t, "size=256k")
	put(t, from, map[string]string{"d/a": "a", "d/sub/big": strings.Repeat("x", 300_000), "f": "f"})
	put(t, small, map[string]string{"there": "old"})
	source, dest := content(t, from), content(t, small)
	move := func(ctx context.Context, a, b string, overwrite bool) error {
		_, err := tree.Move(ctx, &fsbridge.MoveRequest{Source: fsbridge.Path(a), Destination: fsbridge.Path(b), Overwrite: overwrite})
		return err
	}
	if err := move(t.Context(), from+"/d", small+"/new/d", false); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("full disk: got %v", err)
	}
	if err := move(t.Context(), from+"/d", small+"/there", true); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("full disk, over a file: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := move(ctx, from+"/f", small+"/there", true); !errors.Is(err, fsbridge.ErrCancelled) {
		t.Errorf("cancelled: got %v", err)
	}
	same(t, "source", content(t, from), source)
	same(t, "destination", content(t, small), dest)
	if err := unix.Mount("", small, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := move(t.Context(), small+"/there", from+"/f", true); !errors.Is(err, syscall.EROFS) {
		t.Errorf("from a read-only file system: got %v", err)
	}
	if err := move(t.Context(), from+"/f", small+"/f", false); !errors.Is(err, syscall.EROFS) {
		t.Errorf("to a read-only file system: got %v", err)
	}
	same(t, "source", content(t, from), source)
	same(t, "destination", content(t, small), dest)
	unix.Mount("", small, "", unix.MS_REMOUNT, "")
}

// A directory in a lower layer of overlayfs, which the kernel does not rename.
func TestMoveOutOfLowerLayer(t *testing.T) {
	tree, _ := newTree(t, "b")
	layers := mountTmpfs(t, "")
	put(t, layers, map[string]string{"lower/d/a": "a", "lower/d/sub/b": "b", "lower/f": "f", "upper/x": "", "work/x": ""})
	for _, dir := range []string{"/lower/empty", "/lower/empty2"} {
		if err := os.Mkdir(layers+dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(layers + "/work/x"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := unix.Mount("overlay", dir, "overlay", 0, fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work,redirect_dir=off", layers)); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	for _, m := range [][2]string{{"/d", "/new/d"}, {"/new/d", "/empty"}, {"/empty/sub", "/new/sub"}, {"/f", "/empty2"}, {"/new", "/x"}} {
		res, err := tree.Move(t.Context(), &fsbridge.MoveRequest{Source: fsbridge.Path(dir + m[0]), Destination: fsbridge.Path(dir + m[1]), Overwrite: true})
		if err != nil {
			t.Errorf("move %v: %+v, %v", m, res, err)
		}
	}
	same(t, "after", content(t, dir), map[string]string{
		"./": "", "empty/": "", "empty/a": "-rw-r--r-- a", "empty2": "-rw-r--r-- f", "x/": "", "x/sub/": "", "x/sub/b": "-rw-r--r-- b",
	})
}

// When the source cannot be taken away, the copy goes again, and what it replaced
// comes back.
func TestMoveAcrossTakenBack(t *testing.T) {
	tree, _ := newTree(t, "b")
	dir, other := t.TempDir(), mountTmpfs(t, "")
	put(t, other, map[string]string{"stuck": "s", "cover": "c"})
	put(t, dir, map[string]string{"there": "old"})
	if err := unix.Mount(other+"/cover", other+"/stuck", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(other+"/stuck", 0)
	want := content(t, dir)
	for _, to := range []string{dir + "/there", dir + "/new/f"} {
		_, err := tree.Move(t.Context(), &fsbridge.MoveRequest{Source: fsbridge.Path(other + "/stuck"), Destination: fsbridge.Path(to), Overwrite: true})
		if !errors.Is(err, fsbridge.ErrMount) {
			t.Errorf("%s: got %v", to, err)
		}
		same(t, to, content(t, dir), want)
	}
}

// The temporary tree of a killed agent goes, whatever is in it.
func TestCleanTree(t *testing.T) {
	spool, dir := t.TempDir(), t.TempDir()
	killed := New(Options{Spool: spool, Boot: "aaaa"})
	killed.journal.enter(dir)
	killed.journal.file.Close()
	put(t, dir, map[string]string{tempPrefix + "aaaa-1/sub/f": "x", tempPrefix + "bbbb-1/sub/f": "x", "kept": "x"})
	if err := os.Symlink(dir, filepath.Join(dir, tempPrefix+"aaaa-2")); err != nil {
		t.Fatal(err)
	}
	next := New(Options{Spool: spool, Boot: "cccc"})
	defer next.Close()
	next.Clean(t.Context())
	left, _ := os.ReadDir(dir)
	if len(left) != 2 {
		t.Errorf("left are %v", left)
	}
}

// Changes by a user who may not do them say so, and change nothing.
func TestChangeDenied(t *testing.T) {
	tree, _ := newTree(t, "b")
	dir := t.TempDir()
	put(t, dir, map[string]string{"closed/f": "a\n", "open/f": "a\n"})
	for name, mode := range map[string]os.FileMode{"closed": 0o555, "open": 0o777, ".": 0o755, "..": 0o755} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	want := content(t, dir)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if os.Geteuid() == 0 {
		if err := unix.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer unix.Setfsuid(0)
	}
	closed, open := fsbridge.Path(dir+"/closed/f"), fsbridge.Path(dir+"/open/f")
	_, _, err := tree.Edit(t.Context(), &fsbridge.EditRequest{Path: closed, Edits: []fsbridge.Edit{{Old: "a", New: "b"}}})
	errs := map[string]error{"edit": err}
	_, errs["patch"] = tree.Patch(t.Context(), &fsbridge.PatchRequest{Path: "/", Files: []fsbridge.FilePatch{{Action: fsbridge.ActionDelete, Old: closed, Hunks: hunk(1, "-a\n")}}})
	_, errs["mkdir"] = tree.Mkdir(t.Context(), &fsbridge.MkdirRequest{Path: fsbridge.Path(dir + "/closed/d/e")})
	_, errs["move"] = tree.Move(t.Context(), &fsbridge.MoveRequest{Source: closed, Destination: open, Overwrite: true})
	_, errs["move there"] = tree.Move(t.Context(), &fsbridge.MoveRequest{Source: open, Destination: closed, Overwrite: true})
	_, errs["delete"] = tree.Delete(t.Context(), &fsbridge.DeleteRequest{Path: closed})
	_, errs["delete the directory"] = tree.Delete(t.Context(), &fsbridge.DeleteRequest{Path: fsbridge.Path(dir + "/closed"), Recursive: true})
	for what, err := range errs {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	same(t, "after", content(t, dir), want)
}

// A removal that is cancelled stops at the next node, and says how much is gone.
func TestDeleteCancelled(t *testing.T) {
	tree, _ := newTree(t, "b")
	dir := mountTmpfs(t, "")
	named := make(map[string]string)
	for i := range 500 {
		named[fmt.Sprintf("d/s%d/f%d", i%50, i)] = ""
	}
	put(t, dir, named)
	ctx := &countdown{t.Context(), 100}
	_, err := tree.Delete(ctx, &fsbridge.DeleteRequest{Path: fsbridge.Path(dir + "/d"), Recursive: true})
	if !errors.Is(err, fsbridge.ErrCancelled) || !strings.Contains(err.Error(), "99 nodes were deleted") {
		t.Errorf("got %v", err)
	}
}

// countdown is a context that ends when it has been asked so often whether it has.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left == 0 {
		return context.Canceled
	}
	c.left--
	return nil
}

// A source that cannot be deleted gets its name back, when the copy is there
// whole.
func TestMoveAcrossNotDeleted(t *testing.T) {
	tree, _ := newTree(t, "b")
	dir, other := t.TempDir(), mountTmpfs(t, "")
	put(t, other, map[string]string{"d/stuck/f": "f", "d/g": "g"})
	flags := func(n int) error {
		fd, err := unix.Open(other+"/d/stuck/f", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, n)
	}
	if err := flags(0x10); err != nil { // FS_IMMUTABLE_FL of linux/fs.h
		t.Skip("no immutable files:", err)
	}
	_, err := tree.Move(t.Context(), &fsbridge.MoveRequest{Source: fsbridge.Path(other + "/d"), Destination: fsbridge.Path(dir + "/d")})
	if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "copied whole") {
		t.Errorf("got %v", err)
	}
	all := map[string]string{"./": "", "d/": "", "d/stuck/": "", "d/stuck/f": "-rw-r--r-- f", "d/g": "-rw-r--r-- g"}
	same(t, "destination", content(t, dir), all)
	if left := content(t, other); left["d/stuck/f"] != all["d/stuck/f"] || len(temps(t, other)) > 0 {
		t.Errorf("the source has %v", left)
	}
	if err := flags(0); err != nil {
		t.Error(err)
	}
}
