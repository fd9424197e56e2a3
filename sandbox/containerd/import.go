package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/containerd/containerd/v2/core/snapshots"

	"moorage/sandbox"
	"moorage/sandbox/containerd/image"
	"moorage/sandbox/containerd/imagetar"
	"moorage/sandbox/containerd/labels"
	"moorage/sandbox/containerd/layers"
	"moorage/sandbox/containerd/snapstore"
	"moorage/sandbox/copier"
)

// Bounds of what an imported layer of ours may unpack to. What is really on disk
// is bounded by the bot's share of it.
const (
	maxImportBytes   = 4 << 40 // holes included
	maxImportEntries = 10_000_000
)

// importedFrom is the container of a snapshot that was taken of none.
const importedFrom sandbox.ContainerID = "imported"

// ImportSnapshot makes a snapshot of an image tar; see sandbox.Snapshots. The
// image's layers are containerd's, shared with every image that has them; what is
// above becomes one layer of ours. Of a tar that is no snapshot's all layers are
// the image's, and there is no data.
//
// The image gets no name, so its blobs go when they are unpacked. Its layers stay as
// long as ours stands on them. All is listed at once, by the commit of our layer;
// what was made before that is swept away by Open.
func (r *Runtime) ImportSnapshot(ctx context.Context, bot sandbox.Bot, name sandbox.SnapshotName, tar io.Reader) (sandbox.Snapshot, error) {
	ctx = r.namespaced(ctx)
	if _, err := r.snaps.Get(bot, name); err == nil {
		return sandbox.Snapshot{}, fmt.Errorf("snapshot %s: %w", name, sandbox.ErrAlreadyExists)
	}
	i := &importing{r: r, sn: r.client.SnapshotService(r.opts.Snapshotter)}
	i.e = snapstore.Entry{ID: snapstore.NewID(), Bot: bot, Name: name}
	defer r.freed() // the blobs
	r.step("read image tar")
	if err := r.images.ReadTar(ctx, tar, i.run); err != nil {
		return sandbox.Snapshot{}, noSpace(err)
	}
	r.snaps.Published(i.e)
	return i.e.Snapshot(), nil
}

// importing is an import under way.
type importing struct {
	r  *Runtime
	sn snapshots.Snapshotter
	e  snapstore.Entry

	from *imagetar.Record // nil if the tar is no snapshot's
}

// run makes the snapshot of an image.
func (i *importing) run(ctx context.Context, u *image.Unnamed) (err error) {
	if i.from, err = imagetar.Find(u.Config); err != nil {
		return err
	}
	if err := i.describe(u); err != nil {
		return err
	}
	tmp := i.e.ID + "-import"
	defer func() {
		if err != nil {
			i.r.undo(ctx, "remove layer of import", func(ctx context.Context) error { return i.r.removeLayer(ctx, i.sn, tmp) })
			i.r.undo(ctx, "remove tree of import", func(ctx context.Context) error { return i.r.snaps.RemoveTree(ctx, i.e.ID) })
		}
	}()
	n := u.Layers()
	if i.from != nil {
		n = i.from.ImageLayers
	}
	i.r.step("unpack image")
	if i.e.Under, err = u.Unpack(ctx, n, i.r.opts.Snapshotter); err != nil {
		return err
	}
	if err := i.root(ctx, u, tmp, n); err != nil {
		return err
	}
	if err := i.data(ctx, u, n+1); err != nil {
		return err
	}
	return i.commit(ctx, tmp)
}

// describe makes the record.
func (i *importing) describe(u *image.Unnamed) error {
	rec := snapstore.Record{
		Container: importedFrom, ImageEnv: u.Config.Config.Env, Origin: sandbox.OriginImport, Created: time.Now().UTC(),
	}
	rec.Spec.Image = orDefault(u.Name, "localhost/imported@"+u.Digest.String())
	if f := i.from; f != nil {
		rec.Container, rec.Spec, rec.ImageEnv, rec.Note, rec.Created = f.Container, f.Spec, f.ImageEnv, f.Note, f.Created
		rec.Spec.FromSnapshot, rec.Spec.OwnData = "", false
	}
	rec.Spec.Ref = sandbox.Ref{Bot: i.e.Bot, ID: rec.Container}
	rec.Spec.Snapshotter = i.r.opts.Snapshotter
	i.e.Record = rec
	if err := checkImported(rec); err != nil {
		return fmt.Errorf("read image's description: %w: %v", sandbox.ErrImage, err)
	}
	return nil
}

