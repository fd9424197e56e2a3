package idmap

import (
	"errors"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// Map shifts ids by a range. It holds a user namespace of the kernel, which is
// what a mount is told; making that forks the process, which takes milliseconds
// in a large one, so a Map is kept. A nil Map shifts nothing. Its methods may be
// called at the same time, but none after Close.
type Map struct {
	ids    Range
	userns *os.File
}

// Open makes the map of a range, nil for the zero Range.
func Open(ids Range) (*Map, error) {
	if ids.IsZero() {
		return nil, nil
	}
	m := fmt.Sprintf("0:%d:%d", ids.Base, Size)
	userns, err := mount.GetUsernsFD(m, m)
	if err != nil {
		return nil, fmt.Errorf("make user namespace %s: %w", ids, err)
	}
	return &Map{ids, userns}, nil
}

// Range is zero for a nil Map.
func (m *Map) Range() Range {
	if m == nil {
		return Range{}
	}
	return m.ids
}

// Close gives the namespace up. Mounts that were made with it stay.
func (m *Map) Close() error {
	if m == nil {
		return nil
	}
	return m.userns.Close()
}

// Clone is a detached, private mount of what is at path (a directory or a file),
// without what is mounted below, through which ids are shifted. It goes away when
// the file is closed, unless it was attached somewhere. It needs Linux 5.12, and a
// file system that can (ext4 and XFS 5.12, Btrfs 5.15, tmpfs 6.3).
func (m *Map) Clone(path string) (*os.File, error) {
	attr := unix.MountAttr{Propagation: unix.MS_PRIVATE}
	if m != nil {
		attr.Attr_set, attr.Userns_fd = unix.MOUNT_ATTR_IDMAP, uint64(m.userns.Fd())
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("clone mount of %s: %w", path, err)
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("map ids of %s by %s: %w", path, m.Range(), err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Mount attaches a clone of path at target, which exists and is of its kind. The
// caller unmounts it.
func (m *Map) Mount(path, target string) error {
	f, err := m.Clone(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return Attach(f, target)
}

// Attach makes a detached mount visible at target.
func Attach(f *os.File, target string) error {
	if err := unix.MoveMount(int(f.Fd()), "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("attach mount at %s: %w", target, err)
	}
	return nil
}

// Unmount takes a mount away, also one that is in use: whoever has it open, or
// has cloned it, goes on. That nothing is mounted there is no error.
func Unmount(target string) error {
	err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", target, err)
	}
	return nil
}
