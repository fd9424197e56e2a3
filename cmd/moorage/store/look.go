package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"moorage/sandbox/containerd/quota"
)

// Facts are what a file system can do.
type Facts struct {
	Size, Free int64 // bytes
	Reflinks   bool  // files are copied by sharing their blocks
	Quota      error // nil: project quotas limit a bot's disk; else why they do not
}

// Look tries what the file system of dir, or of the nearest directory above it
// that exists, can do.
func Look(dir string) (Facts, error) {
	for !exists(dir) && dir != "/" {
		dir = filepath.Dir(dir)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Facts{}, fmt.Errorf("look at %s: %w", dir, err)
	}
	f := Facts{Size: int64(st.Blocks) * st.Bsize, Free: int64(st.Bavail) * st.Bsize, Quota: quota.Supported(dir)}
	var err error
	f.Reflinks, err = reflinks(dir)
	return f, err
}

// QuotaText is "yes", or "no" and why.
func (f Facts) QuotaText() string {
	if f.Quota == nil {
		return "yes"
	}
	return "no: " + f.Quota.Error()
}

// reflinks clones a block.
func reflinks(dir string) (yes bool, err error) {
	var files [2]*os.File
	for i := range files {
		if files[i], err = os.CreateTemp(dir, ".moorage-probe-*"); err != nil {
			return false, fmt.Errorf("try a reflink: %w", err)
		}
		defer files[i].Close()
		if err := os.Remove(files[i].Name()); err != nil {
			return false, fmt.Errorf("try a reflink: %w", err)
		}
	}
	if _, err := files[0].Write(make([]byte, blockSize)); err != nil {
		return false, fmt.Errorf("try a reflink: %w", err)
	}
	err = unix.IoctlFileClone(int(files[1].Fd()), int(files[0].Fd()))
	for _, no := range []error{unix.EOPNOTSUPP, unix.ENOTTY, unix.EINVAL, unix.EXDEV} {
		if errors.Is(err, no) {
			return false, nil
		}
	}
	return err == nil, err
}
