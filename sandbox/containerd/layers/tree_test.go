package layers

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// tree is all that is below a directory, by path: "/" and "/a/b".
type tree map[string]thing

// thing is one entry.
type thing struct {
	Mode, Uid, Gid uint32
	Rdev           uint64
	Content        string // or a link's target
	Size           int64
	Xattrs         string
	Mtime          unix.Timespec
	First          string // of the paths of the same node, the first
}

// bare is what Changes compares.
func (x thing) bare() thing {
	x.Mtime, x.First = unix.Timespec{}, ""
	return x
}

func (x thing) dir() bool { return x.Mode&unix.S_IFMT == unix.S_IFDIR }

func readTree(root string) tree {
	t := tree{}
	first := map[id]string{}
	err := filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		x := thing{Mode: st.Mode, Uid: st.Uid, Gid: st.Gid, Rdev: uint64(st.Rdev), Mtime: st.Mtim}
		name := "/" + strings.TrimPrefix(strings.TrimPrefix(p, root), "/")
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			x.Content, x.Size = fmt.Sprintf("%x", sha256.Sum256(b)), st.Size
		case unix.S_IFLNK:
			x.Content, _ = os.Readlink(p)
		}
		if x.Xattrs, err = listXattrs(p); err != nil {
			return err
		}
		if !x.dir() {
			key := idOf(&st)
			if first[key] == "" {
				first[key] = name
			}
			x.First = first[key]
		}
		t[name] = x
		return nil
	})
	if err != nil {
		panic(err)
	}
	return t
}

func listXattrs(p string) (string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(p, buf)
	if err != nil {
		return "", err
	}
	attrs := strings.Split(strings.TrimRight(string(buf[:n]), "\x00"), "\x00")
	slices.Sort(attrs)
	var all strings.Builder
	for _, a := range attrs {
		if a == "" {
			continue
		}
		n, err := unix.Lgetxattr(p, a, buf)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&all, "%s=%q ", a, buf[:n])
	}
	return all.String(), nil
}

// sorted returns the paths name by name, as Changes does.
func (t tree) sorted() []string { return sortPaths(slices.Collect(maps.Keys(t))) }

func sortPaths(paths []string) []string {
	slices.SortFunc(paths, func(a, b string) int {
		return slices.Compare(strings.Split(strings.Trim(a, "/"), "/"), strings.Split(strings.Trim(b, "/"), "/"))
	})
	return paths
}

// diffTrees says where two trees differ, in the form of a sorted list of lines.
func diffTrees(a, b tree) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	var out []string
	for _, p := range all.sorted() {
		x, inA := a[p]
		y, inB := b[p]
		switch {
		case !inB:
			out = append(out, line('D', p, x))
		case !inA:
			out = append(out, line('A', p, y))
		case x != y:
			out = append(out, line('M', p, y))
		}
	}
	return out
}

func line(kind byte, p string, x thing) string {
	return fmt.Sprintf("%c %q dir=%v %d", kind, p, x.dir(), x.Size)
}

func (t tree) bare() tree {
	b := tree{}
	for p, x := range t {
		b[p] = x.bare()
	}
	return b
}
