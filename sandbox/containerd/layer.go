package containerd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"moorage/sandbox"
	"moorage/sandbox/containerd/layers"
	"moorage/sandbox/containerd/snapstore"
	"moorage/sandbox/copier"
)

// maxOwnLayers is how many layers of ours may lie between an image and an active
// layer. overlayfs takes 500 in all, and each makes looking up a little slower:
// what is under a snapshot is merged into one before it gets longer.
const maxOwnLayers = 16

// upperDir is the directory that an active snapshot's writes go to. ErrUnsupported
// if its snapshotter is none of overlay directories.
func upperDir(mounts []mount.Mount) (string, error) {
	if len(mounts) == 1 && mounts[0].Type == "bind" {
		return mounts[0].Source, nil // without a parent
	}
	if len(mounts) == 1 && mounts[0].Type == "overlay" {
		for _, o := range mounts[0].Options {
			if dir, ok := strings.CutPrefix(o, "upperdir="); ok {
				return dir, nil
			}
		}
	}
	return "", fmt.Errorf("find the layer: %w: snapshots need a snapshotter with overlay directories, such as overlayfs", sandbox.ErrUnsupported)
}

// lowerDirs are the directories below it, the top first.
func lowerDirs(mounts []mount.Mount) []string {
	for _, o := range mounts[0].Options {
		if dirs, ok := strings.CutPrefix(o, "lowerdir="); ok {
			return strings.Split(dirs, ":")
		}
	}
	return nil
}

// activeLabels are those of a container's active layer.
func (r *Runtime) activeLabels(key string) snapshots.Opt {
	return snapshots.WithLabels(map[string]string{
		labelGCRoot: stamp(time.Now()), labelInstance: r.instance, labelActive: key,
	})
}

// prepareLayer makes an active layer for a container, or finds the one that an earlier
// try has made. It returns the layer's directory.
func (r *Runtime) prepareLayer(ctx context.Context, sn snapshots.Snapshotter, key, name, parent string) (string, error) {
	dir, _, err := r.prepareOn(ctx, sn, key, name, parent)
	return dir, err
}

// prepareOn is prepareLayer, and tells the directory of the parent too.
func (r *Runtime) prepareOn(ctx context.Context, sn snapshots.Snapshotter, key, name, parent string) (dir, below string, err error) {
	mounts, err := sn.Prepare(ctx, name, parent, r.activeLabels(key))
	if errdefs.IsAlreadyExists(err) {
		mounts, err = sn.Mounts(ctx, name)
	}
	if err != nil {
		return "", "", engineError("prepare a layer", err)
	}
	if dir, err = upperDir(mounts); err != nil {
		return "", "", err
	}
	if lower := lowerDirs(mounts); len(lower) > 0 {
		below = lower[0]
	}
	return dir, below, nil
}

// continueLayer makes an active layer for a container on a layer of ours, whose
// directory is the root directory as it was left: its attributes are taken over, and
// the files that have several names in it. Such files are never in a layer below
// it, but for those that a later one hides: a container has all of its own in its
// active layer.
func (r *Runtime) continueLayer(ctx context.Context, sn snapshots.Snapshotter, bot sandbox.Bot, key, name, parent string) error {
	dir, below, err := r.prepareOn(ctx, sn, key, name, parent)
	if err != nil {
		return err
	}
	if below == "" {
		return fmt.Errorf("prepare a layer: %s has none below it", name)
	}
	if err := r.limitDisk(bot, dir); err != nil {
		return err
	}
	if e, ok := r.snaps.ByID(bot, parent); !ok || !e.Record.Unlinked {
		r.step("carry links up")
		if _, err := copier.Links(ctx, dir, below); err != nil {
			return fmt.Errorf("carry links up: %w", err)
		}
	}
	return copier.Attributes(dir, below)
}

// removeLayer removes an active layer that nothing uses.
func (r *Runtime) removeLayer(ctx context.Context, sn snapshots.Snapshotter, name string) error {
	if err := sn.Remove(ctx, name); err != nil && !errdefs.IsNotFound(err) {
		return engineError("remove a layer", err)
	}
	r.freed()
	return nil
}

// own counts the layers of ours from name downwards, and returns the first below
// them: the image's topmost.
func (r *Runtime) own(ctx context.Context, sn snapshots.Snapshotter, name string) (n int, image string, err error) {
	for name != "" {
		info, err := sn.Stat(ctx, name)
		if err != nil {
			return 0, "", engineError("find a layer", err)
		}
		if info.Labels[snapstore.LabelLayer] == "" {
			break
		}
		n++
		name = info.Parent
	}
	return n, name, nil
}

