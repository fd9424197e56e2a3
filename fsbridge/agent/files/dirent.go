package files

import (
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// direntBuffer is how many bytes of a directory are read at a time.
const direntBuffer = 32 << 10

// The fields of a linux_dirent64 (getdents64(2)).
const (
	direntLen  = 16 // 2 bytes: of the whole entry
	direntType = 18 // 1 byte
	direntName = 19 // up to a NUL
)

// dirent is a name in a directory.
type dirent struct {
	name string
	kind byte // DT_...
}

// readDir appends the next entries of an open directory to all, without . and
// .., and reports whether there may be more. Package os would make several
// objects of each.
func readDir(fd int, all []dirent) (_ []dirent, more bool, err error) {
	buf := make([]byte, direntBuffer)
	var n int
	err = retry(func() (err error) {
		n, err = unix.Getdents(fd, buf)
		return err
	})
	if err != nil || n <= 0 {
		return all, false, err
	}
	for batch := string(buf[:n]); len(batch) > direntName; {
		size := int(binary.NativeEndian.Uint16(buf[n-len(batch)+direntLen:]))
		if size <= direntName || size > len(batch) {
			return all, false, unix.EIO
		}
		name, _, _ := strings.Cut(batch[direntName:size], "\x00")
		if d := (dirent{name, batch[direntType]}); name != "." && name != ".." && d.look(fd) {
			all = append(all, d)
		}
		batch = batch[size:]
	}
	return all, true, nil
}

// look finds out what kind a node is where the directory does not say. It
// reports false if the node has vanished.
func (d *dirent) look(fd int) bool {
	if d.kind != unix.DT_UNKNOWN {
		return true
	}
	var st unix.Stat_t
	if unix.Fstatat(fd, d.name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return false
	}
	d.kind = byte(st.Mode & unix.S_IFMT >> 12) // IFTODT of dirent.h
	return true
}

// typeName is the node's type by what the directory says.
func (d *dirent) typeName() string {
	switch d.kind {
	case unix.DT_DIR:
		return fsbridge.TypeDirectory
	case unix.DT_LNK:
		return fsbridge.TypeSymlink
	case unix.DT_FIFO:
		return fsbridge.TypeFIFO
	case unix.DT_SOCK:
		return fsbridge.TypeSocket
	case unix.DT_CHR:
		return fsbridge.TypeCharDevice
	case unix.DT_BLK:
		return fsbridge.TypeBlockDevice
	}
	return fsbridge.TypeFile
}
