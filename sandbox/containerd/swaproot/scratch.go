package swaproot

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// scratch is a small file system that is mounted for the time of one Swap: a
// place for the new root, and for mounts that are taken off a stack.
type scratch struct {
	fd              int // the mount
	root, dir, file int // O_PATH: places in it
}

// newScratch makes one, detached.
func newScratch() (*scratch, error) {
	s := &scratch{-1, -1, -1, -1}
	if err := s.make(); err != nil {
		s.close()
		return nil, fmt.Errorf("make scratch mount: %w", err)
	}
	return s, nil
}

func (s *scratch) make() error {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "size", "64k"); err != nil {
		return err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return err
	}
	if s.fd, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC); err != nil {
		return err
	}
	file, err := unix.Openat(s.fd, "file", unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	unix.Close(file)
	err = errors.Join(unix.Mkdirat(s.fd, "root", 0o700), unix.Mkdirat(s.fd, "dir", 0o700))
	for name, fd := range map[string]*int{"root": &s.root, "dir": &s.dir, "file": &s.file} {
		if err == nil {
			*fd, err = unix.Openat(s.fd, name, unix.O_PATH|unix.O_CLOEXEC, 0)
		}
	}
	return err
}

// place is where a directory, or anything else, can be mounted.
func (s *scratch) place(dir bool) int {
	if dir {
		return s.dir
	}
	return s.file
}

func (s *scratch) close() {
	for _, fd := range []int{s.fd, s.root, s.dir, s.file} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
