package files

import (
	"errors"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// kernelFS are the file systems whose files are the kernel's: none can be made or
// replaced there, and a directory that is made means something.
var kernelFS = map[uint32]string{
	unix.PROC_SUPER_MAGIC: "proc", unix.SYSFS_MAGIC: "sysfs", unix.CGROUP_SUPER_MAGIC: "cgroup",
	unix.CGROUP2_SUPER_MAGIC: "cgroup2", unix.DEBUGFS_MAGIC: "debugfs", unix.TRACEFS_MAGIC: "tracefs",
	unix.SECURITYFS_MAGIC: "securityfs",
}

// kernelOf names the kernel's file system that an open file is on, "" if it is on
// another.
func kernelOf(fd int) string {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(fd, &st) }); err != nil {
		return ""
	}
	return kernelFS[uint32(st.Type)]
}

// kernelAbove is kernelOf the deepest directory above path that exists.
func kernelAbove(path string) string {
	parent, _ := nearest(path)
	fd, err := unix.Open(parent, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	return kernelOf(fd)
}

// notMade is the error of a file or directory that was to be made on kernel.
func notMade(op fsbridge.Op, path fsbridge.Path, kernel string) error {
	e := fsbridge.NewError(op, path, unix.EACCES)
	e.Message = "files cannot be made here: it is on " + kernel
	return e
}

// notReplaced is the error of a file on kernel.
func notReplaced(op fsbridge.Op, path fsbridge.Path, kernel string) error {
	return fsbridge.Errorf(op, path, fsbridge.CodeIrregular,
		"cannot be replaced: it is on %s; a command may be able to write to it", kernel)
}

// readError is NewError, but where a file of the kernel's refuses to be read,
// which it does for ever.
func (f *file) readError(op fsbridge.Op, path fsbridge.Path, err error) error {
	if !errors.Is(err, unix.EIO) {
		return fsbridge.NewError(op, path, err)
	}
	kernel := kernelOf(f.fd)
	if kernel == "" {
		return fsbridge.NewError(op, path, err)
	}
	e := fsbridge.Errorf(op, path, fsbridge.CodeIrregular, "cannot be read as a file: it is on %s, and there is an input/output error", kernel)
	e.Errno = unix.EIO
	return e
}
