package files

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// TestTargetChangesWhileItsWriterWaits: the temporary file was made like the
// target before the lock was taken, and has to be made like what it is then.
func TestTargetChangesWhileItsWriterWaits(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"nothing": func(string) error { return nil },
		"mode":    func(path string) error { return os.Chmod(path, 0o4750) },
		"owner":   func(path string) error { return os.Chown(path, os.Getuid(), 12345) },
		"attributes": func(path string) error {
			return unix.Setxattr(path, "user.note", []byte("kept"), 0)
		},
		"another file": func(path string) error {
			if err := os.WriteFile(path+".new", []byte("other"), 0o640); err != nil {
				return err
			}
			if err := unix.Setxattr(path+".new", "user.note", []byte("kept"), 0); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			tree, _ := newTree(t, "a")
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			var want, got unix.Stat_t
			changed := blocked(t, tree, path, func() error { return errors.Join(change(path), unix.Stat(path, &want)) })
			if changed != nil {
				t.Skip("cannot change it:", changed)
			}
			if err := unix.Stat(path, &got); err != nil {
				t.Fatal(err)
			}
			if got.Mode != want.Mode || got.Uid != want.Uid || got.Gid != want.Gid {
				t.Errorf("mode %#o owner %d:%d, want %#o %d:%d", got.Mode, got.Uid, got.Gid, want.Mode, want.Uid, want.Gid)
			}
			note := make([]byte, 10)
			n, _ := unix.Getxattr(path, "user.note", note)
			if kept := name == "attributes" || name == "another file"; kept != (n == 4) {
				t.Errorf("attribute %q", note[:max(n, 0)])
			}
			if b, err := os.ReadFile(path); string(b) != "new" || err != nil {
				t.Errorf("content %q %v", b, err)
			}
		})
	}
}

// blocked writes "new" to path, and calls change, whose error it returns, while
// that waits for the lock.
func blocked(t *testing.T, tree *Tree, path string, change func() error) error {
	t.Helper()
	var dir unix.Stat_t
	if err := unix.Stat(filepath.Dir(path), &dir); err != nil {
		t.Fatal(err)
	}
	place := placeOf(&dir, filepath.Base(path))
	unlock, err := tree.locks.lock(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- write(t, tree, path, "new") }()
	for waiting := false; !waiting; runtime.Gosched() {
		tree.locks.mu.Lock()
		waiting = tree.locks.held[place].users == 2
		tree.locks.mu.Unlock()
	}
	err = change()
	unlock()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	return err
}

// TestWritersOfOneFileAtOnce each win whole.
func TestWritersOfOneFileAtOnce(t *testing.T) {
	tree, _ := newTree(t, "a")
	path := filepath.Join(t.TempDir(), "f")
	results := make(chan error)
	for range 16 {
		go func() {
			_, err := tree.Write(t.Context(), &fsbridge.WriteRequest{Path: fsbridge.Path(path)}, Bytes([]byte("whole")))
			results <- err
		}()
	}
	for range 16 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if b, err := os.ReadFile(path); string(b) != "whole" || err != nil {
		t.Errorf("%q %v", b, err)
	}
	if left := temps(t, filepath.Dir(path)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
