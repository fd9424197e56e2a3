package text

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	"moorage/fsbridge"
)

// Change is a content before and after.
type Change struct {
	Old, New []byte
	Count    int // replacements
	spans    []span
	main     []byte // dominant line end of Old
}

// Replace carries the edits out, each in what those before it have made.
func Replace(ctx context.Context, content []byte, edits []fsbridge.Edit) (*Change, error) {
	c := &Change{Old: content, New: content, main: dominant(content)}
	for i := range edits {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := c.replace(ctx, &edits[i]); err != nil {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			err.Item = i + 1
			err.Message = named(i+1, len(edits)) + err.Message
			if i > 0 && err.Code == fsbridge.CodeNoMatch && newMatcher(content, &edits[i], c.main).found() {
				err.Message += "; an edit before it has changed it"
			}
			return nil, err
		}
	}
	return c, nil
}

func named(i, n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf("edit %d of %d: ", i, n)
}

func (c *Change) replace(ctx context.Context, e *fsbridge.Edit) *fsbridge.Error {
	if err := checkEdit(e); err != nil {
		return err
	}
	m := newMatcher(c.New, e, c.main)
	if !m.tail && !m.found() {
		return missing(ctx, c.New, e)
	}
	if n := m.count(); n > 1 && !e.All {
		return ambiguous(m, n)
	}
	out, spans := make([]byte, 0, len(c.New)+len(m.new)), []span(nil)
	done := 0
	for start, end := range m.all() {
		out = append(out, c.New[done:start]...)
		at := len(out)
		out = append(out, m.fresh(c.New[start:end])...)
		if len(out)+len(c.New)-end > fsbridge.ChangeMax {
			return tooLarge()
		}
		spans = extend(spans, span{start, end, at, len(out)}, c.New)
		done = end
		c.Count++
	}
	c.New = append(out, c.New[done:]...)
	c.spans = join(c.spans, spans)
	return nil
}

func tooLarge() *fsbridge.Error {
	return fault(fsbridge.CodeTooLarge, "the file would be over %d bytes, the largest that is changed in place", fsbridge.ChangeMax)
}

func checkEdit(e *fsbridge.Edit) *fsbridge.Error {
	switch {
	case e.Old == "":
		return fault(fsbridge.CodeInvalid, "the old text is empty; give the text to replace, or write the whole file instead")
	case e.Old == e.New:
		return fault(fsbridge.CodeInvalid, "the old text and the new text are the same")
	}
	return nil
}

func fault(code fsbridge.Code, format string, args ...any) *fsbridge.Error {
	return &fsbridge.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// ambiguous says where the old text is.
func ambiguous(m *matcher, count int) *fsbridge.Error {
	e := fault(fsbridge.CodeAmbiguous, "")
	e.Count = count
	var lines []string
	for start, end := range m.all() {
		if len(e.Passages) == fsbridge.PassagesMax {
			break
		}
		p := passage(m.content, start, min(end, lineEnd(m.content, start)))
		e.Passages = append(e.Passages, p)
		lines = append(lines, strconv.FormatInt(p.Line, 10))
	}
	more := ""
	if count > len(lines) && len(lines) > 1 {
		more = " and more"
	}
	e.Message = fmt.Sprintf("the old text is there %d times, in lines %s%s",
		count, strings.Join(lines, ", "), more)
	return e
}

// missing says what is there that is like the old text.
func missing(ctx context.Context, content []byte, e *fsbridge.Edit) *fsbridge.Error {
	err := fault(fsbridge.CodeNoMatch, "the old text is not there")
	if len(content) == 0 {
		err.Message = "the file is empty; write the whole file instead"
		return err
	}
	old := []byte(e.Old)
	switch plain := unnumbered(old); {
	case plain != nil && (&matcher{hay: flatten(content), old: plain}).found():
		err.Message += ", but it is without the line numbers in front of its lines"
		old = plain
	case strings.Contains(e.Old, `\n`) && bytes.Contains(flatten(content), []byte(strings.ReplaceAll(e.Old, `\n`, "\n"))):
		err.Message += `, but it is with line ends where the old text has a backslash and an n`
		old = []byte(strings.ReplaceAll(e.Old, `\n`, "\n"))
	}
	found, exact := near(ctx, content, old)
	err.Passages = found
	switch {
	case len(found) == 0:
		err.Message += ", nor anything like it"
	case exact:
		err.Message += fmt.Sprintf("; but for white space (indentation, tabs, line ends) it is what begins in line %d", found[0].Line)
	default:
		err.Message += difference(content, old, found[0].Line)
	}
	return err
}

// unnumbered takes line numbers off the beginning of each line, as tools that
// show files put them there; nil if not each line has one.
func unnumbered(old []byte) []byte {
	var out []byte
	for rest := flatten(old); len(rest) > 0; {
		var line []byte
		line, rest = cutLine(rest)
		text := bytes.TrimLeft(line, " \t")
		digits := len(text) - len(bytes.TrimLeft(text, "0123456789"))
		after := text[digits:]
		switch {
		case digits == 0:
			return nil
		case len(after) > 0 && (after[0] == '\t' || after[0] == '|' || after[0] == ':'):
			after = after[1:]
		case bytes.HasPrefix(after, []byte("→")):
			after = after[len("→"):]
		default:
			return nil
		}
		out = append(out, after...)
	}
	return out
}
