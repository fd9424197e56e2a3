package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const controlPath = "/dev/loop-control"

// Bounds of looking for a free loop device: another program may take the one
// that the kernel named.
const (
	attachTries = 50
	attachPause = 10 * time.Millisecond
)

// attach opens the loop device of a file: the one that has it already, or a new
// one. The device lives as long as it is open or mounted.
func attach(image string) (*os.File, error) {
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if dev, err := findDevice(f); err != nil || dev != nil {
		return dev, err
	}
	ctl, err := os.OpenFile(controlPath, os.O_RDWR, 0)
	if err != nil {
		return nil, unable("there are no loop devices: %w; load the module: modprobe loop", err)
	}
	defer ctl.Close()
	for try := 1; ; try++ {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, unable("get a free loop device: %w", err)
		}
		dev, err := configure(n, f)
		if err == nil || !errors.Is(err, unix.EBUSY) || try == attachTries {
			return dev, err
		}
		time.Sleep(attachPause)
	}
}

// configure attaches a file to a loop device. Reads and writes go past the page
// cache of the host where its file system can do that: XFS has one of its own.
func configure(n int, f *os.File) (*os.File, error) {
	path := fmt.Sprintf("/dev/loop%d", n)
	if err := makeNode(path, n); err != nil {
		return nil, err
	}
	dev, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, unable("open a loop device: %w", err)
	}
	c := &unix.LoopConfig{Fd: uint32(f.Fd()), Size: blockSize}
	c.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO
	copy(c.Info.File_name[:len(c.Info.File_name)-1], f.Name())
	if err := unix.IoctlLoopConfigure(int(dev.Fd()), c); err != nil {
		dev.Close()
		return nil, fmt.Errorf("attach %s to %s: %w", f.Name(), path, err)
	}
	// Else fstrim, which many hosts run each week, would punch holes into it.
	_ = os.WriteFile(filepath.Join("/sys/block", filepath.Base(path), "queue/discard_max_bytes"), []byte("0"), 0) // sysfs may be read-only
	return dev, nil
}

// makeNode makes the device's node where no udev does, as in a container.
func makeNode(path string, n int) error {
	const major = 7 // of loop devices, admin-guide/devices.txt
	err := unix.Mknod(path, unix.S_IFBLK|0o660, int(unix.Mkdev(major, uint32(n))))
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return unable("make %s: %w", path, err)
	}
	return nil
}

// findDevice opens the loop device to which a file is attached; nil if none is.
func findDevice(f *os.File) (*os.File, error) {
	var want unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &want); err != nil {
		return nil, err
	}
	attached, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	for _, backing := range attached {
		name := filepath.Base(filepath.Dir(filepath.Dir(backing)))
		dev, err := os.OpenFile(filepath.Join("/dev", name), os.O_RDWR, 0)
		if err != nil {
			continue // detached meanwhile, or not to be opened by us: not ours
		}
		info, err := unix.IoctlLoopGetStatus64(int(dev.Fd()))
		if err == nil && info.Device == want.Dev && info.Inode == want.Ino {
			return dev, nil
		}
		dev.Close()
	}
	return nil, nil
}
