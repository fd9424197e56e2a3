package tools

import (
	"bytes"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"moorage/fsbridge"
)

// pathMax is the longest path that is taken, in bytes: Linux' PATH_MAX.
const pathMax = 4096

// parsePath reads a path as a client writes it: as it is, or in double quotes
// with Go's escapes (\n, \x1b, \xff), for names that JSON or a line of text
// cannot carry.
func parsePath(param, s string) (fsbridge.Path, error) {
	p := s
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		var err error
		if p, err = strconv.Unquote(s); err != nil {
			return "", badArgument(param, s, `a path; in double quotes it is read with Go's escapes, as "a\x1bb" or "a\"b"`)
		}
	}
	switch {
	case p == "":
		return "", badArgument(param, s, "a path that is not empty")
	case strings.ContainsRune(p, 0):
		return "", badArgument(param, s, "a path without NUL bytes; no file can have such a name")
	case len(p) > pathMax:
		return "", badArgument(param, s, "a path of at most 4096 bytes")
	}
	return fsbridge.Path(p), nil
}

// show writes a path or name so that it stays on its line and drives no
// terminal. A name that has nothing to hide is itself; any other is quoted, and
// parsePath reads it back.
func show(p fsbridge.Path) string {
	s := string(p)
	if plain(s) {
		return s
	}
	return strconv.Quote(s)
}

func plain(s string) bool {
	if s == "" || s[0] == '"' || s[0] == ' ' || s[len(s)-1] == ' ' || strings.Contains(s, " -> ") || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// clean makes text from a container, a registry or the engine harmless in a
// message of one line: what is not printable is escaped, and what is over max
// bytes is cut.
func clean(s string, max int) string { return escape(s, max, "; ", `\t`) }

// cleanLine makes a line of a file harmless in a message of many lines: as
// clean, but whole, and a tab stays one.
func cleanLine(s string) string { return escape(s, math.MaxInt, `\n`, "\t") }

func escape(s string, max int, newline, tab string) string {
	var b strings.Builder
	for i, w := 0, 0; i < len(s); i += w {
		var r rune
		r, w = utf8.DecodeRuneInString(s[i:])
		switch {
		case b.Len() >= max:
			return b.String() + "..."
		case r == utf8.RuneError && w == 1:
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i]), 16))
		case r == '\n':
			b.WriteString(newline)
		case r == '\t':
			b.WriteString(tab)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

// hostPath matches an absolute path of two or more elements at the beginning of
// a word, which the text of an engine's error may hold.
var hostPath = regexp.MustCompile(`(^|[\s"'(=])/[\w.@+-]+(/[\w.@+-]*)+`)

// hidePaths takes paths of the host out of an engine's error.
func hidePaths(s string) string { return hostPath.ReplaceAllString(s, "${1}(path)") }

// valid makes command output text: what is not UTF-8 becomes U+FFFD, and
// replaced says that something was. cutHead and cutTail tell that bytes are
// missing before or after b, so that a character cut in two there is dropped
// and not taken for damage.
func valid(b []byte, cutHead, cutTail bool) (text string, replaced bool) {
	if cutHead {
		for n := 0; n < utf8.UTFMax-1 && len(b) > 0 && !utf8.RuneStart(b[0]); n++ {
			b = b[1:]
		}
	}
	if cutTail {
		b = b[:wholeRunes(b)]
	}
	if utf8.Valid(b) {
		return string(b), false
	}
	return string(bytes.ToValidUTF8(b, []byte("\uFFFD"))), true
}

// wholeRunes is the length of b without a character that is cut at its end.
func wholeRunes(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		c := b[len(b)-n]
		if !utf8.RuneStart(c) {
			continue
		}
		if c >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-n:]) {
			return len(b) - n
		}
		break
	}
	return len(b)
}
