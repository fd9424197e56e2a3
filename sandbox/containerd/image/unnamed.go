package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/pkg/rootfs"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"moorage/sandbox"
)

// maxLayers is how many an image may have whose layers are used one by one.
// Docker takes 127, overlayfs 500 with what else is above them.
const maxLayers = 256

// Unnamed is an image that came by a tar and gets no record: its blobs are here
// as long as the function runs that it was given to.
type Unnamed struct {
	Name   string        // by the tar's annotations, normalised; "" if it has none
	Digest digest.Digest // of its manifest
	Config ocispec.Image // for this platform, with a diff id for each layer

	store  *Store
	layers []ocispec.Descriptor // blobs, the lowest first
}

// ReadTar reads an image tar as Import does, for use to make something of the one
// image for this platform in it. What use has unpacked and nothing holds when it
// returns is collected. ErrImage if there is no such image, or several.
func (s *Store) ReadTar(ctx context.Context, tar io.Reader, use func(context.Context, *Unnamed) error) error {
	return s.leased(s.namespaced(ctx), func(ctx context.Context) error {
		_, manifests, err := s.read(ctx, tar)
		if err != nil {
			return err
		}
		u, err := s.one(ctx, manifests)
		if err != nil {
			return err
		}
		return use(ctx, u)
	})
}

// one finds the image that is meant.
func (s *Store) one(ctx context.Context, manifests []ocispec.Descriptor) (*Unnamed, error) {
	u := &Unnamed{store: s}
	for _, m := range manifests {
		name := annotatedName(m.Annotations)
		if u.Name != "" && name != "" && name != u.Name {
			return nil, fmt.Errorf("%w: the tar holds several images, %s and %s: one is wanted", sandbox.ErrImage, u.Name, name)
		}
		u.Name = orElse(u.Name, name)
	}
	if len(manifests) == 0 {
		return nil, fmt.Errorf("%w: the tar holds no image", sandbox.ErrImage)
	}
	if err := u.load(ctx, manifests); errors.Is(err, sandbox.ErrImage) {
		return nil, err
	} else if err != nil {
		return nil, tarError(orElse(u.Name, "without a name"), err)
	}
	return u, nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// load reads manifest and configuration, and looks whether all layers are here.
func (u *Unnamed) load(ctx context.Context, manifests []ocispec.Descriptor) error {
	desc, err := u.store.choose(ctx, manifests, 0)
	if err != nil {
		return err
	}
	var manifest ocispec.Manifest
	if err := u.store.metadata(ctx, desc, &manifest); err != nil {
		return err
	}
	if err := u.store.metadata(ctx, manifest.Config, &u.Config); err != nil {
		return err
	}
	u.Digest, u.layers = desc.Digest, manifest.Layers
	switch diffs := u.Config.RootFS.DiffIDs; {
	case u.Config.RootFS.Type != "layers":
		return errNoImage
	case !platforms.Default().Match(platforms.Normalize(u.Config.Platform)) && u.Config.Architecture != "":
		return errPlatform
	case len(diffs) != len(u.layers):
		return fmt.Errorf("%w: the tar's image has %d layers, but %d in its configuration", sandbox.ErrImage, len(u.layers), len(diffs))
	case len(diffs) > maxLayers:
		return fmt.Errorf("%w: the tar's image has %d layers, at most %d are taken", sandbox.ErrImage, len(diffs), maxLayers)
	}
	for i, l := range u.layers {
		if err := u.Config.RootFS.DiffIDs[i].Validate(); err != nil {
			return err
		}
		if _, err := u.store.client.ContentStore().Info(ctx, l.Digest); err != nil {
			return err
		}
	}
	return nil
}

// choose finds the manifest for this platform, if need be within an index.
func (s *Store) choose(ctx context.Context, from []ocispec.Descriptor, depth int) (ocispec.Descriptor, error) {
	const maxDepth = 3 // more than anybody nests them
	var best *ocispec.Descriptor
	for i := range from {
		d := &from[i]
		if d.Platform != nil && !platforms.Default().Match(*d.Platform) {
			continue
		}
		if best == nil || d.Platform != nil && (best.Platform == nil || platforms.Default().Less(*d.Platform, *best.Platform)) {
			best = d
		}
	}
	switch {
	case best == nil:
		return ocispec.Descriptor{}, errPlatform
	case images.IsManifestType(best.MediaType):
		return *best, nil
	case !images.IsIndexType(best.MediaType) || depth == maxDepth:
		return ocispec.Descriptor{}, fmt.Errorf("%w: its type is %.80q", errNoImage, best.MediaType)
	}
	var index ocispec.Index
	if err := s.metadata(ctx, *best, &index); err != nil {
		return ocispec.Descriptor{}, err
	}
	return s.choose(ctx, index.Manifests, depth+1)
}

// Unpack makes a snapshot of the lowest n layers, or finds it, and returns its
// name, "" for none. It is held as long as the image.
func (u *Unnamed) Unpack(ctx context.Context, n int, snapshotter string) (string, error) {
	if err := u.store.checkSnapshotter(ctx, snapshotter); err != nil || n == 0 {
		return "", err
	}
	var stack []rootfs.Layer
	for i, blob := range u.layers[:n] {
		stack = append(stack, rootfs.Layer{Blob: blob, Diff: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: u.Config.RootFS.DiffIDs[i]}})
	}
	sn := u.store.client.SnapshotService(snapshotter)
	chain := identity.ChainID(u.Config.RootFS.DiffIDs[:n]).String()
	if _, err := sn.Stat(ctx, chain); err == nil {
		if err := u.store.hold(ctx, "snapshots/"+snapshotter, chain); err != nil {
			return "", err
		}
	}
	for range 2 { // what was there may have gone before it was held
		_, err := rootfs.ApplyLayers(ctx, stack, sn, u.store.client.DiffService())
		if err != nil {
			return "", u.fault(err)
		}
		if _, err = sn.Stat(ctx, chain); err == nil {
			return chain, nil
		} else if !errdefs.IsNotFound(err) {
			return "", u.fault(err)
		}
	}
	return "", fmt.Errorf("%w: the image's layers were removed meanwhile", sandbox.ErrUnavailable)
}

