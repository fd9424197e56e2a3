package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// diskSize is the size of a fresh file system; only what is written takes space.
const diskSize = 24 << 30

// disk is a fresh ext4 in a file, mounted: on one that has been in use for long
// making files can take ten times as long.
type disk struct{ image, at string }

// newDisk makes one below dir; nil if the host has no mkfs.ext4.
func newDisk(ctx context.Context, dir string) (*disk, error) {
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		return nil, nil
	}
	d := &disk{image: filepath.Join(dir, "disk.ext4"), at: filepath.Join(dir, "d")}
	if err := errors.Join(os.Mkdir(d.at, 0o711), os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, diskSize)); err != nil {
		return nil, fmt.Errorf("make a file system: %w", err)
	}
	for _, argv := range [][]string{
		{"mkfs.ext4", "-q", "-E", "nodiscard", d.image},
		// Else the kernel zeroes inode tables in the background for some time.
		{"mount", "-o", "loop,noinit_itable", d.image, d.at},
	} {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("make a file system: %s: %w: %.300s", argv[0], err, bytes.TrimSpace(out))
		}
	}
	return d, os.Chmod(d.at, 0o711)
}

// close unmounts it, its loop device goes with that, and removes it.
func (d *disk) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "umount", d.at).CombinedOutput(); err != nil {
		return fmt.Errorf("unmount a file system: %w: %.300s", err, bytes.TrimSpace(out))
	}
	return os.Remove(d.image)
}
