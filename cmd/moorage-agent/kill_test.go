package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"moorage/fsbridge"
)

// killAt does work that asks the agent for something, kills that with SIGKILL as soon as when is
// true, and starts the next one, which has cleaned up when killAt returns.
func (c *container) killAt(when func() bool, work func()) *fsbridge.Client {
	c.t.Helper()
	out, err := exec.Command("runc", "--root", filepath.Join(c.bundle, "runc"), "state", c.id).Output()
	var state struct{ Pid int }
	if err == nil {
		err = json.Unmarshal(out, &state)
	}
	if err != nil || state.Pid <= 0 {
		c.t.Fatalf("state: %v: %s", err, out)
	}
	agent, err := os.FindProcess(state.Pid)
	if err != nil {
		c.t.Fatal(err)
	}
	var doing sync.WaitGroup
	done := make(chan struct{})
	doing.Go(func() { defer close(done); work() })
	for ended := false; !ended && !when(); {
		select {
		case <-done:
			ended = true
		default:
		}
	}
	agent.Signal(syscall.SIGKILL)
	<-c.exited
	doing.Wait()
	c.run("runc", "--root", filepath.Join(c.bundle, "runc"), "delete", "--force", c.id)
	c.start()
	client := c.connect()
	waitFor(c.t, func() bool { // the next agent has removed the journals of those before
		left, _ := filepath.Glob(filepath.Join(c.bundle, "rootfs", ".moorage", "spool", "temps-*"))
		return len(left) == 0
	})
	return client
}

// temps are the temporary files below a directory of the bundle.
func (c *container) temps(dir string) (found []string) {
	filepath.WalkDir(filepath.Join(c.bundle, dir), func(path string, d os.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(path), ".moorage-tmp-") {
			found = append(found, path)
		}
		return nil
	})
	return found
}

// TestKilledInPatch: each file is whole, the old or the new, and nothing is left.
func TestKilledInPatch(t *testing.T) {
	c := newContainer(t, program, limits{})
	c.start()
	client := c.connect()
	const files = 300
	dir := filepath.Join(c.bundle, "data", "p")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	name := func(kind string, i int) string { return filepath.Join(dir, fmt.Sprintf("%s%d", kind, i)) }
	has := func(path, want string) bool {
		b, err := os.ReadFile(path)
		return err == nil && string(b) == want || want == "" && os.IsNotExist(err)
	}
	filler := strings.Repeat("stays\n", 1000)
	for what, when := range map[string]func() bool{
		"prepares": func() bool { return len(c.temps("data/p")) > 20 },
		"commits":  func() bool { return has(name("n", 0), "moves\n") },
		"deletes":  func() bool { return has(name("r", 0), "") },
	} {
		os.RemoveAll(dir)
		os.Mkdir(dir, 0o755)
		var patches []fsbridge.FilePatch
		for i := range files {
			for kind, content := range map[string]string{"f": "old\n" + filler, "r": "moves\n", "d": "goes\n"} {
				if i%3 != 0 && kind != "f" {
					continue
				}
				if err := os.WriteFile(name(kind, i), []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			path := func(kind string) fsbridge.Path { return fsbridge.Path(fmt.Sprintf("p/%s%d", kind, i)) }
			hunk := func(lines ...string) []fsbridge.Hunk { return []fsbridge.Hunk{{Start: 1, Lines: lines}} }
			patches = append(patches, fsbridge.FilePatch{Action: fsbridge.ActionModify, Old: path("f"), Hunks: hunk("-old\n", "+new\n", " stays\n")})
			if i%3 == 0 {
				patches = append(patches, fsbridge.FilePatch{Action: fsbridge.ActionRename, Old: path("r"), New: path("n")},
					fsbridge.FilePatch{Action: fsbridge.ActionDelete, Old: path("d"), Hunks: hunk("-goes\n")})
			}
		}
		patches = patches[:min(len(patches), fsbridge.PatchFilesMax)]
		before := client
		client = c.killAt(when, func() {
			before.Patch(t.Context(), fsbridge.PatchRequest{Files: patches})
		})
		fresh, old := 0, 0
		for i := range files {
			switch {
			case has(name("f", i), "new\n"+filler):
				fresh++
			case has(name("f", i), "old\n"+filler):
				old++
			default:
				t.Errorf("%s: file %d is neither the old nor the new", what, i)
			}
			if i%3 != 0 {
				continue
			}
			if !has(name("r", i), "moves\n") && !has(name("n", i), "moves\n") {
				t.Errorf("%s: what was to be renamed, %d, is lost", what, i)
			}
			for kind, content := range map[string]string{"r": "moves\n", "n": "moves\n", "d": "goes\n"} {
				if !has(name(kind, i), content) && !has(name(kind, i), "") {
					t.Errorf("%s: %s%d is not whole", what, kind, i)
				}
			}
		}
		t.Logf("killed while it %s: %d files are new, %d old", what, fresh, old)
		if left := c.temps("data/p"); len(left) > 0 {
			t.Errorf("%s: left are %v", what, left)
		}
	}
}

// TestKilledInMove: of a tree that is moved to another file system there is
// always a whole one, and never a part.
func TestKilledInMove(t *testing.T) {
	c := newContainer(t, program, limits{})
	c.start()
	client := c.connect()
	const files = 100
	content := strings.Repeat("0123456789abcdef", 4<<10)
	source, dest := filepath.Join(c.bundle, "rootfs", "src", "tree"), filepath.Join(c.bundle, "data", "moved")
	count := func(dir string) int { // -1: there is none
		entries, err := os.ReadDir(dir)
		if err != nil {
			return -1
		}
		n := 0
		for _, e := range entries {
			if b, err := os.ReadFile(filepath.Join(dir, e.Name())); err == nil && string(b) == content {
				n++
			}
		}
		return n
	}
	exists := func(path string) bool { _, err := os.Lstat(path); return err == nil }
	for what, when := range map[string]func() bool{
		"copies":  func() bool { return len(c.temps("data")) > 0 },
		"renames": func() bool { return exists(dest) },
		"deletes": func() bool { return !exists(source) },
	} {
		os.RemoveAll(dest)
		if err := os.MkdirAll(source, 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range files {
			if err := os.WriteFile(filepath.Join(source, fmt.Sprint(i)), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		before := client
		client = c.killAt(when, func() {
			before.Move(t.Context(), fsbridge.MoveRequest{Source: "/src/tree", Destination: "moved"})
		})
		from, to := count(source), count(dest)
		if from != files && to != files || from != files && from != -1 || to != files && to != -1 {
			t.Errorf("%s: the source has %d whole files, the destination %d, of %d", what, from, to, files)
		}
		t.Logf("killed while it %s: the source has %d files, the destination %d", what, from, to)
		if left := append(c.temps("data"), c.temps("rootfs/src")...); len(left) > 0 {
			t.Errorf("%s: left are %v", what, left)
		}
	}
}
