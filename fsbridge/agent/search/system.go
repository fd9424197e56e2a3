package search

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Names come from the kernel with a NUL byte at their end and go back to it in
// the same form: a string made of each would be most of what a walk allocates.

// name is a node's name as the kernel takes it: its last byte is a NUL.
type name []byte

// text is the name as a string, which holds as long as its bytes do.
func (n name) text() string { return unsafe.String(unsafe.SliceData(n), len(n)-1) }

// textOf is b as a string, which holds as long as b does.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// nameOf makes a name of a string without NUL.
func nameOf(s string) name { return append([]byte(s), 0) }

const openFlags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NOCTTY

// openAt opens n below dir, not following a link.
func openAt(dir int, n name, flags int) (int, error) {
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(n))),
			uintptr(openFlags|flags), 0, 0, 0)
		if errno == 0 {
			return int(fd), nil
		}
		if errno != unix.EINTR {
			return -1, errno
		}
	}
}

// read reads until b is full or the file ends. With short, a read that does not
// fill b means the end, as it does but on the file systems of the kernel.
func read(fd int, b []byte, short bool) (n int, err error) {
	for n < len(b) {
		k, err := unix.Read(fd, b[n:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return n, err
		case k == 0:
			return n, nil
		}
		if n += k; short && n < len(b) {
			return n, nil
		}
	}
	return n, nil
}

// retry calls f again while a signal interrupts it.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// lstatAt is what lstat says of n below dir.
func lstatAt(dir int, n name, st *unix.Stat_t) error {
	return retry(func() error { return unix.Fstatat(dir, n.text(), st, unix.AT_SYMLINK_NOFOLLOW) })
}

// entries reads the next entries of a directory into b, as many as fit.
func entries(fd int, b []byte) (n int, err error) {
	err = retry(func() error {
		n, err = unix.Getdents(fd, b)
		return err
	})
	return n, err
}

// The parts of a linux_dirent64, as getdents64(2) has it: after the inode and the
// offset, 8 bytes each, are the length of the entry, the kind and the name.
const (
	direntLength = 16
	direntKind   = 18
	direntName   = 19
)

// nextEntry takes the first entry off b, which entries has filled. The name is a
// part of b.
func nextEntry(b []byte) (n name, kind byte, rest []byte) {
	length := binary.NativeEndian.Uint16(b[direntLength:])
	end := direntName + bytes.IndexByte(b[direntName:length], 0) + 1
	return b[direntName:end:end], b[direntKind], b[length:]
}

// vanished reports whether err means that a node has gone, or become another,
// since its directory was read.
func vanished(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) ||
		errors.Is(err, unix.ENXIO)
}
