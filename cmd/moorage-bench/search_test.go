package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"moorage/cmd/moorage-bench/trees"
)

// smaller is a tree of a tenth of the files.
func smaller(tree trees.Tree) trees.Tree {
	tree.Files /= 10
	return tree
}

// TestNativeToolsFindWhatIsThere, those that this machine has.
func TestNativeToolsFindWhatIsThere(t *testing.T) {
	for _, c := range []struct {
		name   string
		tree   trees.Tree
		search search
		add    func(*search)
		rg     int // 1 if one side is rg, if there is one
	}{
		{"grep", smaller(grepTree), search{find: needle, finds: grepTree.Hits}, func(s *search) { s.grepNatively(t.Context()) }, 1},
		{"glob", smaller(globTree), search{find: globTree.HitName, finds: globTree.Hits}, func(s *search) { s.globNatively(t.Context()) }, 1},
		{"newest", smaller(globTree), search{find: ".txt", finds: newest}, func(s *search) { s.newestNatively(t.Context()) }, 0},
	} {
		s := c.search
		s.tree = t.TempDir()
		if err := c.tree.Make(t.Context(), s.tree); err != nil {
			t.Fatal(err)
		}
		c.add(&s)
		if _, err := exec.LookPath("rg"); err != nil {
			c.rg = 0
		}
		if want := 1 + c.rg; s.failed != nil || len(s.peers) != want {
			t.Errorf("%s: %d sides, %v", c.name, len(s.peers), s.failed)
		}
		for _, p := range s.peers {
			var got samples
			if err := p.take(t.Context(), time.Nanosecond, &got); err != nil || len(got.took) == 0 {
				t.Errorf("%s by %s: %v, %v", c.name, p.name, got, err)
			}
		}
	}
}

func TestSideThatDoesNotFindItIsAnError(t *testing.T) {
	s := search{tree: t.TempDir(), find: ".txt", finds: 1}
	s.native(t.Context(), findName, "find", s.tree)
	s.native(t.Context(), "later", "find", s.tree)
	if s.failed == nil || !strings.Contains(s.failed.Error(), findName) {
		t.Errorf("got %v", s.failed)
	}
}

func TestToolsThatAreNotThereAreNamed(t *testing.T) {
	b := bench{opts: options{Bin: "/b"}, lacks: map[string]bool{editTool: false}}
	if err := b.lacking(); err != nil {
		t.Errorf("got %v", err)
	}
	b.lacks = map[string]bool{editTool: false, grepTool: true, globTool: true}
	want := "measure: /b/moorage has no tool fs_glob, fs_grep, so the contests of it are left out; build it from this source: make build"
	if err := b.lacking(); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}
