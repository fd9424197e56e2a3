package embed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs"
	"github.com/containerd/plugin"
)

// removeHalfGone removes the bundles of tasks whose removal was cut short by the
// end of an earlier process. containerd renames a bundle to .<id> before it removes
// it, passes that over when it starts, and could from then on neither remove nor
// make a task of that id.
func removeHalfGone(state string) error {
	all, err := filepath.Glob(filepath.Join(state, plugins.RuntimePluginV2.String()+".task", "*", ".*"))
	errs := []error{err}
	for _, dir := range all {
		errs = append(errs, removeBundle(dir))
	}
	return errors.Join(errs...)
}

// removeBundle removes a bundle whose rootfs was unmounted and removed. One that
// has something in it, which could be a container's files, is left.
func removeBundle(dir string) error {
	err := os.Remove(filepath.Join(dir, "rootfs"))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.RemoveAll(dir)
	}
	if err != nil {
		return fmt.Errorf("remove what is left of a task: %w", err)
	}
	return nil
}

// cleanSnapshots removes directories of snapshots that were never recorded, since
// an earlier process ended just then. Each number is given again until it is
// recorded, so that else no snapshot could be made until one is removed.
func cleanSnapshots(ic *plugin.InitContext) error {
	overlay, err := ic.GetByID(plugins.SnapshotPlugin, "overlayfs")
	if err != nil {
		return fmt.Errorf("find snapshotter: %w", err)
	}
	if c, ok := overlay.(snapshots.Cleaner); ok {
		if err := c.Cleanup(ic.Context); err != nil && !errdefs.IsNotFound(err) { // there never was one
			return fmt.Errorf("remove directories of no snapshot: %w", err)
		}
	}
	return nil
}
