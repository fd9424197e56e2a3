package copier

import (
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A handle is an open file. path names it too where it was opened as a path only
// (O_PATH), with which less can be done.
type handle struct {
	fd   int
	path string
}

const (
	// maxValue and maxList are the kernel's bounds, limits.h: bytes of one value,
	// and of all names.
	maxValue = 64 << 10
	maxList  = 64 << 10
	// fewBytes is what is asked for first, and seldom too little: the kernel takes
	// as much memory as the caller has room for, which is half of the call's time.
	fewBytes = 512
)

// fetch has call fill *b, which grows to max bytes if a few are not enough.
func fetch(b *[]byte, max int, call func([]byte) (int, error)) ([]byte, error) {
	buf := buffer(b, fewBytes)[:fewBytes]
	n, err := call(buf)
	if err == unix.ERANGE {
		buf = buffer(b, max)
		n, err = call(buf)
	}
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}

// attributes gives a file of the copy the owner, mode, extended attributes and
// times of the source's, in this order: a change of owner takes capabilities and
// setuid away. had says that it may have extended attributes already. It returns
// how many blocks the file has.
func (p *pass) attributes(w *worker, in, out handle, st *unix.Stat_t, had bool) (uint64, error) {
	var is unix.Stat_t
	if err := unix.Fstat(out.fd, &is); err != nil {
		return 0, err
	}
	if is.Uid != st.Uid || is.Gid != st.Gid {
		if err := unix.Fchownat(out.fd, "", int(st.Uid), int(st.Gid), unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return 0, err
		}
		is.Mode = 0
	}
	if is.Mode != st.Mode && st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := out.chmod(st.Mode & 0o7777); err != nil {
			return 0, err
		}
	}
	any, err := p.copyXattrs(w, in, out, had)
	if err != nil {
		return 0, err
	}
	if any {
		if err := unix.Fstat(out.fd, &is); err != nil {
			return 0, err
		}
	}
	return uint64(is.Blocks), out.setTimes(st)
}

func (h handle) chmod(mode uint32) error {
	if h.path != "" {
		return unix.Chmod(h.path, mode)
	}
	return unix.Fchmod(h.fd, mode)
}

// setTimes sets the times of access and modification.
func (h handle) setTimes(st *unix.Stat_t) error {
	times := [2]unix.Timespec{st.Atim, st.Mtim}
	var name *byte // none: the file itself
	var flags uintptr
	if h.path != "" {
		name, flags = new(byte), unix.AT_EMPTY_PATH
	}
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(h.fd), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&times)), flags, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// copyXattrs makes out's extended attributes the same as in's, and tells whether
// it changed any.
func (p *pass) copyXattrs(w *worker, in, out handle, had bool) (bool, error) {
	names, err := in.xattrs(w)
	if err != nil {
		return false, err
	}
	if p.carries {
		names = slices.DeleteFunc(names, isLayers)
	}
	changed := false
	if had {
		extra, err := out.xattrs(w)
		if err != nil {
			return false, err
		}
		for _, name := range extra {
			if !slices.Contains(names, name) && !isForeign(name) {
				changed = true
				if err := out.removeXattr(name); err != nil && err != unix.ENODATA {
					return false, err
				}
			}
		}
	}
	for _, name := range names {
		value, err := fetch(&w.value, maxValue, func(b []byte) (int, error) { return in.xattr(name, b) })
		if err == unix.ENODATA && !p.final {
			continue
		}
		if err != nil {
			return changed, err
		}
		changed = true
		if err := out.setXattr(name, value); err != nil && !(err == unix.EOPNOTSUPP && isForeign(name)) {
			return changed, err
		}
	}
	return changed, nil
}

// isLayers tells that an attribute is what overlayfs keeps of a file in its layer,
// and not one of the file that it shows.
func isLayers(name string) bool {
	return strings.HasPrefix(name, "trusted.overlay.") && !strings.HasPrefix(name, "trusted.overlay.overlay.")
}

// isForeign tells that an attribute belongs to one file system, and another has
// nothing like it.
func isForeign(name string) bool {
	for _, prefix := range []string{"user.", "trusted.", "security.", "system.posix_acl_"} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return true
}

// xattrs lists the names of the extended attributes.
func (h handle) xattrs(w *worker) ([]string, error) {
	list, err := fetch(&w.names, maxList, h.listXattrs)
	if err == unix.EOPNOTSUPP || len(list) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00"), nil
}

func (h handle) listXattrs(b []byte) (int, error) {
	if h.path != "" {
		return unix.Listxattr(h.path, b)
	}
	return unix.Flistxattr(h.fd, b)
}

func (h handle) xattr(name string, value []byte) (int, error) {
	if h.path != "" {
		return unix.Getxattr(h.path, name, value)
	}
	return unix.Fgetxattr(h.fd, name, value)
}

func (h handle) setXattr(name string, value []byte) error {
	if h.path != "" {
		return unix.Setxattr(h.path, name, value, 0)
	}
	return unix.Fsetxattr(h.fd, name, value, 0)
}

func (h handle) removeXattr(name string) error {
	if h.path != "" {
		return unix.Removexattr(h.path, name)
	}
	return unix.Fremovexattr(h.fd, name)
}
