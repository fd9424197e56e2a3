package rootmount

import (
	"errors"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"moorage/sandbox/containerd/idmap"
)

// Detached makes the mount that a snapshotter describes, and shows it nowhere. To
// a container whose ids m shifts it looks as the snapshot is on disk; m may be nil.
// tmp is a path where nothing is: the directory is made, used for moments, and
// removed before it returns. Whoever is killed meanwhile leaves at most that
// directory and mounts at it.
//
// The mount goes away with the file, unless it was attached.
func Detached(mounts []mount.Mount, m *idmap.Map, tmp string) (f *os.File, err error) {
	if len(mounts) == 0 {
		return nil, errors.New("mount root filesystem: the snapshotter names no mount")
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return nil, fmt.Errorf("mount root filesystem: %w", err)
	}
	f, err = detached(mounts, m, tmp)
	if err := errors.Join(err, idmap.Unmount(tmp), os.Remove(tmp)); err != nil {
		f.Close()
		return nil, fmt.Errorf("mount root filesystem: %w", err)
	}
	return f, nil
}

func detached(mounts []mount.Mount, m *idmap.Map, tmp string) (*os.File, error) {
	last := mounts[len(mounts)-1]
	if len(mounts) > 1 || last.Type != "overlay" && last.Type != "bind" {
		return other(mounts, m, tmp)
	}
	if last.Type == "bind" {
		return bound(last.Source, readOnly(last.Options), m)
	}
	o, err := parseOverlay(last.Options)
	if err != nil {
		return nil, err
	}
	return o.mount(m, tmp, overlay.byLayers, overlay.byString)
}

// bound is for a snapshot that is one directory: it has no parent.
func bound(dir string, ro bool, m *idmap.Map) (*os.File, error) {
	f, err := m.Clone(dir)
	if err != nil || !ro {
		return f, err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(int(f.Fd()), "", unix.AT_EMPTY_PATH, &attr); err != nil {
		f.Close()
		return nil, fmt.Errorf("make %s read-only: %w", dir, err)
	}
	return f, nil
}

// other is for what a snapshotter does that has devices or several mounts: it is
// mounted as it says, then cloned.
func other(mounts []mount.Mount, m *idmap.Map, tmp string) (*os.File, error) {
	if err := mount.All(mounts, tmp); err != nil {
		return nil, err
	}
	return take(tmp, m, func() error { return mount.UnmountMounts(mounts, tmp, unix.MNT_DETACH) })
}

// take clones what is mounted at a place and unmounts it there.
func take(at string, m *idmap.Map, unmount func() error) (*os.File, error) {
	f, err := m.Clone(at)
	if err := errors.Join(err, unmount()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func readOnly(options []string) bool {
	for _, o := range options {
		if o == "ro" {
			return true
		}
	}
	return false
}

// Attach makes a detached mount visible at target, an existing directory. The
// file stays open and keeps the mount in use until it is closed.
func Attach(f *os.File, target string) error { return idmap.Attach(f, target) }
