package search

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"moorage/fsbridge/agent/search/pattern"
)

// rulesMax is the most bytes of one .gitignore that are read.
const rulesMax = 1 << 20

var (
	gitignore  = nameOf(".gitignore")
	gitExclude = nameOf(".git/info/exclude")
	gitDir     = nameOf(".git")
)

// rules are those of one file, and of the files that stand behind it: those of
// the directories above, up to the repository's, then its own info/exclude.
type rules struct {
	set    *pattern.Rules
	behind *rules
	strip  int    // bytes of a path from the root before it is one from the file's directory
	above  string // or what is before it
}

// ignored reports whether the node is. path is called for its path from the root
// only if a rule needs it.
func (r *rules) ignored(path func() string, last string, dir bool) bool {
	for ; r != nil; r = r.behind {
		p := ""
		if !r.set.NameOnly() {
			p = r.above + path()[r.strip:]
		}
		if says, found := r.set.Match(p, last, dir); found {
			return says
		}
	}
	return false
}

// load reads the rules of d. Those of directories above do not go into another
// repository. repository says that d has a .git, file that it has a .gitignore.
func (d *dir) load(repository, file bool) {
	if repository {
		d.rules = nil
		d.rules = d.add(gitExclude)
	}
	if file {
		d.rules = d.add(gitignore)
	}
}

// add puts the rules of the file n before those of d.
func (d *dir) add(n name) *rules {
	if set := readRules(d.fd, n); set != nil {
		return &rules{set: set, behind: d.rules, strip: len(d.path)}
	}
	return d.rules
}

// readRules returns the rules in the file n below a directory, nil if there are
// none.
func readRules(at int, n name) *pattern.Rules {
	fd, err := openAt(at, n, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	if !isRegular(fd) {
		return nil
	}
	b := make([]byte, 4<<10)
	size, err := read(fd, b, false)
	if size == len(b) && err == nil {
		b = append(b, make([]byte, rulesMax-len(b))...)
		var more int
		more, err = read(fd, b[size:], false)
		size += more
	}
	set := pattern.ParseRules(string(b[:size]))
	if err != nil || set.Empty() {
		return nil
	}
	return set
}

func isRegular(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

// outerRules are those of the directories above root, if they belong to the
// same repository.
func outerRules(root string) *rules {
	if exists(filepath.Join(root, ".git")) {
		return nil
	}
	var dirs []string // from the inside out
	for at := root; at != "/"; {
		at = filepath.Dir(at)
		dirs = append(dirs, at)
		if exists(filepath.Join(at, ".git")) {
			return readOuter(root, dirs)
		}
	}
	return nil
}

func readOuter(root string, dirs []string) *rules {
	var r *rules
	for i := len(dirs) - 1; i >= 0; i-- {
		files := []string{".gitignore"}
		if i == len(dirs)-1 {
			files = []string{".git/info/exclude", ".gitignore"}
		}
		for _, file := range files {
			set := readRules(unix.AT_FDCWD, nameOf(filepath.Join(dirs[i], file)))
			if set == nil {
				continue
			}
			above := strings.TrimPrefix(strings.TrimPrefix(root, dirs[i]), "/") + "/"
			r = &rules{set: set, behind: r, above: above}
		}
	}
	return r
}

func exists(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil
}
