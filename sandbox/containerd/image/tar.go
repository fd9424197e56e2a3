package image

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"moorage/sandbox"
)

// maxMetadata is the most bytes of an index, a manifest or a configuration: they
// are read into memory.
const maxMetadata = 4 << 20

// isMetadata: whatever is not a layer is read as JSON somewhere.
func isMetadata(desc ocispec.Descriptor) bool { return !images.IsLayerType(desc.MediaType) }

func tooLarge(desc ocispec.Descriptor, size int64) error {
	return fmt.Errorf("%.80q has %d bytes, at most %d", desc.MediaType, size, maxMetadata)
}

// Import reads an image tar; see sandbox.ImageStore. All its images are unpacked
// before the first is recorded: all come, or none.
func (s *Store) Import(ctx context.Context, tar io.Reader, name string) ([]sandbox.Image, error) {
	ctx = s.namespaced(ctx)
	if name != "" {
		var err error
		if name, err = Normalise(name); err != nil {
			return nil, err
		}
	}
	var list []sandbox.Image
	err := s.leased(ctx, func(ctx context.Context) error {
		index, manifests, err := s.read(ctx, tar)
		if err != nil {
			return err
		}
		records, err := named(index, manifests, name)
		if err != nil {
			return err
		}
		for _, rec := range records {
			if err := s.complete(ctx, rec); err != nil {
				return err
			}
		}
		for _, rec := range records {
			if rec, err = s.record(ctx, rec); err != nil {
				return err
			}
			list = append(list, s.describe(ctx, rec))
		}
		return nil
	})
	return list, err
}

// read takes the tar's blobs into the store and finds the images among them.
func (s *Store) read(ctx context.Context, tar io.Reader) (index ocispec.Descriptor, manifests []ocispec.Descriptor, err error) {
	src := &source{ctx: ctx, r: tar}
	plain, err := decompress(src)
	if err != nil {
		return index, nil, src.blame(err)
	}
	store := newScoped(s.client.ContentStore())
	index, err = archive.ImportIndex(ctx, store, plain)
	if err != nil {
		store.abort(ctx)
		return index, nil, src.blame(err)
	}
	var idx ocispec.Index
	if err := s.metadata(ctx, index, &idx); err != nil {
		return index, nil, src.blame(err)
	}
	return index, idx.Manifests, nil
}

// metadata reads a blob that is JSON.
func (s *Store) metadata(ctx context.Context, desc ocispec.Descriptor, v any) error {
	cs := s.client.ContentStore()
	info, err := cs.Info(ctx, desc.Digest)
	if err != nil {
		return err
	}
	if info.Size > maxMetadata {
		return tooLarge(desc, info.Size)
	}
	b, err := content.ReadBlob(ctx, cs, ocispec.Descriptor{Digest: desc.Digest, Size: info.Size})
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// named gives each image of a tar its name.
func named(index ocispec.Descriptor, manifests []ocispec.Descriptor, name string) ([]images.Image, error) {
	if len(manifests) == 0 {
		return nil, fmt.Errorf("tar: %w: it holds no image", sandbox.ErrImage)
	}
	var list []images.Image
	for _, m := range manifests {
		if ref := annotatedName(m.Annotations); ref != "" {
			list = append(list, images.Image{Name: ref, Target: m})
		}
	}
	switch {
	case len(list) > 0:
		return list, nil
	case name == "":
		return nil, fmt.Errorf("tar: %w: it names no image: give a name", sandbox.ErrInvalid)
	case len(manifests) == 1:
		return []images.Image{{Name: name, Target: manifests[0]}}, nil
	default: // one image for several platforms
		return []images.Image{{Name: name, Target: index}}, nil
	}
}

// annotatedName is the image's name by its annotations; "" if there is none.
// Many tools write only a tag there, which names nothing.
func annotatedName(a map[string]string) string {
	for _, n := range []string{a[images.AnnotationImageName], a[ocispec.AnnotationRefName]} {
		if !strings.ContainsAny(n, "/:") {
			continue
		}
		if ref, err := Normalise(n); err == nil {
			return ref
		}
	}
	return ""
}

// complete checks that an image is whole and for this platform, ties its blobs
// together so that they are kept, and unpacks it.
func (s *Store) complete(ctx context.Context, rec images.Image) error {
	cs := s.client.ContentStore()
	img := client.NewImage(s.client, rec)
	children := images.FilterPlatforms(bounded(cs), platforms.Default())
	if err := images.Walk(ctx, children, rec.Target); err != nil {
		return tarError(rec.Name, err)
	}
	if _, err := configOf(ctx, img); err != nil {
		return tarError(rec.Name, err)
	}
	walk := images.SetChildrenLabels(cs, children)
	if err := images.Walk(ctx, walk, rec.Target); err != nil {
		return tarError(rec.Name, err)
	}
	if err := s.checkSnapshotter(ctx, s.opts.Snapshotter); err != nil {
		return err
	}
	if err := img.Unpack(ctx, s.opts.Snapshotter); err != nil {
		return tarError(rec.Name, err)
	}
	return nil
}

// bounded yields a blob's children, and refuses metadata over maxMetadata.
func bounded(cs content.Store) images.HandlerFunc {
	return func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if !isMetadata(desc) {
			return nil, nil
		}
		info, err := cs.Info(ctx, desc.Digest)
		if err != nil {
			return nil, err
		}
		if info.Size > maxMetadata {
			return nil, tooLarge(desc, info.Size)
		}
		return images.Children(ctx, cs, desc)
	}
}

