package containerd

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/platforms"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"moorage/sandbox"
	"moorage/sandbox/containerd/image"
	"moorage/sandbox/containerd/imagetar"
	"moorage/sandbox/containerd/layers"
	"moorage/sandbox/containerd/ocispec"
	"moorage/sandbox/containerd/snapstore"
)

// ExportSnapshot writes a snapshot as an image tar; see sandbox.Snapshots. The
// image's layers are its blobs; where these are gone, tars of its directories. All
// layers of ours become one. What a tar cannot have is left out, and logged:
// sockets, and files whose names begin with .wh.
func (r *Runtime) ExportSnapshot(ctx context.Context, bot sandbox.Bot, name sandbox.SnapshotName, w io.Writer) error {
	ctx = r.namespaced(ctx)
	e, err := r.snaps.Get(bot, name)
	if err != nil {
		return err
	}
	x := &exporting{r: r, e: e, sn: r.client.SnapshotService(e.Record.Spec.Snapshotter)}
	n, top, err := r.own(ctx, x.sn, e.ID)
	if err != nil {
		return err
	}
	err = r.images.WithBlobs(ctx, top, func(ctx context.Context, b *image.Blobs) error {
		x.blobs = b
		return r.viewed(ctx, x.sn, e.ID, func(dirs []string) error { return x.write(ctx, w, dirs, n, top) })
	})
	if err == nil {
		return nil
	}
	if _, gone := r.snaps.Get(bot, name); gone != nil {
		return gone // it was deleted meanwhile
	}
	return noSpace(err)
}

// exporting is an export under way.
type exporting struct {
	r     *Runtime
	e     snapstore.Entry
	sn    snapshots.Snapshotter
	blobs *image.Blobs // of the image; nil if they are gone

	left  int    // what was left out
	first string // of it
}

// write writes the tar of a snapshot that has dirs, the top first, of which n are
// ours and the others those of the image named top.
func (x *exporting) write(ctx context.Context, w io.Writer, dirs []string, n int, top string) error {
	if len(dirs)-n+2 > imagetar.MaxLayers {
		x.blobs, n, top = nil, len(dirs), ""
	}
	if n > 1 {
		merged, err := x.r.merge(ctx, x.sn, dirs, n, top)
		if err != nil {
			return err
		}
		defer x.r.undo(ctx, "release merged layer", func(ctx context.Context) error {
			return x.r.snaps.Release(ctx, x.e.Record.Spec.Snapshotter, merged)
		})
		own, err := x.r.layerDir(ctx, x.sn, merged)
		if err != nil {
			return err
		}
		dirs, n = slices.Concat([]string{own}, dirs[n:]), 1
	}
	i, err := x.image(ctx, dirs[0], dirs[n:])
	if err != nil {
		return err
	}
	if x.left > 0 {
		x.r.log.Warn("left out of an export what a tar cannot have", "bot", x.e.Bot, "snapshot", x.e.Name, "files", x.left, "first", x.first)
	}
	return imagetar.Write(ctx, w, i)
}

// image describes what is written: below, the image's directories, the top first;
// the directory that is ours; and the data.
func (x *exporting) image(ctx context.Context, own string, below []string) (i imagetar.Image, err error) {
	if i.Layers, err = x.below(ctx, below); err != nil {
		return i, err
	}
	n, mount := len(i.Layers), x.r.opts.DataMounts[0]
	for _, l := range []struct {
		by, dir string
		o       layers.TarOptions
	}{
		{"moorage: root filesystem of " + string(x.e.Record.Container), own, layers.TarOptions{Top: true}},
		{"moorage: data", x.r.snaps.Data(x.e.ID), layers.TarOptions{Prefix: mount, Plain: true}},
	} {
		layer, err := x.layer(ctx, l.by, l.dir, l.o)
		if err != nil {
			return i, err
		}
		i.Layers = append(i.Layers, layer)
	}
	rec := x.e.Record
	i.Tag, i.Config = string(x.e.Name), x.config(mount)
	i.Record = imagetar.Record{
		Container: rec.Container, Spec: rec.Spec, ImageEnv: rec.ImageEnv, Origin: rec.Origin, Note: rec.Note,
		Created: rec.Created, ImageLayers: n, DataMount: mount,
	}
	return i, nil
}

// below are the image's layers, the lowest first.
func (x *exporting) below(ctx context.Context, dirs []string) (all []imagetar.Layer, err error) {
	if x.blobs != nil {
		for i, blob := range x.blobs.Layers {
			all = append(all, imagetar.Layer{
				Blob:   imagespec.Descriptor{MediaType: blob.MediaType, Digest: blob.Digest, Size: blob.Size},
				DiffID: x.blobs.Config.RootFS.DiffIDs[i], By: "image " + x.e.Record.Spec.Image,
				Write: func(ctx context.Context, w io.Writer) error { return x.blobs.Copy(ctx, w, blob.Digest) },
			})
		}
		return all, nil
	}
	for _, dir := range slices.Backward(dirs) {
		l, err := x.layer(ctx, "image "+x.e.Record.Spec.Image, dir, layers.TarOptions{})
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// layer is a directory that becomes a layer. What is left out is counted once.
func (x *exporting) layer(ctx context.Context, by, dir string, o layers.TarOptions) (imagetar.Layer, error) {
	o.Skipped = func(path, reason string) {
		if x.left++; x.left == 1 {
			x.first = fmt.Sprintf("%q: %s", path, reason)
		}
	}
	measuring := true
	l, err := imagetar.Measure(ctx, by, func(ctx context.Context, w io.Writer) error {
		o := o
		if !measuring {
			o.Skipped = func(string, string) {}
		}
		return layers.WriteTar(ctx, w, dir, o)
	})
	measuring = false
	return l, err
}

// config is what `docker run` goes by: the image's command in the environment that
// the bot had.
func (x *exporting) config(mount string) imagespec.Image {
	created := x.e.Record.Created
	c := imagespec.Image{Created: &created, Platform: platforms.DefaultSpec()}
	c.Config.Cmd = []string{"/bin/sh"}
	if x.blobs != nil {
		image := x.blobs.Config
		c.Platform, c.History = image.Platform, image.History
		c.Config.Entrypoint, c.Config.Cmd = image.Config.Entrypoint, image.Config.Cmd
	}
	c.Config.Env = ocispec.Environment(x.e.Record.ImageEnv, x.e.Record.Spec.Env)
	c.Config.WorkingDir = mount
	return c
}
