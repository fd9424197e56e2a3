package image

import (
	"context"
	"fmt"
	"log/slog"
	"sort"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"moorage/sandbox"
)

// Options configure a Store.
type Options struct {
	Namespace          string   // containerd namespace, required
	Snapshotter        string   // for which images are unpacked when they come, required
	Owner              string   // whose leases Sweep removes: this store's in all its lives; required
	InsecureRegistries []string // hosts that are spoken to by plain HTTP
	Log                *slog.Logger
}

// Store keeps the images of one containerd namespace.
type Store struct {
	client *client.Client
	opts   Options
	log    *slog.Logger

	ctx    context.Context // of the flights; ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup
	slots  chan struct{} // flights that work

	mu      sync.Mutex
	flights map[string]*flight // by normalised name
	closed  bool

	known sync.Map // snapshotters that are there
}

// NewStore makes a Store. It starts nothing.
func NewStore(c *client.Client, o Options) *Store {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		client: c, opts: o, log: o.Log,
		slots: make(chan struct{}, maxWorking), flights: map[string]*flight{},
	}
	s.ctx, s.cancel = context.WithCancel(namespaces.WithNamespace(context.Background(), o.Namespace))
	return s
}

// Close gives up all flights and waits for them. It is safe to call it twice.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.work.Wait()
}

func (s *Store) namespaced(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, s.opts.Namespace)
}

// maxName is the most bytes of an image's name as asked for.
const maxName = 1024

// Normalise gives an image's name its full form. ErrInvalid if it is none.
func Normalise(name string) (string, error) {
	if len(name) > maxName {
		return "", fmt.Errorf("image %.80q: %w: longer than %d bytes", name, sandbox.ErrInvalid, maxName)
	}
	ref, err := reference.ParseDockerRef(strings.TrimSpace(name))
	if err != nil {
		return "", fmt.Errorf("image %.80q: %w: %v", name, sandbox.ErrInvalid, err)
	}
	return ref.String(), nil
}

// platform is what this machine runs.
func platform() string { return platforms.Format(platforms.DefaultSpec()) }

// Images lists the store, sorted by name.
func (s *Store) Images(ctx context.Context) ([]sandbox.Image, error) {
	ctx = s.namespaced(ctx)
	records, err := s.client.ImageService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %v", err)
	}
	list := make([]sandbox.Image, 0, len(records))
	for _, rec := range records {
		list = append(list, s.describe(ctx, rec))
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

// describe: the size of an image that is not whole is 0.
func (s *Store) describe(ctx context.Context, rec images.Image) sandbox.Image {
	size, err := client.NewImage(s.client, rec).Size(ctx)
	if err != nil {
		s.log.Debug("measure image", "image", rec.Name, "err", err)
	}
	return sandbox.Image{Name: rec.Name, Digest: rec.Target.Digest.String(), Size: size, CreatedAt: rec.CreatedAt}
}

// Unpacked is an image as a container needs it.
type Unpacked struct {
	Name    string   // normalised
	Env     []string // that it asks for
	ChainID string   // the snapshot with all its layers; "" if it has none
}

// Unpacked finds an image in the store and its snapshot. No layer is read,
// unless the image was never unpacked for the snapshotter.
func (s *Store) Unpacked(ctx context.Context, name, snapshotter string) (Unpacked, error) {
	ctx = s.namespaced(ctx)
	ref, err := Normalise(name)
	if err != nil {
		return Unpacked{}, err
	}
	if err := s.checkSnapshotter(ctx, snapshotter); err != nil {
		return Unpacked{}, err
	}
	rec, err := s.client.ImageService().Get(ctx, ref)
	if errdefs.IsNotFound(err) {
		return Unpacked{}, fmt.Errorf("image %s: %w: not in the store", ref, sandbox.ErrImage)
	}
	if err != nil {
		return Unpacked{}, fmt.Errorf("image %s: %w: %v", ref, sandbox.ErrUnavailable, err)
	}
	img := client.NewImage(s.client, rec)
	config, err := configOf(ctx, img)
	if err != nil {
		return Unpacked{}, explain(ref, err)
	}
	u := Unpacked{Name: ref, Env: config.Config.Env, ChainID: chainID(config)}
	return u, s.unpack(ctx, img, u.ChainID, snapshotter)
}

func chainID(config ocispec.Image) string { return identity.ChainID(config.RootFS.DiffIDs).String() }

// unpack does nothing if the snapshot is there.
func (s *Store) unpack(ctx context.Context, img client.Image, chain, snapshotter string) error {
	if chain == "" {
		return nil
	}
	_, err := s.client.SnapshotService(snapshotter).Stat(ctx, chain)
	if err == nil {
		return nil
	}
	if !errdefs.IsNotFound(err) {
		return fmt.Errorf("image %s: %w: %v", img.Name(), sandbox.ErrUnavailable, err)
	}
	if err := img.Unpack(ctx, snapshotter); err != nil {
		return explain(img.Name(), err)
	}
	return nil
}

// checkSnapshotter: containerd says "not found" for a snapshotter that it does
// not have as for a snapshot that is not there.
func (s *Store) checkSnapshotter(ctx context.Context, name string) error {
	if _, ok := s.known.Load(name); ok {
		return nil
	}
	if _, err := s.client.GetSnapshotterCapabilities(ctx, name); err != nil {
		return fmt.Errorf("snapshotter %.80q: %w: containerd does not have it", name, sandbox.ErrInvalid)
	}
	s.known.Store(name, true)
	return nil
}

// has reports whether an image is in the store, for this platform.
func (s *Store) has(ctx context.Context, ref string) bool {
	rec, err := s.client.ImageService().Get(ctx, ref)
	if err != nil {
		return false
	}
	_, err = configOf(ctx, client.NewImage(s.client, rec))
	return err == nil
}

// configOf reads an image's configuration. An artifact that is no image has
// none; one for another machine is refused, which containerd does only where a
// name stands for several platforms.
func configOf(ctx context.Context, img client.Image) (ocispec.Image, error) {
	config, err := img.Spec(ctx)
	if err != nil {
		return config, err
	}
	if config.RootFS.Type != "layers" {
		return config, errNoImage
	}
	if config.Architecture != "" && !platforms.Default().Match(platforms.Normalize(config.Platform)) {
		return config, errPlatform
	}
	return config, nil
}