// record writes an image's name into the store, over an older one.
func (s *Store) record(ctx context.Context, rec images.Image) (images.Image, error) {
	got, err := s.client.ImageService().Create(ctx, rec)
	if errdefs.IsAlreadyExists(err) {
		got, err = s.client.ImageService().Update(ctx, rec, "target")
	}
	if err != nil {
		return rec, fmt.Errorf("image %s: %w: %v", rec.Name, sandbox.ErrUnavailable, err)
	}
	return got, nil
}

func tarError(name string, err error) error {
	if isPlatform(err) {
		return fmt.Errorf("image %s: %w: the tar has none for %s", name, sandbox.ErrImage, platform())
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("image %s: %w", name, err)
	}
	return fmt.Errorf("image %s: %w: the tar is not whole: %s", name, sandbox.ErrImage, clip(err.Error()))
}

// source remembers why its reader failed, which is no fault of the tar. It ends
// with the context: what copies blobs does not look at that.
type source struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	if s.ctx.Err() != nil {
		s.err = context.Cause(s.ctx)
		return 0, s.err
	}
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (s *source) blame(err error) error {
	if s.err != nil {
		return fmt.Errorf("read image tar: %w", s.err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("read image tar: %w", err)
	}
	if isFull(err) {
		return fmt.Errorf("read image tar: %w: %s", sandbox.ErrNoSpace, clip(err.Error()))
	}
	return fmt.Errorf("%w: what was given is no image tar: %s", sandbox.ErrImage, clip(err.Error()))
}

// decompress looks at the first bytes.
func decompress(r io.Reader) (io.Reader, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	if magic, _ := br.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		return gzip.NewReader(br)
	}
	return br, nil
}

// scoped is a content store where what is being written has names of its own, so
// that two imports never meet, and what one left half written can be found.
type scoped struct {
	content.Store
	prefix string
	blobs  *atomic.Int64 // begun
}

// maxBlobs is how many files a tar may have: an image for every platform has
// some hundred.
const maxBlobs = 4096

func newScoped(cs content.Store) scoped {
	raw := make([]byte, 8)
	rand.Read(raw)
	return scoped{Store: cs, prefix: "import-" + hex.EncodeToString(raw) + "-", blobs: new(atomic.Int64)}
}

// Writer is part of content.Store.
func (s scoped) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	if s.blobs.Add(1) > maxBlobs {
		return nil, fmt.Errorf("more than %d files", maxBlobs)
	}
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	return s.Store.Writer(ctx, append(opts, content.WithRef(s.prefix+o.Ref))...)
}

func (s scoped) abort(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	left, err := s.ListStatuses(ctx, fmt.Sprintf("ref~=%q", "^"+s.prefix))
	if err != nil {
		return
	}
	for _, st := range left {
		_ = s.Abort(ctx, st.Ref)
	}
}
