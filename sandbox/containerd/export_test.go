package containerd

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"moorage/sandbox"
	"moorage/sandbox/containerd/imagetar"
	"moorage/sandbox/containerd/layers"
	"moorage/sandbox/copier/treetest"
	"moorage/sandbox/sandboxtest"
)

// A snapshot comes back as it was: where it was made, on another server that never
// had the image, and from one where the image is gone.
func TestExportImport(t *testing.T) {
	from := exported(t, exportBack)
	onEach(t, func(t *testing.T, f *fixture) {
		x := exporter{f}
		for name, b := range map[string][]byte{"moved": from.b, "bare": from.bare} {
			x.imports("bob", name, b)
			root, data := x.fork("bob", name)
			x.same(from.root, root, noSockets)
			x.same(from.data, data, noSockets)
			x.collect()
			x.must(x.Start(context.Background(), sandbox.Ref{Bot: "bob", ID: sandbox.ContainerID("fork-of-" + name)}))
		}
	})
}

// exportBack also imports where the image is.
func exportBack(t *testing.T, keep string) taken {
	x := exporter{newFixture(t, engines[0])}
	x.fill(exportRef)
	b := x.export("state")
	if !bytes.Equal(b, x.export("state")) {
		t.Error("a second export is another")
	}
	sn := x.imports(exportRef.Bot, "back", b)
	was, err := x.snaps.Get(exportRef.Bot, "state")
	x.must(err)
	if sn.Origin != sandbox.OriginImport || sn.Note != "note of state" || sn.Spec.Ref != exportRef || !sn.CreatedAt.Equal(was.Record.Created) || sn.Size == 0 {
		t.Errorf("it is told as %+v", sn)
	}
	root, data := x.fork(exportRef.Bot, "state")
	backRoot, backData := x.fork(exportRef.Bot, "back")
	x.same(root, backRoot, noSockets)
	x.same(data, backData, noSockets)
	got, err := x.snaps.Get(exportRef.Bot, "back")
	x.must(err)
	if _, image, err := x.own(x.namespaced(context.Background()), x.client.SnapshotService("overlayfs"), was.ID); err != nil || got.Under != image {
		t.Errorf("it stands on %s, the image is %s: %v", got.Under, image, err)
	}

	kept := taken{b: b, root: copied(t, keep, root), data: copied(t, keep, data)}
	x.forgetImages()
	kept.bare = x.export("state")
	if !bytes.Equal(kept.bare, x.export("state")) {
		t.Error("a second export without the image is another")
	}
	return kept
}

// taken is what an exporter has made, and what was in it.
type taken struct {
	b, bare    []byte
	root, data string
}

// copied keeps a tree beyond its server: one process can embed only one.
func copied(t *testing.T, keep, tree string) string {
	t.Helper()
	dir, err := os.MkdirTemp(keep, "")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", tree+"/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v: %s", tree, err, out)
	}
	return dir
}

// exported runs another server before the test's own.
func exported(t *testing.T, make func(t *testing.T, keep string) taken) (k taken) {
	needRoot(t)
	keep := t.TempDir()
	if !t.Run("Export", func(t *testing.T) { k = make(t, keep) }) {
		t.FailNow()
	}
	return k
}

func exportOnly(t *testing.T, keep string) taken {
	x := exporter{newFixture(t, engines[0])}
	x.fill(exportRef)
	root, data := x.fork(exportRef.Bot, "state")
	return taken{b: x.export("state"), root: copied(t, keep, root), data: copied(t, keep, data)}
}

// What Docker and containerd want of a tar: all that manifest.json names is there
// with the digests that the configuration says, and containerd loads it as it is.
func TestExportLoads(t *testing.T) {
	from := exported(t, exportOnly)
	config := readDocker(t, from.b)
	if config.Config.WorkingDir != "/data" || !slices.ContainsFunc(config.Config.Env, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) || config.Architecture == "" {
		t.Errorf("the configuration is %+v", config)
	}

	other := exporter{newFixture(t, engines[0])}
	ctx := other.namespaced(context.Background())
	loaded, err := other.client.Import(ctx, bytes.NewReader(from.b))
	other.must(err)
	if len(loaded) != 1 || loaded[0].Name != "docker.io/moorage/snapshot:state" {
		t.Fatalf("containerd has loaded %+v", loaded)
	}
	img := client.NewImage(other.client, loaded[0])
	other.must(img.Unpack(ctx, "overlayfs"))
	dirs, err := other.stackOf(ctx, other.client.SnapshotService("overlayfs"), identity.ChainID(config.RootFS.DiffIDs).String())
	other.must(err)
	// containerd leaves holes, attributes that begin with trusted and those of the
	// top alone.
	load := treetest.Options{Ignore: treetest.Sockets | treetest.Holes | treetest.Xattrs | treetest.Links, Skip: func(p string) bool { return p == "data" }}
	at := other.overlay(dirs)
	compareBelow(t, from.root, at, load)
	load.Skip = nil
	other.same(from.data, filepath.Join(at, "data"), load)
}

