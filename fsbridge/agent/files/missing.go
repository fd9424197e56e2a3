package files

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

const (
	scanMax  = 4096 // names of a directory that are compared
	closeMax = 5
)

// missing is NewError that, for a path that does not exist, says what does.
func missing(op fsbridge.Op, path fsbridge.Path, err error) *fsbridge.Error {
	e := fsbridge.NewError(op, path, err)
	if !errors.Is(e.Errno, unix.ENOENT) {
		return e
	}
	if target, err := os.Readlink(string(path)); err == nil {
		e.Message = "a symbolic link whose target does not exist: " + printable(target)
	}
	parent, name := nearest(string(path))
	e.Parent = fsbridge.Path(parent)
	for _, name := range closeNames(parent, name) {
		e.Close = append(e.Close, fsbridge.Path(name))
	}
	return e
}

func printable(s string) string { return strings.ToValidUTF8(s[:min(len(s), 1024)], "?") }

// nearest returns the deepest directory above path that exists, and the first
// name below it that does not.
func nearest(path string) (parent, name string) {
	for parent = path; parent != "/"; {
		parent, name = filepath.Dir(parent), filepath.Base(parent)
		if info, err := os.Stat(parent); err == nil && info.IsDir() {
			break
		}
	}
	return parent, name
}

// closeNames returns the names in dir that are most like name, best first.
func closeNames(dir, name string) []string {
	type candidate struct {
		name string
		far  int
	}
	var found []candidate
	for _, have := range names(dir, scanMax) {
		if far := distance(name, have); far <= max(2, len(name)/3) {
			found = append(found, candidate{have, far})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		if a.far != b.far {
			return a.far - b.far
		}
		return strings.Compare(a.name, b.name)
	})
	var out []string
	for _, c := range found[:min(len(found), closeMax)] {
		out = append(out, c.name)
	}
	return out
}

// names returns at most limit names in dir, unsorted; none if it cannot be read.
func names(dir string, limit int) []string {
	d, err := openDir(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	list, _ := d.Readdirnames(limit)
	return list
}

// openDir opens a directory, and nothing else.
func openDir(path string) (*os.File, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// distance is how far apart two names are: 0 when only case differs, 1 when one
// is the other's beginning (as with a forgotten extension), else Levenshtein's, in
// characters.
func distance(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	switch {
	case a == b:
		return 0
	case len(a) >= 3 && strings.HasPrefix(b, a), len(b) >= 3 && strings.HasPrefix(a, b):
		return 1
	case max(len(a), len(b)) > 255:
		return 255
	}
	return levenshtein.ComputeDistance(a, b)
}

// countNames counts the names in an open directory, at most until just after
// limit, and closes it.
func countNames(fd, limit int) int {
	d := os.NewFile(uintptr(fd), "")
	defer d.Close()
	n := 0
	for n <= limit {
		names, err := d.Readdirnames(min(scanMax, limit+1-n))
		if n += len(names); err != nil {
			break
		}
	}
	return n
}
