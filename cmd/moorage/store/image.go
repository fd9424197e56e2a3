package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// blockSize is that of XFS, and the sector size of the device: it suits host
// disks with sectors of 512 and of 4,096 bytes.
const blockSize = 4096

// formatTimeout is far above what mkfs.xfs takes: it writes some MB.
const formatTimeout = 2 * time.Minute

// mkfs are the arguments of mkfs.xfs. Nothing is discarded (-K), which would
// give back what was reserved.
var mkfs = []string{"-q", "-K", "-L", "moorage", "-s", "size=4096", "-b", "size=4096", "-m", "crc=1,reflink=1", "-n", "ftype=1"}

// Tools says what of the host's parts for a new loop store is missing.
func Tools() error {
	if _, err := exec.LookPath("mkfs.xfs"); err != nil {
		return unable("mkfs.xfs is not on PATH: install xfsprogs")
	}
	if _, err := os.Stat(controlPath); err != nil {
		return unable("there are no loop devices: %w; load the module: modprobe loop", err)
	}
	return nil
}

// makeImage makes Root/store.xfs, whole or not at all.
func makeImage(root string, size int64) (err error) {
	if err := Tools(); err != nil {
		return err
	}
	tmp := Image(root) + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if size, err = sizeFor(root, size); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeIfThere(tmp))
		}
	}()
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := reserve(f, size); err != nil {
		return err
	}
	if err := format(tmp); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp, Image(root)); err != nil {
		return err
	}
	return syncDir(root)
}

// sizeFor is the size of a new store, if there is room for it.
func sizeFor(root string, asked int64) (int64, error) {
	free, err := Free(root)
	if err != nil {
		return 0, err
	}
	size := asked
	if asked == 0 {
		size = min(defaultSize, free/2) >> 20 << 20
	}
	switch room := free - freeKept; {
	case room < MinSize:
		return 0, unable("%s has %s free: a loop store needs at least %s and leaves %s", root, bytes(free), bytes(MinSize), bytes(freeKept))
	case size > room:
		return 0, unable("%s has %s free: --store loop:SIZE can be at most %s there, and %s is asked for", root, bytes(free), bytes(room), bytes(size))
	}
	return max(size, MinSize), nil
}

// Free is what may still be written to the file system of dir, in bytes.
func Free(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("look for room in %s: %w", dir, err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// reserve makes a file so large, with blocks of its own for all of it.
func reserve(f *os.File, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EOPNOTSUPP):
			return unable("the file system of %s cannot reserve room for a file: put --root on ext4, XFS, btrfs or tmpfs", f.Name())
		case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
			return unable("reserve %s for %s: %w", bytes(size), f.Name(), err)
		case err != nil:
			return fmt.Errorf("reserve %s for %s: %w", bytes(size), f.Name(), err)
		}
		return nil
	}
}

func format(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), formatTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "mkfs.xfs", append(mkfs, path)...).CombinedOutput()
	if err != nil {
		return unable("mkfs.xfs %s: %w: %.400s", path, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