// shortParent is the parent of an active layer, or, when too many of ours lie
// below that, one new layer with the same content as all of them. It is given
// back by release when what was made on it is there, or is not to be.
func (r *Runtime) shortParent(ctx context.Context, sn snapshots.Snapshotter, snapshotter, active string) (parent string, release func(context.Context), err error) {
	info, err := sn.Stat(ctx, active)
	if err != nil {
		return "", nil, engineError("find the active layer", err)
	}
	n, image, err := r.own(ctx, sn, info.Parent)
	if err != nil || n < r.maxOwn {
		return info.Parent, func(context.Context) {}, err
	}
	mounts, err := sn.Mounts(ctx, active)
	if err != nil {
		return "", nil, engineError("find the active layer", err)
	}
	merged, err := r.merge(ctx, sn, lowerDirs(mounts), n, image)
	if err != nil {
		return "", nil, err
	}
	return merged, func(ctx context.Context) {
		r.undo(ctx, "release merged layer", func(ctx context.Context) error { return r.snaps.Release(ctx, snapshotter, merged) })
	}, nil
}

// merge makes one layer on image of the first n of dirs, which are the top of
// what lies on it. None of them is ever written to.
func (r *Runtime) merge(ctx context.Context, sn snapshots.Snapshotter, dirs []string, n int, image string) (_ string, err error) {
	r.step("merge layers")
	id := snapstore.NewID()
	tmp := id + "-tmp"
	dst, err := r.prepareLayer(ctx, sn, "merge", tmp, image)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			r.undo(ctx, "remove merged layer", func(ctx context.Context) error { return r.removeLayer(ctx, sn, tmp) })
		}
	}()
	below, err := layers.OpenStack(dirs[n:]...)
	if err != nil {
		return "", fmt.Errorf("merge %d layers: %w", n, err)
	}
	defer below.Close()
	if err := layers.Merge(ctx, dst, dirs[:n], below); err != nil {
		return "", fmt.Errorf("merge %d layers: %w", n, noSpace(err))
	}
	r.step("commit merged layers")
	if err := sn.Commit(ctx, id, tmp, snapshots.WithLabels(snapstore.LayerLabels(r.instance, true))); err != nil {
		return "", engineError("commit merged layers", err)
	}
	return id, nil
}

// exchange puts each of two directories in the other's place, at once.
func exchange(a, b string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
		return fmt.Errorf("exchange %s and %s: %w", a, b, err)
	}
	return nil
}

// inode is a directory's; 0 if there is none.
func inode(dir string) uint64 {
	var st unix.Stat_t
	if unix.Lstat(dir, &st) != nil {
		return 0
	}
	return st.Ino
}

// layerDir is the directory of a committed layer of ours that lies beside
// another's: only the snapshotter's number is known of it.
func (r *Runtime) layerDir(ctx context.Context, sn snapshots.Snapshotter, id string) (string, error) {
	dirs, err := r.stackOf(ctx, sn, id)
	if err != nil {
		return "", err
	}
	return dirs[0], nil
}

// stackOf are the directories of a committed snapshot and of all below it, the
// top first.
func (r *Runtime) stackOf(ctx context.Context, sn snapshots.Snapshotter, id string) (dirs []string, err error) {
	err = r.viewed(ctx, sn, id, func(found []string) error { dirs = found; return nil })
	return dirs, err
}

// viewed finds the directories of stackOf by a view, and calls use while there is
// one: until then no layer of it goes.
func (r *Runtime) viewed(ctx context.Context, sn snapshots.Snapshotter, id string, use func(dirs []string) error) error {
	view := snapstore.NewID() + "-view"
	mounts, err := sn.View(ctx, view, id, r.activeLabels("view"))
	if err != nil {
		return engineError("look at a layer", err)
	}
	defer r.undo(ctx, "remove view", func(ctx context.Context) error { return r.removeLayer(ctx, sn, view) })
	if dirs := lowerDirs(mounts); dirs != nil {
		return use(dirs)
	}
	if len(mounts) == 1 && mounts[0].Type == "bind" {
		return use([]string{mounts[0].Source})
	}
	_, err = upperDir(mounts)
	return err
}

// stackOfActive are the directories of a container's root filesystem as it is.
func stackOfActive(ctx context.Context, sn snapshots.Snapshotter, active string) ([]string, error) {
	mounts, err := sn.Mounts(ctx, active)
	if err != nil {
		return nil, engineError("find root filesystem", err)
	}
	upper, err := upperDir(mounts)
	if err != nil {
		return nil, err
	}
	return append([]string{upper}, lowerDirs(mounts)...), nil
}

// noSpace says of a full disk or quota what the caller can do about it.
func noSpace(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: nothing was changed: %v; delete files or snapshots first", sandbox.ErrNoSpace, err)
	}
	return err
}
