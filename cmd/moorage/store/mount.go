package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// mountFlags: set-user-id programs work, since containers have some; device
// nodes do not, though whiteouts, which are nodes that nobody opens, do.
const mountFlags = unix.MS_NOATIME | unix.MS_NODEV

// mount makes sure that the store is mounted and as large as its file, and that
// is as large as asked for.
func (s *Store) mount(size int64) error {
	image, at := Image(s.root), mountPath(s.root)
	if err := grow(image, size); err != nil {
		return err
	}
	dev, err := attach(image)
	if err != nil {
		return err
	}
	defer dev.Close()
	on, err := mountedFrom(at)
	switch {
	case err != nil:
		return err
	case on != "" && on != dev.Name():
		return fmt.Errorf("%s is mounted from %s and not from %s: unmount it", at, on, dev.Name())
	case on == "":
		if err := mountAt(dev.Name(), at); err != nil {
			return err
		}
	}
	s.kind = Loop
	if err := fill(dev, at); err != nil {
		return fmt.Errorf("grow it: %w", err)
	}
	return nil
}

// grow makes the file larger. It never makes it smaller: XFS cannot.
func grow(image string, size int64) error {
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	switch {
	case err != nil:
		return err
	case size == 0 || size == fi.Size():
		return nil
	case size < fi.Size():
		return fmt.Errorf("it has %s and --store asks for %s: a loop store cannot shrink; leave the size out, or choose another --root", bytes(fi.Size()), bytes(size))
	}
	free, err := Free(filepath.Dir(image))
	if err != nil {
		return err
	}
	if most := fi.Size() + free - freeKept; size > most {
		return fmt.Errorf("it has %s and --store asks for %s: the host has room for %s in all; make room, or ask for less", bytes(fi.Size()), bytes(size), bytes(max(most, fi.Size())))
	}
	return errors.Join(reserve(f, size), f.Sync())
}

// mountedFrom is the device of what is mounted at a place; "" if nothing is.
func mountedFrom(at string) (string, error) {
	at, err := filepath.EvalSymlinks(at)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	infos, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(at))
	if err != nil || len(infos) == 0 {
		return "", err
	}
	return infos[0].Source, nil
}

// Mounted reports whether a Root's loop store is mounted.
func Mounted(root string) (bool, error) {
	on, err := mountedFrom(mountPath(root))
	return on != "", err
}

// mountAt mounts the device. A kernel may have XFS without quotas.
func mountAt(dev, at string) error {
	if err := os.Mkdir(at, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if in, err := os.ReadDir(at); err != nil || len(in) > 0 {
		return errors.Join(err, fmt.Errorf("%s is not empty, and the store is to be mounted there: move what is in it", at))
	}
	err := unix.Mount(dev, at, "xfs", mountFlags, "prjquota,logbsize=256k")
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount(dev, at, "xfs", mountFlags, "logbsize=256k")
	}
	switch {
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.EPERM):
		return unable("mount XFS: %w", err)
	case errors.Is(err, unix.EUCLEAN):
		return fmt.Errorf("mount %s at %s: %w: it is damaged: see xfs_repair", dev, at, err)
	case err != nil:
		return fmt.Errorf("mount %s at %s: %w; the kernel's log says more", dev, at, err)
	}
	return os.Chmod(at, 0o711)
}

// inContainers reports whether the file system at a place is mounted in another
// mount namespace in part, as a bot's data is. That some namespace has a copy of
// the whole mount, as a service of the host may, does not count: it goes with
// ours.
func inContainers(at string) (bool, error) {
	var st unix.Stat_t
	if err := unix.Stat(at, &st); err != nil {
		return false, err
	}
	device := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return false, err
	}
	seen := map[string]bool{own: true}
	all, err := filepath.Glob("/proc/[0-9]*/ns/mnt")
	if err != nil {
		return false, err
	}
	for _, path := range all {
		ns, err := os.Readlink(path)
		if err != nil || seen[ns] {
			continue // it has ended
		}
		seen[ns] = true
		b, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(path)), "mountinfo"))
		if err == nil && hasPart(string(b), device) {
			return true, nil
		}
	}
	return false, nil
}

// hasPart looks in a mountinfo file, proc(5), for a device whose root is not the
// mount's.
func hasPart(mounts, device string) bool {
	for line := range strings.Lines(mounts) {
		if f := strings.Fields(line); len(f) > 3 && f[2] == device && f[3] != "/" {
			return true
		}
	}
	return false
}
