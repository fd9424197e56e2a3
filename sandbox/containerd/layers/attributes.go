package layers

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The extended attributes of overlayfs.
const (
	overlayPrefix = "trusted.overlay."
	xattrOpaque   = overlayPrefix + "opaque"
	xattrWhiteout = overlayPrefix + "whiteout"
	xattrRedirect = overlayPrefix + "redirect"
	xattrMetacopy = overlayPrefix + "metacopy"
	// escapedPrefix begins what overlayfs keeps for an overlayfs inside of it; to
	// the outer one it is content.
	escapedPrefix = overlayPrefix + "overlay."
)

// xattrMax is the most bytes of an extended attribute's value, and of all names:
// XATTR_SIZE_MAX and XATTR_LIST_MAX of linux/limits.h.
const xattrMax = 64 << 10

// xattr is an extended attribute.
type xattr struct {
	name  string
	value []byte
}

// procPath is a path of a name in an open directory that the calls for extended
// attributes take. They do not follow a link at its end.
func procPath(dir int, name string) string {
	return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + name
}

// hasXattr: none is the answer, too, where it is gone or unknown.
func hasXattr(dir int, name, attr string) (bool, error) {
	_, err := unix.Lgetxattr(procPath(dir, name), attr, nil)
	return err == nil, absent(err)
}

// isOpaque says whether a directory hides what is below it.
func isOpaque(dir int, name string) (bool, error) {
	var value [2]byte
	n, err := unix.Lgetxattr(procPath(dir, name), xattrOpaque, value[:])
	return err == nil && n == 1 && value[0] == 'y', absent(err)
}

// absent takes away the errors that say only that there is no such attribute.
func absent(err error) error {
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) || gone(err) || errors.Is(err, unix.ERANGE) {
		return nil
	}
	return err
}

// xattrs returns the extended attributes of a name, "." for the directory
// itself, sorted; those of overlayfs only if plain.
func xattrs(dir int, name string, plain bool) ([]xattr, error) {
	path := procPath(dir, name)
	list := make([]byte, 256) // most have few
	n, err := unix.Llistxattr(path, list)
	if errors.Is(err, unix.ERANGE) {
		list = make([]byte, xattrMax)
		n, err = unix.Llistxattr(path, list)
	}
	if n <= 0 || err != nil {
		return nil, absent(err)
	}
	var all []xattr
	for _, attr := range strings.Split(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		if attr == "" || !plain && ofOverlay(attr) {
			continue
		}
		value, err := readXattr(path, attr)
		if errors.Is(err, unix.ENODATA) { // removed meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, xattr{attr, value})
	}
	slices.SortFunc(all, func(a, b xattr) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

func readXattr(path, attr string) ([]byte, error) {
	small := make([]byte, 256) // most are
	n, err := unix.Lgetxattr(path, attr, small)
	if errors.Is(err, unix.ERANGE) {
		small = make([]byte, xattrMax)
		n, err = unix.Lgetxattr(path, attr, small)
	}
	if err != nil {
		return nil, err
	}
	return small[:n], nil
}

// ofOverlay: the attribute is how overlayfs keeps its own state.
func ofOverlay(attr string) bool {
	return strings.HasPrefix(attr, overlayPrefix) && !strings.HasPrefix(attr, escapedPrefix)
}

func sameXattrs(a, b []xattr) bool {
	return slices.EqualFunc(a, b, func(a, b xattr) bool { return a.name == b.name && bytes.Equal(a.value, b.value) })
}

func readLink(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	return string(buf[:max(n, 0)]), err
}
