package pattern

import (
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// segment matches one name, or with kind deep any number of them.
type segment struct {
	kind kind
	text string
}

type kind uint8

const (
	literal kind = iota // text
	star                // *
	deep                // **
	suffix              // *text
	prefix              // text*
	glob                // all else
)

// meta are the characters that are not themselves in a segment.
const meta = `*?[\`

// newSegment compiles one name's pattern, which is valid and without braces.
func newSegment(s string) segment {
	switch s {
	case "**":
		return segment{kind: deep}
	case "*":
		return segment{kind: star}
	}
	if text, ok := plain(s); ok {
		return segment{literal, text}
	}
	if text, ok := plain(strings.TrimPrefix(s, "*")); ok && s[0] == '*' {
		return segment{suffix, text}
	}
	if text, ok := plain(strings.TrimSuffix(s, "*")); ok && !strings.HasSuffix(s, `\*`) {
		return segment{prefix, text}
	}
	return segment{glob, escaped.Replace(s)}
}

// escaped takes their meaning from braces.
var escaped = strings.NewReplacer(`\\`, `\\`, `\{`, `\{`, `\}`, `\}`, "{", `\{`, "}", `\}`)

// plain returns the text that s stands for, if it is but that.
func plain(s string) (string, bool) {
	if !strings.ContainsAny(s, meta) {
		return s, true
	}
	if strings.ContainsAny(s, `*?[`) {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), true
}

func (s *segment) match(name string) bool {
	switch s.kind {
	case literal:
		return name == s.text
	case suffix:
		return strings.HasSuffix(name, s.text)
	case prefix:
		return strings.HasPrefix(name, s.text)
	case glob:
		return doublestar.MatchUnvalidated(s.text, name)
	}
	return true
}

// row is a pattern: the segments of a path.
type row []segment

func newRow(s string) row {
	var r row
	for part := range strings.SplitSeq(s, "/") {
		next := newSegment(part)
		if next.kind == deep && len(r) > 0 && r[len(r)-1].kind == deep {
			continue
		}
		r = append(r, next)
	}
	return r
}

// match reports whether r matches all of path. It goes back only to the last
// deep segment: what those before it took was the least they could.
func (r row) match(path string) bool {
	i, back, from := 0, -1, ""
	for path != "" {
		if i < len(r) && r[i].kind == deep {
			if i++; i == len(r) {
				return true
			}
			back, from = i, path
			continue
		}
		name, rest, _ := strings.Cut(path, "/")
		if i < len(r) && r[i].match(name) {
			i, path = i+1, rest
			continue
		}
		if back < 0 {
			return false
		}
		_, from, _ = strings.Cut(from, "/")
		i, path = back, from
	}
	return i == len(r)
}

// below reports whether r may match a path below dir, "" for where paths start.
func (r row) below(dir string) bool {
	for i := 0; ; i++ {
		switch {
		case i == len(r):
			return false
		case dir == "" || r[i].kind == deep:
			return true
		}
		var name string
		if name, dir, _ = strings.Cut(dir, "/"); !r[i].match(name) {
			return false
		}
	}
}
