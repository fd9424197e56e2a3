package nodes

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// attributesMax is the most bytes of one extended attribute, and of all names:
// XATTR_SIZE_MAX and XATTR_LIST_MAX of linux/limits.h.
const attributesMax = 64 << 10

// CopyAttributes copies the extended attributes (access lists among them) of one
// open node to another. Those that the agent may not set or that the file system
// does not have are left out. It reports whether there were any.
func CopyAttributes(to, from int) (some bool, err error) {
	n, err := unix.Flistxattr(from, nil)
	if err != nil || n == 0 {
		return false, nil
	}
	list := make([]byte, attributesMax)
	if n, err = unix.Flistxattr(from, list); err != nil {
		return false, err
	}
	value := make([]byte, attributesMax)
	for _, name := range strings.Split(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		k, err := unix.Fgetxattr(from, name, value)
		if err != nil {
			continue
		}
		err = unix.Fsetxattr(to, name, value[:k], 0)
		if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.EINVAL) {
			return true, err
		}
	}
	return true, nil
}

// dress gives an open node what st has of owner, mode and times. Where the owner
// may not be given, neither are setuid and setgid.
func dress(fd int, st *unix.Stat_t) error {
	mode := st.Mode & 0o7777
	err := unix.Fchown(fd, int(st.Uid), int(st.Gid))
	if mayNot(err) {
		mode &^= unix.S_ISUID | unix.S_ISGID
	} else if err != nil {
		return err
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		return err
	}
	err = unix.UtimesNanoAt(fd, "", []unix.Timespec{st.Atim, st.Mtim}, unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // before Linux 5.8
		err = unix.Futimes(fd, []unix.Timeval{unix.NsecToTimeval(st.Atim.Nano()), unix.NsecToTimeval(st.Mtim.Nano())})
	}
	return err
}

// dressAt is dress for a node that is not opened: a link, a FIFO, a device.
func dressAt(dir int, name string, st *unix.Stat_t) error {
	err := unix.Fchownat(dir, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
	if err != nil && !mayNot(err) {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Fchmodat(dir, name, st.Mode&0o7777, 0); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(dir, name, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

// mayNot: the owner may not be given, or has no number in the user namespace.
func mayNot(err error) bool { return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) }
