package layers

import (
	"errors"
	"fmt"
	"strings"
)

// ErrTar is wrapped by errors about a tar that is none, or has something in it
// that is refused.
var ErrTar = errors.New("bad tar")

// How a tar says what is not there: image-spec, layer.md.
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	xattrRecord    = "SCHILY.xattr."
)

// tarPath takes the name of a tar entry apart: relative, "" is the top of what
// is below prefix. What is elsewhere, or leads there, is refused, but for the
// directories above prefix: those are told by above.
func tarPath(name, prefix string) (path string, above bool, err error) {
	path = strings.TrimSuffix(name, "/")
	if path == "." {
		path = ""
	}
	path = strings.TrimPrefix(path, "./")
	if strings.IndexByte(name, 0) >= 0 || strings.HasPrefix(name, "/") {
		return "", false, fmt.Errorf("%w: the name %.200q is not relative", ErrTar, name)
	}
	if path != "" {
		for part := range strings.SplitSeq(path, "/") {
			if part == "" || part == "." || part == ".." || len(part) > nameMax || strings.HasPrefix(part, whiteoutPrefix) {
				return "", false, fmt.Errorf("%w: the name %.200q has %.80q in it", ErrTar, name, part)
			}
		}
	}
	if err := checkPath(path); err != nil {
		return "", false, err
	}
	if prefix == "" || path == prefix {
		return strings.TrimPrefix(path, prefix), false, nil
	}
	if rest, ok := strings.CutPrefix(path, prefix+"/"); ok {
		return rest, false, nil
	}
	if path == "" || strings.HasPrefix(prefix, path+"/") {
		return "", true, nil
	}
	return "", false, fmt.Errorf("%w: the name %.200q is not below %q", ErrTar, name, prefix)
}

// nameMax is the most bytes of one name: NAME_MAX of linux/limits.h.
const nameMax = 255
