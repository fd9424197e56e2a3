package imagetar

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layer is one layer of an image.
type Layer struct {
	Blob   ocispec.Descriptor // as it is in the tar
	DiffID digest.Digest      // of the uncompressed tar
	By     string             // what made it, for the image's history
	Write  Writer             // writes the blob
}

// Writer writes the same bytes each time.
type Writer func(context.Context, io.Writer) error

// Measure writes an uncompressed layer to nowhere.
func Measure(ctx context.Context, by string, write Writer) (Layer, error) {
	m := newMeter(io.Discard)
	if err := write(ctx, m); err != nil {
		return Layer{}, err
	}
	d := m.digest()
	return Layer{
		Blob:   ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: d, Size: m.size},
		DiffID: d, By: by, Write: write,
	}, nil
}

// meter counts and hashes what is written.
type meter struct {
	w    io.Writer
	hash hash.Hash
	size int64
}

func newMeter(w io.Writer) *meter { return &meter{w: w, hash: sha256.New()} }

func (m *meter) Write(b []byte) (int, error) {
	n, err := m.w.Write(b)
	m.hash.Write(b[:n])
	m.size += int64(n)
	return n, err
}

func (m *meter) digest() digest.Digest { return digest.NewDigest(digest.SHA256, m.hash) }

// copy writes the layer and checks that it is what was measured.
func (l Layer) copy(ctx context.Context, w io.Writer) error {
	m := newMeter(w)
	if err := l.Write(ctx, m); err != nil {
		return err
	}
	if got := m.digest(); got != l.Blob.Digest || m.size != l.Blob.Size {
		return fmt.Errorf("layer %s of %d bytes has become %s of %d", l.Blob.Digest, l.Blob.Size, got, m.size)
	}
	return nil
}
