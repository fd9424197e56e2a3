package layers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode/utf8"

	"github.com/aymanbagabas/go-udiff"
	"golang.org/x/sys/unix"

	"moorage/sandbox"
)

const (
	patchMax  = 1 << 20 // bytes of a file that is compared line by line
	sniffMax  = 8 << 10 // bytes in which a NUL makes a file binary
	contextOf = 3       // lines around a change, as diff -u
)

// Patch tells a change of a regular file as a unified diff with the headers that
// git writes for name, of at most limit bytes. Where there is none, note says why. More
// than about a hundred changes in one file are told as few large ones.
func Patch(ctx context.Context, from, to *Stack, c Change, name string, limit int) (patch, note string, err error) {
	if note := noPatch(&c); note != "" {
		return "", note, nil
	}
	a, note, err := side(ctx, from, c.Path, &c.From)
	if note != "" || err != nil {
		return "", note, err
	}
	b, note, err := side(ctx, to, c.Path, &c.To)
	if note != "" || err != nil {
		return "", note, err
	}
	if a == b {
		return "", attributesOnly(&c), nil
	}
	left, right := header("a", name), header("b", name)
	if c.From.Mode == 0 {
		left = "/dev/null"
	}
	if c.To.Mode == 0 {
		right = "/dev/null"
	}
	patch, err = udiff.ToUnified(left, right, a, udiff.Lines(a, b), contextOf)
	if err != nil {
		return "", "", fmt.Errorf("diff %q: %w", c.Path, err)
	}
	if len(patch) > limit {
		return "", fmt.Sprintf("too large: a patch of %d bytes, %d are left", len(patch), max(limit, 0)), nil
	}
	return patch, "", nil
}

// noPatch says what is known without reading.
func noPatch(c *Change) string {
	for _, st := range []*unix.Stat_t{&c.From, &c.To} {
		if kind := st.Mode & unix.S_IFMT; kind != 0 && kind != unix.S_IFREG {
			return "not a regular file"
		}
		if st.Size > patchMax {
			return fmt.Sprintf("too large: a file of %d bytes, at most %d are compared", st.Size, patchMax)
		}
	}
	switch {
	case c.Kind == sandbox.Modified && c.What&Content == 0:
		return attributesOnly(c)
	case c.From.Size == 0 && c.To.Size == 0:
		return "empty file"
	}
	return ""
}

// attributesOnly says which attributes changed.
func attributesOnly(c *Change) string {
	var all []string
	if c.What&Mode != 0 {
		all = append(all, fmt.Sprintf("mode %04o to %04o", c.From.Mode&0o7777, c.To.Mode&0o7777))
	}
	if c.What&Owner != 0 {
		all = append(all, fmt.Sprintf("owner %d:%d to %d:%d", c.From.Uid, c.From.Gid, c.To.Uid, c.To.Gid))
	}
	if c.What&Xattrs != 0 {
		all = append(all, "extended attributes")
	}
	if len(all) == 0 { // it was changed and changed back meanwhile
		return "same content"
	}
	return "only " + strings.Join(all, ", ")
}

// side reads a file as text. One that is not there is empty; one that has
// changed meanwhile is told as it is now.
func side(ctx context.Context, s *Stack, path string, st *unix.Stat_t) (text, note string, err error) {
	if err := ctx.Err(); err != nil || st.Mode == 0 {
		return "", "", err
	}
	f, err := s.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return "", "changed meanwhile", nil
	}
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	b, err := readAt(int(f.Fd()), make([]byte, patchMax+1), 0)
	switch {
	case err != nil:
		return "", "", fmt.Errorf("read %q: %w", path, err)
	case len(b) > patchMax:
		return "", fmt.Sprintf("too large: more than %d bytes", patchMax), nil
	case bytes.IndexByte(b[:min(len(b), sniffMax)], 0) >= 0 || !utf8.Valid(b):
		return "", "binary", nil
	}
	return string(b), "", nil
}

// header is a path as git writes it, in quotes if it must be.
func header(side, path string) string {
	name := side + path
	plain := utf8.ValidString(name) && strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '"' || r == '\\' }) < 0
	if plain {
		return name
	}
	out := []byte{'"'}
	for _, c := range []byte(name) {
		switch {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c < ' ' || c >= 0x7f:
			out = fmt.Appendf(out, `\%03o`, c)
		default:
			out = append(out, c)
		}
	}
	return string(append(out, '"'))
}
