package image

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"moorage/sandbox"
)

// Blobs are those of an image in the store.
type Blobs struct {
	Config ocispec.Image
	Layers []ocispec.Descriptor // one for each of the configuration's diff ids

	store *Store
}

// WithBlobs finds an image of which all layers are here and whose snapshot is
// chain, for use to read them: they stay until it returns. It gets nil if there is
// none.
func (s *Store) WithBlobs(ctx context.Context, chain string, use func(context.Context, *Blobs) error) error {
	return s.leased(s.namespaced(ctx), func(ctx context.Context) error {
		records, err := s.client.ImageService().List(ctx)
		if err != nil {
			return fmt.Errorf("list images: %w: %v", sandbox.ErrUnavailable, err)
		}
		for _, rec := range records {
			b, err := s.blobsOf(ctx, rec, chain)
			if err != nil {
				return err
			}
			if b != nil {
				return use(ctx, b)
			}
		}
		return use(ctx, nil)
	})
}

// blobsOf is nil for another image, and for one that is not whole.
func (s *Store) blobsOf(ctx context.Context, rec images.Image, chain string) (*Blobs, error) {
	cs := s.client.ContentStore()
	config, err := configOf(ctx, client.NewImage(s.client, rec))
	if err != nil || chain == "" || chainID(config) != chain {
		return nil, ctx.Err()
	}
	manifest, err := images.Manifest(ctx, cs, rec.Target, platforms.Default())
	if err != nil || len(manifest.Layers) != len(config.RootFS.DiffIDs) {
		return nil, ctx.Err()
	}
	for _, l := range manifest.Layers {
		if err := s.hold(ctx, "content", l.Digest.String()); err != nil {
			return nil, err
		}
		if info, err := cs.Info(ctx, l.Digest); err != nil || info.Size != l.Size {
			return nil, ctx.Err()
		}
	}
	return &Blobs{Config: config, Layers: manifest.Layers, store: s}, nil
}

// Copy writes the blob of a layer.
func (b *Blobs) Copy(ctx context.Context, w io.Writer, blob digest.Digest) error {
	r, err := b.store.client.ContentStore().ReaderAt(ctx, ocispec.Descriptor{Digest: blob})
	if err != nil {
		return fmt.Errorf("read layer %s: %w: %v", blob, sandbox.ErrUnavailable, err)
	}
	defer r.Close()
	_, err = io.Copy(w, &source{ctx: ctx, r: io.NewSectionReader(r, 0, r.Size())})
	return err
}