func (u *Unnamed) fault(err error) error {
	if isFull(err) {
		return fmt.Errorf("unpack image: %w: %s", sandbox.ErrNoSpace, clip(err.Error()))
	}
	return tarError(orElse(u.Name, "without a name"), err)
}

// Layer gives read the tar of a layer, unpacked, and then checks that it is the
// one that the configuration names. read reads it to its end.
func (u *Unnamed) Layer(ctx context.Context, i int, read func(io.Reader) error) error {
	blob, err := u.store.client.ContentStore().ReaderAt(ctx, u.layers[i])
	if err != nil {
		return u.fault(err)
	}
	defer blob.Close()
	plain, err := compression.DecompressStream(io.NewSectionReader(blob, 0, blob.Size()))
	if err != nil {
		return u.fault(err)
	}
	defer plain.Close()
	h := sha256.New()
	tee := io.TeeReader(plain, h)
	if err := read(tee); err != nil {
		return err
	}
	// A tar may be padded, but not much.
	const maxPadding = 1 << 20
	if _, err := io.CopyN(io.Discard, tee, maxPadding); !errors.Is(err, io.EOF) {
		return u.fault(fmt.Errorf("layer %d goes on after its end: %v", i, err))
	}
	if got := digest.NewDigest(digest.SHA256, h); got != u.Config.RootFS.DiffIDs[i] {
		return u.fault(fmt.Errorf("layer %d has digest %s, not %s as its configuration says", i, got, u.Config.RootFS.DiffIDs[i]))
	}
	return nil
}

// Layers is how many it has.
func (u *Unnamed) Layers() int { return len(u.layers) }
