package containerd

import (
	"context"
	"io"

	"moorage/sandbox"
	"moorage/sandbox/containerd/image"
)

// ImageName normalises an image's name; see sandbox.Runtime.
func (r *Runtime) ImageName(name string) (string, error) { return image.Normalise(name) }

// EnsureImage finds an image in the store or fetches it; see sandbox.Runtime.
func (r *Runtime) EnsureImage(ctx context.Context, name string, progress sandbox.Progress) (string, error) {
	return r.images.Ensure(ctx, name, progress)
}

// Pull fetches an image even if it is here; see sandbox.ImageStore.
func (r *Runtime) Pull(ctx context.Context, name string, progress sandbox.Progress) (sandbox.Image, error) {
	return r.images.Pull(ctx, name, progress)
}

// Import reads an image tar; see sandbox.ImageStore.
func (r *Runtime) Import(ctx context.Context, tar io.Reader, name string) ([]sandbox.Image, error) {
	return r.images.Import(ctx, tar, name)
}

// Images lists the store; see sandbox.ImageStore.
func (r *Runtime) Images(ctx context.Context) ([]sandbox.Image, error) {
	return r.images.Images(ctx)
}
