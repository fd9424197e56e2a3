package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/mount"

	"moorage/sandbox/containerd/idmap"
	"moorage/sandbox/containerd/rootmount"
)

// A task's file systems are staged: mounted by this server where the OCI runtime
// finds them, and unmounted as soon as the task is made, which has them by then.
// So none outlives a start, but for a server that is killed: Open unmounts.

// stage mounts what a container's next task is made from.
func (r *Runtime) stage(ctx context.Context, key string, rec record) (root []mount.Mount, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, r.unstage(key))
		}
	}()
	m, err := r.mapOf(rec)
	if err != nil {
		return nil, err
	}
	f, err := r.detached(ctx, key, rec)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	at := r.mountDir(key)
	if err := makeDir(at, 0o700); err != nil {
		return nil, err
	}
	if err := rootmount.Attach(f, at); err != nil {
		return nil, err
	}
	if m != nil {
		if err := r.stageDirs(m, key, rec); err != nil {
			return nil, err
		}
	}
	return []mount.Mount{{Type: "bind", Source: at, Options: []string{"rbind", "rw"}}}, nil
}

// detached mounts a container's root filesystem and shows it nowhere. It is the
// one place where one comes from: the containerd container names no snapshot,
// since containerd would then mount it by itself, with ids as they are on disk.
func (r *Runtime) detached(ctx context.Context, key string, rec record) (*os.File, error) {
	mounts, err := r.client.SnapshotService(rec.Spec.Snapshotter).Mounts(ctx, rec.snapshot)
	if err != nil {
		return nil, engineError("find root filesystem", err)
	}
	m, err := r.mapOf(rec)
	if err != nil {
		return nil, err
	}
	dirs := writable(mounts)
	if err := r.limitDisk(rec.Spec.Ref.Bot, dirs...); err != nil {
		return nil, err
	}
	defer r.disk.RoomToMount(string(rec.Spec.Ref.Bot), dirs)()
	return rootmount.Detached(mounts, m, r.mountDir(key)+".ids")
}

// stageDirs mounts the directories that a container writes to with its ids.
func (r *Runtime) stageDirs(m *idmap.Map, key string, rec record) error {
	for name, dir := range map[string]string{stagedData: r.dataDirOf(key, rec), stagedSpool: r.spoolDir(key)} {
		at := r.stagedDir(key, name)
		if err := makeDir(filepath.Dir(at), 0o700); err != nil {
			return err
		}
		if err := makeDir(at, 0o700); err != nil {
			return err
		}
		if err := m.Mount(dir, at); err != nil {
			return err
		}
	}
	return nil
}

// Names below <Run>/d/<key>.
const (
	stagedData  = "data"
	stagedSpool = "spool"
)

func (r *Runtime) stagedDir(key, name string) string {
	return filepath.Join(r.opts.Run, "d", key, name)
}

// unstage takes away what stage has mounted, or as much of it as there is. A
// containerd that does not see this server's mounts has made a task of the bare
// directories below them, which are then not empty.
func (r *Runtime) unstage(key string) error {
	err := errors.Join(
		unmountDir(r.mountDir(key)),
		unmountDir(r.stagedDir(key, stagedData)), unmountDir(r.stagedDir(key, stagedSpool)),
		removeDir(filepath.Dir(r.stagedDir(key, stagedData))),
	)
	if errors.Is(err, syscall.ENOTEMPTY) {
		return fmt.Errorf("containerd does not see the mounts of this server: both need one mount namespace, without PrivateMounts, PrivateTmp, ProtectSystem and the like in their units: %w", err)
	}
	return err
}

// unstageAll takes away what a killed server has left.
func (r *Runtime) unstageAll() error {
	var errs []error
	for _, pattern := range []string{"m/*", "d/*/*"} {
		found, _ := filepath.Glob(filepath.Join(r.opts.Run, pattern))
		for _, at := range found {
			errs = append(errs, unmountDir(at))
		}
	}
	dirs, _ := filepath.Glob(filepath.Join(r.opts.Run, "d", "*"))
	for _, dir := range dirs {
		errs = append(errs, removeDir(dir))
	}
	return errors.Join(errs...)
}

// maxStacked is how many mounts may be on top of one another at one of our places:
// more than a server can leave there that is killed.
const maxStacked = 8

// unmountDir removes a directory of ours after all that is mounted at it. It does
// not look into it: what is there may be a container's.
func unmountDir(at string) error {
	for range maxStacked {
		if err := removeDir(at); !errors.Is(err, syscall.EBUSY) {
			return err
		}
		if err := idmap.Unmount(at); err != nil {
			return err
		}
	}
	return removeDir(at)
}

// removeDir removes an empty directory, which may be gone already.
func removeDir(dir string) error {
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove directory: %w", err)
	}
	return nil
}

// writable are the directories of an overlay to which it writes.
func writable(mounts []mount.Mount) []string {
	var dirs []string
	for _, m := range mounts {
		for _, o := range m.Options {
			for _, key := range []string{"upperdir=", "workdir="} {
				if dir, ok := strings.CutPrefix(o, key); ok {
					dirs = append(dirs, dir)
				}
			}
		}
	}
	return dirs
}
