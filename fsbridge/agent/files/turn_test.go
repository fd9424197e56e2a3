package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// TestTwoAgentsLoseNoChange: the agents of two containers change a file of the
// mount that both have, and what each was told to be done is in it.
func TestTwoAgentsLoseNoChange(t *testing.T) {
	const each = 100
	path := filepath.Join(t.TempDir(), "f")
	var content strings.Builder
	for i := range 4 * each {
		fmt.Fprintf(&content, "item%04d=0\n", i)
	}
	if err := os.WriteFile(path, []byte(content.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	done := make([]bool, 4*each)
	for who := range 4 {
		tree, _ := newTree(t, fmt.Sprint("agent", who))
		wg.Go(func() {
			for i := who; i < len(done); i += 4 {
				was, is := fmt.Sprintf("item%04d=0\n", i), fmt.Sprintf("item%04d=1\n", i)
				err := changeOne(t, tree, path, was, is, who%2 == 0)
				if done[i] = err == nil; err != nil && fsbridge.NewError(0, "", err).Code != fsbridge.CodeConflict {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, ok := range done {
		if got := strings.Contains(string(now), fmt.Sprintf("item%04d=1\n", i)); got != ok {
			t.Errorf("item %d: changed is %v, was told %v", i, got, ok)
		}
	}
}

// changeOne changes a line by an edit, or by a write that wants what it read.
func changeOne(t *testing.T, tree *Tree, path, was, is string, edit bool) error {
	if edit {
		_, _, err := tree.Edit(t.Context(), &fsbridge.EditRequest{
			Path: fsbridge.Path(path), Edits: []fsbridge.Edit{{Old: was, New: is}},
		})
		return err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	revision := digestOf(content).revision
	changed := strings.Replace(string(content), was, is, 1)
	_, err = tree.Write(t.Context(), &fsbridge.WriteRequest{Path: fsbridge.Path(path), IfRevision: &revision}, Bytes([]byte(changed)))
	return err
}

// TestLockedDirectory: a program that keeps the directory's lock delays a change
// and does not stop it.
func TestLockedDirectory(t *testing.T) {
	tree, _ := newTree(t, "a")
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Flock(fd, unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := write(t, tree, filepath.Join(dir, "f"), "x"); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < turnWait {
		t.Errorf("it waited %s only", took)
	}
}

// TestMadeByAnother: who wanted a new file learns that there is one, and its
// revision.
func TestMadeByAnother(t *testing.T) {
	tree, _ := newTree(t, "a")
	path := filepath.Join(t.TempDir(), "f")
	none := ""
	w := &writing{t: tree, ctx: t.Context(), op: fsbridge.OpWrite,
		req: &fsbridge.WriteRequest{Path: fsbridge.Path(path), IfRevision: &none}, src: Bytes([]byte("mine"))}
	err := errors.Join(w.target.locate(w.op, w.req.Path), w.check(), w.fill(), w.prepare(),
		os.WriteFile(path, []byte("theirs"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	err = w.replace()
	w.end(err)
	var e *fsbridge.Error
	if !errors.As(err, &e) || e.Code != fsbridge.CodeConflict || e.Revision != digestOf([]byte("theirs")).revision {
		t.Errorf("got %v", err)
	}
}

// TestAppendAgainstAnotherAgent: what one agent appends is in what the other makes
// of the file.
func TestAppendAgainstAnotherAgent(t *testing.T) {
	const lines = 300
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("count=0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	one, _ := newTree(t, "one")
	two, _ := newTree(t, "two")
	var wg sync.WaitGroup
	appended := make(chan struct{})
	wg.Go(func() {
		defer close(appended)
		for i := range lines {
			req := &fsbridge.WriteRequest{Path: fsbridge.Path(path), Append: true}
			if _, err := one.Write(t.Context(), req, Bytes(fmt.Appendf(nil, "line%d\n", i))); err != nil {
				t.Error(err)
			}
		}
	})
	for n := 0; ; n++ {
		select {
		case <-appended:
			wg.Wait()
			now, err := os.ReadFile(path)
			if err != nil || n == 0 {
				t.Fatal(n, err)
			}
			for i := range lines {
				if !strings.Contains(string(now), fmt.Sprintf("\nline%d\n", i)) {
					t.Errorf("line %d is lost", i)
				}
			}
			return
		default:
		}
		req := &fsbridge.EditRequest{Path: fsbridge.Path(path), Edits: []fsbridge.Edit{{Old: fmt.Sprintf("count=%d\n", n), New: fmt.Sprintf("count=%d\n", n+1)}}}
		if _, _, err := two.Edit(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
}
