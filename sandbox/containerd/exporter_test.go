package containerd

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"golang.org/x/sys/unix"

	"moorage/sandbox"
	"moorage/sandbox/copier/treetest"
)

var (
	exportRef = sandbox.Ref{Bot: "ann", ID: "one"}
	unixTime  = time.Unix(1_600_000_000, 123_456_789)
	noSockets = treetest.Options{Ignore: treetest.Sockets}
)

// exporter is a fixture with a container that has files of every kind.
type exporter struct {
	*fixture
}

func (x exporter) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// fill makes a stopped container whose root filesystem has several layers, with
// what hides things below them, and takes the snapshot "state".
func (x exporter) fill(ref sandbox.Ref) {
	x.t.Helper()
	x.create(ref)
	x.must(x.Stop(context.Background(), ref, 0))
	random := treetest.Seeded(7)
	for i, name := range []string{"s1", "s2", "state"} {
		x.change(ref, func(root string) {
			tree := filepath.Join(root, "tree")
			os.Mkdir(tree, 0o751)
			treetest.Mutate(tree, random, 40)
			x.must(os.WriteFile(filepath.Join(root, "root", "layer"), []byte(name), 0o600))
			x.must(os.MkdirAll(filepath.Join(root, "gone", name, "in"), 0o755))
			if i > 0 { // hidden as a whole, and made anew: opaque
				x.must(os.RemoveAll(filepath.Join(root, "gone", "s1")))
				x.must(os.MkdirAll(filepath.Join(root, "gone", "s1", "again"), 0o755))
				x.must(os.RemoveAll(filepath.Join(root, "home")))
			}
			x.must(os.Chmod(root, 0o711))
			x.must(os.Chtimes(root, unixTime, unixTime))
		})
		data := x.dataDir(ref.Bot)
		treetest.Mutate(data, random, 60)
		removeDevices(data)
		x.must(os.WriteFile(filepath.Join(data, "d"+name), []byte(name), 0o640))
		x.take(ref, name)
	}
}

// change changes the root filesystem of a container that does not run.
func (x exporter) change(ref sandbox.Ref, do func(root string)) {
	x.t.Helper()
	c, err := x.load(x.namespaced(context.Background()), ref)
	x.must(err)
	rec, err := decode(c)
	x.must(err)
	mounts, err := x.client.SnapshotService("overlayfs").Mounts(x.namespaced(context.Background()), rec.snapshot)
	x.must(err)
	at := x.t.TempDir()
	x.must(mount.All(mounts, at))
	defer func() { x.must(mount.UnmountAll(at, 0)) }()
	do(at)
}

// removeDevices: an import takes none into data.
func removeDevices(dir string) {
	filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && unix.Lstat(path, &st) == nil && st.Rdev != 0 {
			os.Remove(path)
		}
		return nil
	})
}

func (x exporter) take(ref sandbox.Ref, name string) {
	x.t.Helper()
	_, err := x.TakeSnapshot(context.Background(), sandbox.SnapshotRequest{Ref: ref, Name: sandbox.SnapshotName(name), Origin: sandbox.OriginAsked, Note: "note of " + name})
	x.must(err)
}

func (x exporter) export(name string) []byte {
	x.t.Helper()
	var b bytes.Buffer
	x.must(x.ExportSnapshot(context.Background(), exportRef.Bot, sandbox.SnapshotName(name), &b))
	return b.Bytes()
}

func (x exporter) imports(bot sandbox.Bot, name string, b []byte) sandbox.Snapshot {
	x.t.Helper()
	sn, err := x.ImportSnapshot(context.Background(), bot, sandbox.SnapshotName(name), bytes.NewReader(b))
	x.must(err)
	return sn
}

// fork makes a container of a snapshot, and returns where its root filesystem is
// mounted until the test ends, and its data.
func (x exporter) fork(bot sandbox.Bot, from string) (root, data string) {
	x.t.Helper()
	ref := sandbox.Ref{Bot: bot, ID: sandbox.ContainerID("fork-of-" + strings.ToLower(from))}
	ctx := x.namespaced(context.Background())
	x.must(x.Create(ctx, sandbox.Spec{Ref: ref, FromSnapshot: sandbox.SnapshotName(from)}))
	c, err := x.load(ctx, ref)
	x.must(err)
	rec, err := decode(c)
	x.must(err)
	dirs, err := stackOfActive(ctx, x.client.SnapshotService("overlayfs"), rec.snapshot)
	x.must(err)
	return x.overlay(dirs), x.dataDirOf(c.ID, rec)
}

// overlay shows layers, the top first.
func (x exporter) overlay(dirs []string) string {
	x.t.Helper()
	at, empty := x.t.TempDir(), x.t.TempDir()
	m := mount.Mount{Type: "overlay", Source: "overlay", Options: []string{"ro", "lowerdir=" + strings.Join(append(dirs, empty), ":")}}
	x.must(m.Mount(at))
	x.t.Cleanup(func() { mount.UnmountAll(at, 0) })
	return at
}

func (x exporter) same(a, b string, o treetest.Options) {
	x.t.Helper()
	if err := treetest.Compare(a, b, o); err != nil {
		x.t.Error(err)
	}
}

// collect makes containerd collect what nothing holds.
func (x exporter) collect() {
	x.t.Helper()
	ctx := x.namespaced(context.Background())
	ls := x.client.LeasesService()
	l, err := ls.Create(ctx, leases.WithRandomID())
	x.must(err)
	x.must(ls.Delete(ctx, l, leases.SynchronousDelete))
}

// held is all that containerd has: names of snapshots and digests of blobs.
func (x exporter) held() (all []string) {
	x.t.Helper()
	ctx := x.namespaced(context.Background())
	x.must(x.client.SnapshotService("overlayfs").Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		all = append(all, "snapshot "+i.Name)
		return nil
	}))
	x.must(x.client.ContentStore().Walk(ctx, func(i content.Info) error {
		all = append(all, "blob "+i.Digest.String())
		return nil
	}))
	busy, err := x.client.ContentStore().ListStatuses(ctx)
	x.must(err)
	for _, s := range busy {
		all = append(all, "half a blob "+s.Ref)
	}
	ls, err := x.client.LeasesService().List(ctx)
	x.must(err)
	for _, l := range ls {
		all = append(all, "lease "+l.ID)
	}
	for _, dir := range []string{"snapshots", "own", "tmp"} {
		trees, err := filepath.Glob(filepath.Join(x.opts.Root, "data", x.instance, dir, "*"))
		x.must(err)
		for _, tree := range trees {
			all = append(all, "tree "+tree)
		}
	}
	slices.Sort(all)
	return all
}

func (x exporter) forgetImages() {
	x.t.Helper()
	ctx := x.namespaced(context.Background())
	all, err := x.client.ImageService().List(ctx)
	x.must(err)
	for _, i := range all {
		x.must(x.client.ImageService().Delete(ctx, i.Name))
	}
	x.collect()
}
