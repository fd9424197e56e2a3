package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// inode is what the model knows of a file. Names of one file share it.
type inode struct {
	kind     byte // d, f, l or p (FIFO)
	mode     uint32
	uid, gid int
	target   string
	content  []byte    // never changed in place
	mtime    time.Time // zero: a step has just set it, see tree.learn
	sparse   bool      // its content is holes for the most part

	// lower: a snapshot may have put it into a lower layer of overlayfs. From then
	// on the kernel copies it when it is changed, and cannot rename a directory.
	lower bool
}

// tree is a directory with all that is in it, by path; "" is itself.
type tree map[string]*inode

func (t tree) clone() tree {
	copies := map[*inode]*inode{}
	c := make(tree, len(t))
	for p, n := range t {
		if copies[n] == nil {
			m := *n
			copies[n] = &m
		}
		c[p] = copies[n]
	}
	return c
}

// sink says that all of a root filesystem may now be in a lower layer.
func (t tree) sink() {
	for _, n := range t {
		n.lower = true
	}
}

func (t tree) paths() []string { return slices.Sorted(maps.Keys(t)) }

// below are path and, if it is a directory, all in it.
func (t tree) below(p string) (all []string) {
	for _, q := range t.paths() {
		if q == p || strings.HasPrefix(q, p+"/") || p == "" {
			all = append(all, q)
		}
	}
	return all
}

// names are all of a file's.
func (t tree) names(n *inode) (all []string) {
	for _, p := range t.paths() {
		if t[p] == n {
			all = append(all, p)
		}
	}
	return all
}

func parent(p string) string {
	if d := path.Dir(p); d != "." {
		return d
	}
	return ""
}

// touch says that a step has set the times of these, of which the model learns
// them when it looks.
func (t tree) touch(paths ...string) {
	for _, p := range paths {
		if n := t[p]; n != nil {
			n.mtime = time.Time{}
		}
	}
}

func (t tree) remove(p string) {
	for _, q := range t.below(p) {
		delete(t, q)
	}
	t.touch(parent(p))
}

// take removes a part and returns it, to be put elsewhere.
func (t tree) take(p string) tree {
	part := tree{}
	for _, q := range t.below(p) {
		part[strings.TrimPrefix(strings.TrimPrefix(q, p), "/")] = t[q]
	}
	t.remove(p)
	return part
}

func (t tree) put(p string, part tree) {
	t.remove(p)
	for q, n := range part {
		t[strings.TrimSuffix(p+"/"+q, "/")] = n
	}
	t.touch(parent(p))
}

// seen is a file as it is in a container.
type seen struct {
	inode
	dev, ino uint64
	blocks   int64
}

// look reads a directory of a container, from the host. base is the host's id of
// the container's root. One entry at the top is left out.
func look(dir string, base int, without string) (map[string]seen, error) {
	all := map[string]seen{}
	var walk func(p string) error
	walk = func(p string) error {
		s, err := lookAt(dir+"/"+p, base)
		if err != nil {
			return err
		}
		all[p] = s
		if s.kind != 'd' {
			return nil
		}
		entries, err := os.ReadDir(dir + "/" + p)
		for _, e := range entries {
			if p == "" && e.Name() == without {
				continue
			}
			err = errors.Join(err, walk(strings.TrimPrefix(p+"/"+e.Name(), "/")))
		}
		return err
	}
	return all, walk("")
}

func lookAt(name string, base int) (s seen, err error) {
	fi, err := os.Lstat(name)
	if err != nil {
		return s, err
	}
	st := fi.Sys().(*syscall.Stat_t)
	s = seen{dev: st.Dev, ino: st.Ino, blocks: st.Blocks, inode: inode{
		mode: st.Mode & 0o7777, uid: int(st.Uid) - base, gid: int(st.Gid) - base, mtime: fi.ModTime(),
	}}
	switch fi.Mode().Type() {
	case fs.ModeDir:
		s.kind = 'd'
	case fs.ModeSymlink:
		s.kind = 'l'
		s.target, err = os.Readlink(name)
	case fs.ModeNamedPipe:
		s.kind = 'p'
	case 0:
		s.kind = 'f'
		s.content, err = os.ReadFile(name)
	}
	return s, err
}

