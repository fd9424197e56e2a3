package containerd

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"moorage/sandbox"
	"moorage/sandbox/sandboxtest"
)

// What an import stands on stays as long as it is there, and no longer.
func TestImportCollected(t *testing.T) {
	b := exported(t, exportOnly).b
	other := exporter{newFixture(t, engines[0])}
	before := other.held()
	other.imports("bob", "moved", b)
	other.collect()
	if held := strings.Join(other.held(), "\n"); strings.Contains(held, "blob") || strings.Contains(held, "lease") || !strings.Contains(held, "snapshot sha256:") {
		t.Errorf("with the import there is\n%s", held)
	}
	other.fork("bob", "moved")
	other.must(other.Delete(context.Background(), sandbox.Ref{Bot: "bob", ID: "fork-of-moved"}, true))
	other.must(other.DeleteSnapshot(context.Background(), "bob", "moved"))
	other.collect()
	if held := other.held(); !slices.Equal(held, before) {
		t.Errorf("after it there is %q, before %q", held, before)
	}
}

// An image of anybody's becomes a snapshot with no data.
func TestImportImage(t *testing.T) {
	x := exporter{newFixture(t, engines[0])}
	b := sandboxtest.ImageTar(t, "tool:1", []string{"A=1"}, sandboxtest.File{Name: "data/f", Mode: 0o644, Data: []byte("x")})
	sn := x.imports("bob", "plain", b)
	if sn.Spec.Image != "docker.io/library/tool:1" || sn.Origin != sandbox.OriginImport {
		t.Errorf("it is told as %+v", sn)
	}
	if e, err := x.snaps.Get("bob", "plain"); err != nil || !slices.Equal(e.Record.ImageEnv, []string{"A=1"}) {
		t.Errorf("%+v, %v", e, err)
	}
	x.imports("bob", "nameless", sandboxtest.ImageTar(t, "", nil))
	root, data := x.fork("bob", "plain")
	if got, _ := os.ReadFile(filepath.Join(root, "data", "f")); string(got) != "x" {
		t.Errorf("the file has %q", got)
	}
	if all, err := os.ReadDir(data); err != nil || len(all) != 0 {
		t.Errorf("the data has %v, %v", all, err)
	}
	x.must(x.Start(context.Background(), sandbox.Ref{Bot: "bob", ID: "fork-of-plain"}))
	if in := x.enter(sandbox.Ref{Bot: "bob", ID: "fork-of-plain"}); in.c == nil {
		t.Error("no agent")
	}
}
