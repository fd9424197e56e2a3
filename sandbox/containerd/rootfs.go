package containerd

import (
	"errors"
	"io/fs"
	"os"

	"github.com/containerd/containerd/v2/core/mount"
)

// hostsFile makes localhost a name. There is no network but loopback, so no
// other is needed.
const hostsFile = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"

// seed writes /etc/hosts into a new root filesystem whose image has none, or an
// empty one as `docker build` leaves it. A file of its own, and not a mount, so
// that the bot can edit it like any other. What an image answered is remembered.
func (r *Runtime) seed(chainID, at string, mounts []mount.Mount) error {
	if _, has := r.hosts.Load(chainID); has {
		return nil
	}
	has, err := seedMounted(at, mount.RemoveVolatileOption(mounts))
	if err != nil {
		return engineError("prepare root filesystem", err)
	}
	if has {
		r.hosts.Store(chainID, true)
	}
	return nil
}

// seedMounted mounts for a moment, at a directory that it makes and removes.
func seedMounted(at string, mounts []mount.Mount) (has bool, err error) {
	if err := makeDir(at, 0o700); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.Remove(at)) }()
	if err := mount.All(mounts, at); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, mount.UnmountMounts(mounts, at, 0)) }()
	root, err := os.OpenRoot(at)
	if err != nil {
		return false, err
	}
	defer root.Close()
	return seedHosts(root)
}

// seedHosts reports whether there was a file already. An image whose /etc leads
// out of it, or is no directory, is left as it is.
func seedHosts(root *os.Root) (has bool, err error) {
	if fi, err := root.Lstat("etc/hosts"); err == nil && (!fi.Mode().IsRegular() || fi.Size() > 0) {
		return true, nil
	}
	if err := root.Mkdir("etc", 0o755); err != nil && !os.IsExist(err) {
		return false, err
	}
	if fi, err := root.Lstat("etc"); err != nil || !fi.IsDir() {
		return true, nil
	}
	if err := root.WriteFile("etc/hosts", []byte(hostsFile), 0o644); err != nil {
		return false, err
	}
	return false, root.Chmod("etc/hosts", fs.FileMode(0o644))
}
