package treetest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Aspect is something in which two files may differ; they can be combined.
type Aspect uint

// The aspects of a file. Its being there, its type, size and a symbolic link's
// target are always compared.
const (
	Content Aspect = 1 << iota
	Mode
	Owner
	Mtime
	Xattrs
	Device  // numbers of a device
	Links   // which names are of the same file
	Holes   // that a file with much less on disk than its size has so in both
	Sockets // that they are there at all
)

// Options of a comparison. The zero value compares everything.
type Options struct {
	Ignore Aspect
	// Skip leaves a path, and what is below it, out of both trees.
	Skip func(path string) bool
	// Max is how many differences the error tells; 0 means 20.
	Max int
}

// Compare returns nil if the trees below two directories, and the directories
// themselves, are the same, else an error that lists differences.
func Compare(a, b string, o Options) error {
	in, err := load(a, o)
	if err != nil {
		return err
	}
	out, err := load(b, o)
	if err != nil {
		return err
	}
	var found []string
	for _, path := range slices.Sorted(maps.Keys(merge(in, out))) {
		x, y := in[path], out[path]
		switch {
		case y == nil:
			found = append(found, fmt.Sprintf("%q: a %s, only in the first", path, x.kind()))
		case x == nil:
			found = append(found, fmt.Sprintf("%q: a %s, only in the second", path, y.kind()))
		default:
			for _, difference := range x.differences(y, o.Ignore) {
				found = append(found, fmt.Sprintf("%q: %s", path, difference))
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	limit := o.Max
	if limit <= 0 {
		limit = 20
	}
	total := len(found)
	if total > limit {
		found = append(found[:limit], fmt.Sprintf("and %d more", total-limit))
	}
	return fmt.Errorf("%s and %s differ in %d ways:\n%s", a, b, total, strings.Join(found, "\n"))
}

func merge(a, b map[string]*file) map[string]*file {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

type file struct {
	st     unix.Stat_t
	target string
	sum    [sha256.Size]byte
	xattrs map[string]string
	group  string // the first path of its inode
}

// load reads a tree, by path.
func load(root string, o Options) (map[string]*file, error) {
	files := map[string]*file{}
	groups := map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if o.Skip != nil && o.Skip(name) {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		f, err := read(path)
		if err != nil || o.Ignore&Sockets != 0 && f.st.Mode&unix.S_IFMT == unix.S_IFSOCK {
			return err
		}
		if _, ok := groups[f.st.Ino]; !ok {
			groups[f.st.Ino] = name
		}
		f.group = groups[f.st.Ino]
		files[name] = f
		return nil
	})
	return files, err
}

func read(path string) (*file, error) {
	f := &file{}
	if err := unix.Lstat(path, &f.st); err != nil {
		return nil, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	var err error
	switch f.st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		f.target, err = os.Readlink(path)
	case unix.S_IFREG:
		f.sum, err = sum(path)
	}
	if err != nil {
		return nil, err
	}
	f.xattrs, err = xattrs(path)
	return f, err
}

func sum(path string) (sum [sha256.Size]byte, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOATIME|unix.O_NOFOLLOW, 0)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return [sha256.Size]byte(h.Sum(nil)), err
}

func xattrs(path string) (map[string]string, error) {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if errors.Is(err, unix.EOPNOTSUPP) || err == nil && n == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, &fs.PathError{Op: "listxattr", Path: path, Err: err}
	}
	all := map[string]string{}
	value := make([]byte, 64<<10)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, &fs.PathError{Op: "getxattr " + name, Path: path, Err: err}
		}
		all[name] = string(value[:n])
	}
	return all, nil
}

func (f *file) kind() string {
	switch f.st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "file"
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "symbolic link"
	case unix.S_IFIFO:
		return "FIFO"
	case unix.S_IFSOCK:
		return "socket"
	}
	return "device"
}

// differences tells how y is other than f.
func (f *file) differences(y *file, ignore Aspect) []string {
	if f.st.Mode&unix.S_IFMT != y.st.Mode&unix.S_IFMT {
		return []string{fmt.Sprintf("%s and %s", f.kind(), y.kind())}
	}
	var all []string
	check := func(aspect Aspect, what string, x, y any) {
		if ignore&aspect == 0 && x != y {
			all = append(all, fmt.Sprintf("%s %v and %v", what, x, y))
		}
	}
	a, b := &f.st, &y.st
	check(Mode, "mode", fmt.Sprintf("%04o", a.Mode&0o7777), fmt.Sprintf("%04o", b.Mode&0o7777))
	check(Owner, "owner", fmt.Sprintf("%d:%d", a.Uid, a.Gid), fmt.Sprintf("%d:%d", b.Uid, b.Gid))
	check(Mtime, "mtime", a.Mtim, b.Mtim)
	check(Device, "device", a.Rdev, b.Rdev)
	check(Xattrs, "extended attributes", fmt.Sprintf("%.200q", f.xattrs), fmt.Sprintf("%.200q", y.xattrs))
	if ignore&Xattrs == 0 && len(all) == 0 && !maps.Equal(f.xattrs, y.xattrs) {
		all = append(all, "extended attributes")
	}
	if a.Mode&unix.S_IFMT != unix.S_IFDIR {
		check(Links, "a name of", fmt.Sprintf("%q", f.group), fmt.Sprintf("%q", y.group))
		check(0, "size", a.Size, b.Size)
	}
	check(0, "target", f.target, y.target)
	if f.sum != y.sum {
		check(Content, "content", fmt.Sprintf("%x", f.sum[:6]), fmt.Sprintf("%x", y.sum[:6]))
	}
	check(Holes, "sparse", sparse(a), sparse(b))
	return all
}

// sparse tells roughly: by at least a mebibyte, which no file system saves or
// adds in any other way.
func sparse(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFREG && st.Blocks*512 < st.Size-1<<20
}