// checkImported looks at all that comes from the tar.
func checkImported(rec snapstore.Record) error {
	if _, err := sandbox.ParseContainerID(string(rec.Container)); err != nil {
		return err
	}
	if name, err := image.Normalise(rec.Spec.Image); err != nil {
		return err
	} else if name != rec.Spec.Image {
		return fmt.Errorf("the image's name %.80q is not whole", rec.Spec.Image)
	}
	for _, text := range append([]string{rec.Note}, rec.ImageEnv...) {
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return fmt.Errorf("%.80q is not UTF-8, or has a NUL byte", text)
		}
	}
	if len(rec.Note) > sandbox.MaxNote {
		return fmt.Errorf("the note has %d bytes, at most %d are allowed", len(rec.Note), sandbox.MaxNote)
	}
	return errors.Join(checkSpec(rec.Spec), labels.Put(map[string]string{}, rec))
}

// root makes the layer of ours, active as yet, of the image's layer n, or an empty
// one.
func (i *importing) root(ctx context.Context, u *image.Unnamed, tmp string, n int) error {
	i.r.step("prepare layer of import")
	dir, err := i.r.prepareLayer(ctx, i.sn, "import", tmp, i.e.Under)
	if err != nil {
		return err
	}
	if err := i.r.limitDisk(i.e.Bot, dir); err != nil {
		return err
	}
	if i.from == nil {
		mounts, err := i.sn.Mounts(ctx, tmp)
		if err != nil {
			return engineError("find root filesystem", err)
		}
		err = i.r.seed(i.e.Under, i.r.mountDir(tmp), mounts) // as for a container of the image
		return errors.Join(err, i.measure(ctx, dir, &i.e.Record.RootBytes))
	}
	i.r.step("unpack root filesystem")
	return i.unpack(ctx, u, n, dir, &i.e.Record.RootBytes, layers.ReadOptions{Layer: true, Devices: true})
}

// data makes the tree of the image's layer n.
func (i *importing) data(ctx context.Context, u *image.Unnamed, n int) error {
	i.r.step("unpack data")
	if err := i.r.snaps.MakeTree(i.e.ID, i.r.opts.Snapshotter); err != nil {
		return err
	}
	dir := i.r.snaps.Data(i.e.ID)
	if err := i.r.limitDisk(i.e.Bot, dir); err != nil {
		return err
	}
	if i.from == nil {
		return i.measure(ctx, dir, &i.e.Record.DataBytes)
	}
	return i.unpack(ctx, u, n, dir, &i.e.Record.DataBytes, layers.ReadOptions{Prefix: i.from.DataMount})
}

// unpack unpacks a layer of the image into an empty directory.
func (i *importing) unpack(ctx context.Context, u *image.Unnamed, n int, dir string, bytes *int64, o layers.ReadOptions) error {
	o.MaxBytes, o.MaxEntries = maxImportBytes, maxImportEntries
	err := u.Layer(ctx, n, func(tar io.Reader) error { return layers.ReadTar(ctx, tar, dir, o) })
	if errors.Is(err, layers.ErrTar) || errors.Is(err, layers.ErrLimit) {
		return fmt.Errorf("layer %d: %w: %v", n, sandbox.ErrImage, err)
	}
	if err != nil {
		return err
	}
	return i.measure(ctx, dir, bytes)
}

func (i *importing) measure(ctx context.Context, dir string, bytes *int64) error {
	size, files, err := copier.Usage(ctx, dir)
	*bytes = size
	i.e.Record.Files += files
	return err
}

// commit makes it a snapshot.
func (i *importing) commit(ctx context.Context, tmp string) error {
	l, err := i.e.Labels(i.r.instance)
	if err != nil {
		return err
	}
	i.r.step("commit import")
	if err := i.sn.Commit(context.WithoutCancel(ctx), i.e.ID, tmp, snapshots.WithLabels(l)); err != nil {
		return engineError("commit snapshot", err)
	}
	i.r.step("listed")
	return nil
}
