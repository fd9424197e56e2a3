package files

import (
	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// What package search has in common with this one.

// Missing is NewError that, for a path that does not exist, says what does.
func Missing(op fsbridge.Op, path fsbridge.Path, err error) *fsbridge.Error {
	return missing(op, path, err)
}

// Kernel reports whether an open file is on a file system of the kernel's, as
// /proc.
func Kernel(fd int) bool { return kernelOf(fd) != "" }

// Describe fills in what st says of an entry.
func Describe(e *fsbridge.Entry, st *unix.Stat_t) {
	e.Type = typeOf(st.Mode)
	e.Mode = permissions(st.Mode)
	e.Size = st.Size
	e.ModTime = modTime(st.Mtim)
}

// OpenRegular opens a regular file for reading, as all operations on files do,
// and returns its descriptor.
func OpenRegular(op fsbridge.Op, path fsbridge.Path) (fd int, err error) {
	f, err := openRegular(op, path)
	if err != nil {
		return -1, err
	}
	return f.fd, nil
}
