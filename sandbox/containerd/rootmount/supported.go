package rootmount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"moorage/sandbox/containerd/idmap"
)

// probeRange is for trying: no container has it. systemd's page on user ids calls
// what is below it unused.
var probeRange = idmap.Range{Base: 0x7000_0000}

// Supported tries, in a directory of its own below dir, an overlay whose layers
// and upper directory are shifted, and says why the kernel or the file system
// cannot. It takes about 3 ms.
func Supported(dir string) (err error) {
	if err := removeProbes(dir, time.Now().Add(-probeAge)); err != nil {
		return err
	}
	at, err := os.MkdirTemp(dir, probePrefix)
	if err != nil {
		return fmt.Errorf("try idmapped overlay: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(at)) }()
	path := func(names ...string) string { return filepath.Join(append([]string{at, "s"}, names...)...) }
	for _, d := range []string{path("0", "fs"), path("1", "fs"), path("1", "work")} {
		if err := os.MkdirAll(d, 0o711); err != nil {
			return fmt.Errorf("try idmapped overlay: %w", err)
		}
	}
	m, err := idmap.Open(probeRange)
	if err != nil {
		return err
	}
	defer m.Close()
	f, err := Detached([]mount.Mount{{Type: "overlay", Options: []string{
		"index=off", "workdir=" + path("1", "work"), "upperdir=" + path("1", "fs"), "lowerdir=" + path("0", "fs"),
	}}}, m, filepath.Join(at, "m"))
	if err != nil {
		return err
	}
	defer f.Close()
	return tryFile(f, path("1", "fs", "x"))
}

const (
	probePrefix = ".probe-"
	probeAge    = time.Minute // then whoever has made it was killed
)

// removeProbes removes what is left of earlier tries, from before a time.
func removeProbes(dir string, before time.Time) error {
	left, err := filepath.Glob(filepath.Join(dir, probePrefix+"*"))
	if err != nil {
		return err
	}
	for _, at := range left {
		if fi, err := os.Lstat(at); err != nil || fi.ModTime().After(before) {
			continue
		}
		m := filepath.Join(at, "m")
		err := errors.Join(idmap.Unmount(m), idmap.Unmount(m)) // an overlay, and the clone below it
		if err == nil {
			err = os.RemoveAll(at)
		}
		if err != nil {
			return fmt.Errorf("remove what is left of an earlier try: %w", err)
		}
	}
	return nil
}

// tryFile makes a file as the range's root and looks whose it is on disk.
func tryFile(root *os.File, onDisk string) error {
	_, err := onThread(func() (*os.File, error) {
		if err := actAs(probeRange); err != nil {
			return nil, err
		}
		return nil, unix.Mknodat(int(root.Fd()), "x", unix.S_IFREG|0o600, 0)
	})
	if err != nil {
		return fmt.Errorf("try idmapped overlay: make a file: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(onDisk, &st); err != nil {
		return fmt.Errorf("try idmapped overlay: find the file: %w", err)
	}
	if st.Uid != 0 {
		return fmt.Errorf("try idmapped overlay: root's file belongs to %d on disk, expected 0", st.Uid)
	}
	return nil
}