// compareBelow compares two trees but for their top directories.
func compareBelow(t *testing.T, a, b string, o treetest.Options) {
	t.Helper()
	all, err := os.ReadDir(a)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if o.Skip != nil && o.Skip(e.Name()) || !e.IsDir() {
			continue
		}
		if err := treetest.Compare(filepath.Join(a, e.Name()), filepath.Join(b, e.Name()), o); err != nil {
			t.Error(err)
		}
	}
}

// tarFiles reads a tar into memory.
func tarFiles(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err == nil && files[h.Name] != nil {
			err = fmt.Errorf("%s is there twice", h.Name)
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// readDocker reads a tar as strictly as one can that `docker load` takes.
func readDocker(t *testing.T, b []byte) (config imagespec.Image) {
	t.Helper()
	files := tarFiles(t, b)
	strict := func(name string, v any) {
		t.Helper()
		if err := json.Unmarshal(files[name], v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for name, content := range files {
		if hex, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && fmt.Sprintf("%x", sha256.Sum256(content)) != hex {
			t.Errorf("%s has another digest", name)
		}
	}
	var saved []struct {
		Config           string
		RepoTags, Layers []string
	}
	strict("manifest.json", &saved)
	if len(saved) != 1 || !slices.Equal(saved[0].RepoTags, []string{"moorage/snapshot:state"}) {
		t.Fatalf("manifest.json names %+v", saved)
	}
	strict(saved[0].Config, &config)
	if len(config.RootFS.DiffIDs) != len(saved[0].Layers) || len(config.History) != len(saved[0].Layers) || len(saved[0].Layers) != 3 {
		t.Fatalf("%d layers, %d in the configuration, %d in its history", len(saved[0].Layers), len(config.RootFS.DiffIDs), len(config.History))
	}
	for i, name := range saved[0].Layers {
		plain, err := compression.DecompressStream(bytes.NewReader(files[name]))
		if err != nil {
			t.Fatal(err)
		}
		if d, err := digest.FromReader(plain); err != nil || d != config.RootFS.DiffIDs[i] {
			t.Errorf("layer %d, %s, is %s unpacked, expected is %s: %v", i, name, d, config.RootFS.DiffIDs[i], err)
		}
	}
	return config
}

// An export that is given up leaves nothing, one that cannot go on neither.
func TestExportGivenUp(t *testing.T) {
	x := exporter{newFixture(t, engines[0])}
	x.fill(exportRef)
	x.collect()
	before := x.held()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := x.ExportSnapshot(ctx, exportRef.Bot, "state", io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	r, w := io.Pipe()
	r.Close()
	if err := x.ExportSnapshot(context.Background(), exportRef.Bot, "state", w); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v", err)
	}
	if err := x.ExportSnapshot(context.Background(), exportRef.Bot, "none", w); !errors.Is(err, sandbox.ErrNotFound) {
		t.Errorf("%v", err)
	}
	sandboxtest.Eventually(t, waitFor, func() bool { x.collect(); return slices.Equal(x.held(), before) },
		func() string { return fmt.Sprintf("there is %q, before %q", x.held(), before) })
}

// An image of more layers than Docker takes is exported as one.
func TestExportManyLayers(t *testing.T) {
	x := exporter{newFixture(t, engines[0])}
	many := imagetar.Image{Tag: "many", Config: imagespec.Image{Platform: platforms.DefaultSpec()}, Record: imagetar.Record{DataMount: "/data"}}
	for i := range imagetar.MaxLayers {
		many.Layers = append(many.Layers, measured(t, entries(fmt.Sprintf("f%03d", i), "same")))
	}
	many.Record.ImageLayers = len(many.Layers)
	many.Record.Container, many.Record.Spec.Image = "c", "docker.io/library/x:latest"
	many.Layers = append(many.Layers, measured(t, entries("own")), measured(t, entries("data/f")))
	var b bytes.Buffer
	x.must(imagetar.Write(t.Context(), &b, many))
	x.imports(exportRef.Bot, "many", b.Bytes())
	again := x.export("many")
	var saved []struct{ Layers []string }
	if err := json.Unmarshal(tarFiles(t, again)["manifest.json"], &saved); err != nil || len(saved) != 1 || len(saved[0].Layers) != 2 {
		t.Errorf("it has %+v, %v", saved, err)
	}
	x.imports(exportRef.Bot, "few", again)
	for _, path := range []string{"/f000", "/f126", "/same", "/own", "/none"} {
		for _, name := range []sandbox.SnapshotName{"many", "few"} {
			e, err := x.snaps.Get(exportRef.Bot, name)
			x.must(err)
			dirs, err := x.stackOf(x.namespaced(t.Context()), x.client.SnapshotService("overlayfs"), e.ID)
			x.must(err)
			root, err := layers.OpenStack(dirs...)
			x.must(err)
			if _, err := root.Lookup(path); (err == nil) != (path != "/none") {
				t.Errorf("%s in %s: %v", path, name, err)
			}
			root.Close()
		}
	}
}
