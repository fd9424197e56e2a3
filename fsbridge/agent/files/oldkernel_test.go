package files

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// withoutRenameat2 runs f on a thread for which the kernel has no renameat2, as
// where a file system or a filter does not know it. The thread ends with f.
func withoutRenameat2(t *testing.T, f func()) {
	t.Helper()
	const (
		load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
		refuse, allow    = 0x00050000 | uint32(unix.ENOSYS), 0x7fff0000 // SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW
	)
	filter := []unix.SockFilter{
		{Code: load}, // the system call's number
		{Code: equal, K: unix.SYS_RENAMEAT2, Jf: 1},
		{Code: ret, K: refuse},
		{Code: ret, K: allow},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
			if errno != 0 {
				err = errno
			}
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Skip("no seccomp:", err)
	}
}

// Where names cannot be swapped, links keep what was there.
func TestWithoutRenameat2(t *testing.T) {
	tree, _ := newTree(t, "b")
	dir := t.TempDir()
	put(t, dir, map[string]string{"a": "a\n", "d": "d\n", "stuck": "s\n", "r": "r\n"})
	before := content(t, dir)
	if err := unix.Mount(dir+"/a", dir+"/stuck", "", unix.MS_BIND, ""); err != nil {
		t.Skip("no mount:", err)
	}
	files := []fsbridge.FilePatch{
		{Action: fsbridge.ActionModify, Old: "a", Hunks: hunk(1, "-a\n", "+x\n")},
		{Action: fsbridge.ActionRename, Old: "r", New: "n"},
		{Action: fsbridge.ActionDelete, Old: "d", Hunks: hunk(1, "-d\n")},
	}
	withoutRenameat2(t, func() {
		if err := exchange(unix.AT_FDCWD, dir+"/a", unix.AT_FDCWD, dir+"/d"); !errors.Is(err, unix.EINVAL) {
			t.Errorf("exchange: got %v", err)
		}
		err := patch(t, tree, dir, append(files, fsbridge.FilePatch{Action: fsbridge.ActionDelete, Old: "stuck", Hunks: hunk(1, "-a\n")})...)
		if !errors.Is(err, unix.EBUSY) {
			t.Errorf("got %v", err)
		}
	})
	if err := unix.Unmount(dir+"/stuck", 0); err != nil {
		t.Fatal(err)
	}
	same(t, "undone", content(t, dir), before)
	withoutRenameat2(t, func() {
		if err := patch(t, tree, dir, files...); err != nil {
			t.Error(err)
		}
		move := &fsbridge.MoveRequest{Source: fsbridge.Path(dir + "/n"), Destination: fsbridge.Path(dir + "/a")}
		if _, err := tree.Move(t.Context(), move); !errors.Is(err, fs.ErrExist) {
			t.Errorf("move: got %v", err)
		}
		move.Overwrite = true
		if _, err := tree.Move(t.Context(), move); err != nil {
			t.Error(err)
		}
		put(t, dir, map[string]string{"empty/f": ""})
		if err := unix.Unlink(dir + "/empty/f"); err != nil {
			t.Error(err)
		}
		move.Source, move.Destination = fsbridge.Path(dir+"/stuck"), fsbridge.Path(dir+"/empty")
		if _, err := tree.Move(t.Context(), move); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "delete that first") {
			t.Errorf("over a directory: got %v", err)
		}
	})
	same(t, "done", content(t, dir), map[string]string{"./": "", "empty/": "", "a": "-rw-r--r-- r\n", "stuck": "-rw-r--r-- s\n"})
}

// Who waits for another's change of the same file gives up with its context.
func TestChangesWaitTheirTurn(t *testing.T) {
	tree, _ := newTree(t, "b")
	dir := t.TempDir()
	put(t, dir, map[string]string{"f": "a\n"})
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	unlock, err := tree.locks.lock(t.Context(), placeOf(&st, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	path := fsbridge.Path(dir + "/f")
	for what, change := range map[string]func(context.Context) error{
		"edit": func(ctx context.Context) error {
			_, _, err := tree.Edit(ctx, &fsbridge.EditRequest{Path: path, Edits: []fsbridge.Edit{{Old: "a", New: "b"}}})
			return err
		},
		"patch": func(ctx context.Context) error {
			_, err := tree.Patch(ctx, &fsbridge.PatchRequest{Path: "/", Files: []fsbridge.FilePatch{{Action: fsbridge.ActionModify, Old: path, Hunks: hunk(1, "-a\n")}}})
			return err
		},
		"move": func(ctx context.Context) error {
			_, err := tree.Move(ctx, &fsbridge.MoveRequest{Source: path, Destination: path + "2"})
			return err
		},
		"delete": func(ctx context.Context) error {
			_, err := tree.Delete(ctx, &fsbridge.DeleteRequest{Path: path})
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		start := time.Now()
		if err := change(ctx); !errors.Is(err, fsbridge.ErrCancelled) || time.Since(start) > 105*time.Millisecond {
			t.Errorf("%s: got %v after %v", what, err, time.Since(start))
		}
		cancel()
	}
	same(t, "after", content(t, dir), map[string]string{"./": "", "f": "-rw-r--r-- a\n"})
}
