package main

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// pkg is what `go list` says of a package.
type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

func listPackages(t *testing.T, args ...string) []pkg {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-json=ImportPath,Standard,Imports,Deps"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// rooms in the order in which imports may point: to oneself and to the right.
var rooms = []string{"cmd", "tools", "sandbox", "fsbridge"}

func room(path string) int {
	for i, r := range rooms {
		if rest, ok := strings.CutPrefix(path, "moorage/"+r); ok && (rest == "" || rest[0] == '/') {
			return i
		}
	}
	return -1
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func TestImportsPointOneWay(t *testing.T) {
	for _, p := range listPackages(t, "moorage/...") {
		if room(p.ImportPath) < 0 {
			t.Errorf("%s is in none of the rooms %v", p.ImportPath, rooms)
		}
		for _, dep := range p.Imports {
			if r := room(dep); r >= 0 && r < room(p.ImportPath) {
				t.Errorf("%s imports %s: imports point %s", p.ImportPath, dep, strings.Join(rooms, " -> "))
			}
			if within(dep, "github.com/containerd/containerd") && !within(p.ImportPath, "moorage/sandbox/containerd") {
				t.Errorf("%s imports %s: only sandbox/containerd may", p.ImportPath, dep)
			}
			if within(dep, "github.com/mark3labs/mcp-go") && !within(p.ImportPath, "moorage/tools") && !within(p.ImportPath, "moorage/cmd/moorage-bench") {
				t.Errorf("%s imports %s: only tools may", p.ImportPath, dep)
			}
		}
	}
}

func TestFsbridgeNeedsOnlyTheStandardLibrary(t *testing.T) {
	std := map[string]bool{}
	for _, p := range listPackages(t, "-deps", "moorage/fsbridge") {
		std[p.ImportPath] = p.Standard
	}
	for path, standard := range std {
		if !standard && path != "moorage/fsbridge" && !within(path, "golang.org/x/sys") {
			t.Errorf("fsbridge depends on %s", path)
		}
	}
}

func TestBlankImportsAreInEmbedAlone(t *testing.T) {
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		if strings.Contains(path, "sandbox/containerd/embed/") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			if i.Name != nil && i.Name.Name == "_" {
				t.Errorf("%s has the blank import %s", path, i.Path.Value)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
