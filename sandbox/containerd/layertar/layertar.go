// Package layertar makes a layer of what a container has changed the way that
// `docker commit` does: a gzipped tar, by containerd's own differ. Moorage's
// snapshots are compared with it; it makes none so.
package layertar

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/rootfs"
	"github.com/opencontainers/go-digest"
)

// Layer is one that was made.
type Layer struct {
	Size   int64 // bytes in the content store
	digest digest.Digest
}

// Make makes the layer of an active snapshot, key, against its parent. It stays
// in the content store until containerd collects what nothing refers to, or
// until Remove.
func Make(ctx context.Context, c *client.Client, namespace, snapshotter, key string) (_ Layer, err error) {
	ctx, release, err := c.WithLease(namespaces.WithNamespace(ctx, namespace))
	if err != nil {
		return Layer{}, fmt.Errorf("make layer of %s: %w", key, err)
	}
	defer func() { err = errors.Join(err, release(context.WithoutCancel(ctx))) }()
	d, err := rootfs.CreateDiff(ctx, key, c.SnapshotService(snapshotter), c.DiffService()) // gzip is the differ's default
	if err != nil {
		return Layer{}, fmt.Errorf("make layer of %s: %w", key, err)
	}
	return Layer{d.Size, d.Digest}, nil
}

// Remove removes a layer, so that the next of the same content is written again.
func Remove(ctx context.Context, c *client.Client, namespace string, l Layer) error {
	if err := c.ContentStore().Delete(namespaces.WithNamespace(ctx, namespace), l.digest); err != nil {
		return fmt.Errorf("remove layer %s: %w", l.digest, err)
	}
	return nil
}