// compare returns how what is seen differs from the model.
func (t tree) compare(all map[string]seen) (diffs []string) {
	say := func(p, format string, args ...any) {
		if len(diffs) < 10 {
			diffs = append(diffs, fmt.Sprintf("%q: ", p)+fmt.Sprintf(format, args...))
		}
	}
	for _, p := range t.paths() {
		if _, ok := all[p]; !ok {
			say(p, "is missing")
		}
	}
	groups := map[[2]uint64]*inode{}
	for _, p := range slices.Sorted(maps.Keys(all)) {
		got, want := all[p], t[p]
		if want == nil {
			say(p, "should not be there: %c %o, %d bytes", got.kind, got.mode, len(got.content))
			continue
		}
		if d := want.differs(&got); d != "" {
			say(p, "%s", d)
		}
		id := [2]uint64{got.dev, got.ino}
		if known := groups[id]; known != nil && known != want && got.kind != 'd' {
			say(p, "is a hard link of something else (inode %d)", got.ino)
		}
		groups[id] = want
	}
	ids := map[*inode]uint64{}
	for _, p := range t.paths() {
		if got, ok := all[p]; ok {
			if id, known := ids[t[p]]; known && id != got.ino {
				say(p, "is no hard link any more of %q", t.names(t[p]))
			}
			ids[t[p]] = got.ino
		}
	}
	return diffs
}

func (n *inode) differs(got *seen) string {
	switch {
	case n.kind != got.kind:
		return fmt.Sprintf("is a %c, expected %c", got.kind, n.kind)
	case n.kind != 'l' && n.mode != got.mode:
		return fmt.Sprintf("has mode %o, expected %o", got.mode, n.mode)
	case n.uid != got.uid || n.gid != got.gid:
		return fmt.Sprintf("belongs to %d:%d, expected %d:%d", got.uid, got.gid, n.uid, n.gid)
	case n.target != got.target:
		return fmt.Sprintf("leads to %q, expected %q", got.target, n.target)
	case !bytes.Equal(n.content, got.content):
		return fmt.Sprintf("has %d bytes %.40q, expected %d %.40q", len(got.content), got.content, len(n.content), n.content)
	case !n.mtime.IsZero() && !n.mtime.Equal(got.mtime):
		return fmt.Sprintf("has mtime %v, expected %v", got.mtime, n.mtime)
	case n.sparse && got.blocks*512 > int64(len(got.content))/2:
		return fmt.Sprintf("has lost its holes: %d blocks of %d bytes", got.blocks, len(got.content))
	}
	return ""
}

// learn takes over the times that the model does not know.
func (t tree) learn(all map[string]seen) {
	for p, n := range t {
		if got, ok := all[p]; ok && n.mtime.IsZero() {
			n.mtime = got.mtime
		}
	}
}

// linkAs makes these names links as they are seen to be: where the kernel has
// broken some, which it does in lower layers. It returns how many it has.
func (t tree) linkAs(all map[string]seen, paths []string) (broken int) {
	byID := map[uint64]*inode{}
	for _, p := range t.paths() {
		if got, ok := all[p]; ok && !slices.Contains(paths, p) {
			byID[got.ino] = t[p]
		}
	}
	for _, p := range paths {
		got, ok := all[p]
		if !ok || t[p] == nil || t[p].kind == 'd' {
			continue
		}
		if byID[got.ino] == nil {
			m := *t[p]
			if len(t.names(t[p])) > 1 {
				broken++
			}
			byID[got.ino] = &m
		}
		if !byID[got.ino].same(t[p]) {
			continue // compare will say so
		}
		t[p] = byID[got.ino]
	}
	return broken
}

// same reports whether two inodes are alike in all but what a step may set.
func (n *inode) same(o *inode) bool {
	return n.kind == o.kind && n.mode == o.mode && n.uid == o.uid && n.gid == o.gid && n.target == o.target && bytes.Equal(n.content, o.content)
}

// diffLines are what diff_snapshot says of two trees below a directory.
func diffLines(dir string, from, to tree) (lines []string) {
	all := maps.Clone(from)
	maps.Copy(all, to)
	for p := range all {
		a, b := from[p], to[p]
		kind, show := 'M', b
		switch {
		case b == nil:
			kind, show = 'D', a
		case a == nil:
			kind = 'A'
		case a.same(b):
			continue
		}
		line := fmt.Sprintf("%c %s", kind, shownPath(strings.TrimSuffix(dir+"/"+p, "/")))
		if show.kind == 'd' {
			line += "/"
		} else {
			line += fmt.Sprintf(" %d", len(show.content))
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

// shownPath is a path as tools write it: quoted if it is not plain.
func shownPath(s string) string {
	if s[len(s)-1] == ' ' || strings.Contains(s, " -> ") || !utf8.ValidString(s) ||
		strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// shellQuote is a string of any bytes for the container's shell, in ASCII.
func shellQuote(s string) string {
	var b strings.Builder
	b.WriteString("$'")
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("/._-", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\%03o`, c)
		}
	}
	return b.String() + "'"
}
