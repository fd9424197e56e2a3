package pattern

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Glob is the pattern of a request. The zero value matches nothing.
type Glob struct {
	rows    []row
	dirOnly bool // it ended with a slash
}

// ParseGlob compiles a pattern for paths below root, an absolute path. The error
// says what is wrong with it, and how to mend it.
func ParseGlob(root, s string) (*Glob, error) {
	if s == "" {
		return nil, errors.New("it is empty; ** matches all")
	}
	g := &Glob{}
	alternatives, err := expand(s)
	if err != nil {
		return nil, err
	}
	for _, a := range alternatives {
		if err := g.add(root, a); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (g *Glob) add(root, s string) error {
	anchored := strings.Contains(strings.TrimRight(s, "/"), "/")
	if strings.HasPrefix(s, "/") {
		var ok bool
		if s, ok = below(root, s); !ok {
			return fmt.Errorf("it is absolute and not below %s; set path to a directory that it is below", root)
		}
	}
	if trimmed := strings.TrimRight(s, "/"); trimmed != s {
		g.dirOnly, s = true, trimmed
	}
	names := slices.DeleteFunc(strings.Split(s, "/"), func(n string) bool { return n == "" || n == "." })
	switch {
	case slices.Contains(names, ".."):
		return errors.New("it has .. in it; set path to the directory to start from")
	case !doublestar.ValidatePattern(s) || !validClasses(s):
		return errors.New(`a [ is not closed, is empty or holds a slash, or a \ is at the end; \[ is the character itself`)
	case len(names) == 0:
		return errors.New("it matches no name; ** matches all")
	}
	if !anchored {
		names = append([]string{"**"}, names...)
	}
	g.rows = append(g.rows, newRow(strings.Join(names, "/")))
	return nil
}

// below returns what is left of s, a pattern, below root.
func below(root, s string) (string, bool) {
	if root == "/" {
		return strings.TrimLeft(s, "/"), true
	}
	rest, ok := strings.CutPrefix(s, root)
	return strings.TrimLeft(rest, "/"), ok && (rest == "" || rest[0] == '/')
}

// Match reports whether the node at path, from the root, matches.
func (g *Glob) Match(path string, dir bool) bool {
	if g.dirOnly && !dir {
		return false
	}
	for _, r := range g.rows {
		if r.match(path) {
			return true
		}
	}
	return false
}

// Below reports whether a path below the directory dir may match; "" is the root.
func (g *Glob) Below(dir string) bool {
	for _, r := range g.rows {
		if r.below(dir) {
			return true
		}
	}
	return false
}

// NameOnly reports whether Match looks at nothing but a path's last name.
func (g *Glob) NameOnly() bool {
	for _, r := range g.rows {
		if len(r) > 2 || r[0].kind != deep {
			return false
		}
	}
	return true
}
