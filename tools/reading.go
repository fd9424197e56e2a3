package tools

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"moorage/fsbridge"
)

// Bounds of one fs_read.
const (
	linesDefault = 2000
	// numberMax is the most bytes that a line's number takes, with its tab.
	numberMax = 20
	// imageMax is the largest image, in bytes, that fits ResultMax as base64.
	imageMax = (ResultMax - envelope) / 4 * 3
)

type readInput struct {
	Path        string `json:"path" doc:"File, absolute or from /data; odd names in quotes with escapes, as listed."`
	Offset      int64  `json:"offset,omitempty" doc:"First line." min:"1" default:"1"`
	Limit       int64  `json:"limit,omitempty" doc:"Most lines." min:"1" default:"2000"`
	Tail        int64  `json:"tail,omitempty" doc:"Only so many last lines." min:"1"`
	LineNumbers bool   `json:"line_numbers,omitempty" doc:"Number the lines."`
	Encoding    string `json:"encoding,omitempty" doc:"Form of the result." enum:"text,base64"`
	ByteOffset  *int64 `json:"byte_offset,omitempty" doc:"First byte, instead of lines." min:"0"`
	ByteLimit   *int64 `json:"byte_limit,omitempty" doc:"Most bytes." min:"1" max:"640000"`
	ContainerID string `json:"container_id,omitempty" doc:"Container, else the current one."`
}

// request checks which parameters go together.
func (in *readInput) request() (fsbridge.ReadRequest, error) {
	path, err := parsePath("path", in.Path)
	if err != nil {
		return fsbridge.ReadRequest{}, err
	}
	bytewise := in.ByteOffset != nil || in.ByteLimit != nil
	encoded := in.Encoding == "base64"
	var wrong []string
	for _, c := range []struct {
		bad bool
		say string
	}{
		{in.Tail > 0 && (in.Offset > 0 || in.Limit > 0), "tail does not go with offset or limit"},
		{bytewise && (in.Offset > 0 || in.Limit > 0 || in.Tail > 0), "byte_offset and byte_limit do not go with offset, limit or tail"},
		{encoded && (in.Offset > 0 || in.Limit > 0 || in.Tail > 0), "encoding base64 does not go with offset, limit or tail; it takes byte_offset and byte_limit"},
		{in.LineNumbers && (bytewise || encoded), "line_numbers does not go with bytes or base64"},
	} {
		if c.bad {
			wrong = append(wrong, c.say)
		}
	}
	if len(wrong) > 0 {
		return fsbridge.ReadRequest{}, fail(invalidArgument, "Read by lines or by bytes", "%s", strings.Join(wrong, "; "))
	}
	req := fsbridge.ReadRequest{Path: path, Offset: in.Offset, Limit: in.Limit, Tail: in.Tail, MaxBytes: ResultChars, Text: !encoded}
	if in.LineNumbers {
		req.MaxBytes -= numberMax // so that one line fits with its number
	}
	switch {
	case bytewise || encoded:
		req.Bytes, req.ByteOffset, req.ByteLimit = true, deref(in.ByteOffset, 0), deref(in.ByteLimit, 0)
		if encoded && in.ByteLimit == nil {
			req.ByteLimit = ResultChars / 4 * 3
		}
		if req.ByteLimit > 0 {
			req.MaxBytes = 0 // which would cut at a line's end
		}
	case in.Offset == 0 && in.Limit == 0 && in.Tail == 0:
		req.ImageMax = imageMax
		fallthrough
	default:
		if req.Limit == 0 && req.Tail == 0 {
			req.Limit = linesDefault
		}
	}
	return req, nil
}

func deref(p *int64, otherwise int64) int64 {
	if p == nil {
		return otherwise
	}
	return *p
}

type readFacts struct {
	where
	Path           string    `json:"path"`
	Size           int64     `json:"size"`
	Revision       string    `json:"revision,omitempty"`
	FirstLine      int64     `json:"first_line,omitempty"`
	LastLine       int64     `json:"last_line,omitempty"`
	TotalLines     *int64    `json:"total_lines,omitempty"`
	Truncated      bool      `json:"truncated"`
	NextOffset     int64     `json:"next_offset,omitempty"`
	NextByteOffset int64     `json:"next_byte_offset,omitempty"`
	MimeType       string    `json:"mime_type"`
	ModTime        time.Time `json:"mtime"`
}

func (s *Server) fsRead(ctx context.Context, c *call, in readInput) (r reply[readFacts], err error) {
	req, err := in.request()
	if err != nil {
		return r, err
	}
	var head, body []byte
	res, at, err := reading(ctx, c, in.ContainerID, func(a *fsbridge.Client) (res fsbridge.ReadResult, err error) {
		res, head, body, err = a.Read(ctx, req)
		return res, err
	})
	if err != nil {
		return r, err
	}
	mime := mimeType(res.Path, head)
	if res.Binary && len(body) == 0 {
		return r, binaryFile(res, mime)
	}
	r.facts = factsOfRead(res, at, mime)
	switch {
	case res.Binary:
		r.image(body, mime)
		r.note("%s, %s", mime, count(res.Size, "byte"))
		return r, nil
	case req.Text:
		r.say(r.facts.cut(&res, body, in.LineNumbers && res.FirstLine > 0, in.Tail > 0))
		if in.LineNumbers && res.FirstLine == 0 && len(body) > 0 {
			r.note("lines are not numbered: those before are not counted in so large a file")
		}
	default:
		r.say(base64.StdEncoding.EncodeToString(body))
	}
	if n := r.facts.notice(res, len(body)); n != "" {
		r.note("%s", n)
	}
	if n := r.facts.skipped(res, in.Tail); n != "" {
		r.note("%s", n)
	}
	return r, nil
}

func factsOfRead(res fsbridge.ReadResult, at where, mime string) readFacts {
	f := readFacts{
		where: at, Path: show(res.Path), Size: res.Size, Revision: res.Revision, FirstLine: res.FirstLine, LastLine: res.LastLine,
		Truncated: res.Truncated || res.HeadCut, NextOffset: res.NextOffset, MimeType: mime, ModTime: res.ModTime.UTC(),
	}
	if res.TotalLines >= 0 {
		f.TotalLines = &res.TotalLines
	}
	if res.Truncated && res.NextOffset == 0 {
		f.NextByteOffset = res.NextByte
	}
	return f
}

// cut makes the text of a body, and shortens it where numbers of lines or the
// escapes of JSON would make it too large.
func (f *readFacts) cut(res *fsbridge.ReadResult, body []byte, numbers, tail bool) string {
	switch {
	case numbers && tail:
		return f.numberTail(body)
	case numbers:
		return f.number(body)
	}
	if n := fit(body, ResultMax-envelope); n < len(body) {
		f.Truncated, f.NextOffset = true, 0
		f.NextByteOffset = res.FirstByte + int64(n)
		f.FirstLine, f.LastLine = 0, 0
		body = body[:n]
	}
	return string(body)
}

// number puts line numbers before lines, as many as fit one result.
func (f *readFacts) number(body []byte) string {
	var b strings.Builder
	line := f.FirstLine
	for part := range bytes.Lines(body) {
		if b.Len()+len(part)+numberLen(line) > ResultChars && line > f.FirstLine {
			f.Truncated, f.LastLine, f.NextOffset, f.NextByteOffset = true, line-1, line, 0
			break
		}
		fmt.Fprintf(&b, "%6d\t%s", line, part)
		line++
	}
	return b.String()
}

// numberLen is how many bytes number puts before a line.
func numberLen(line int64) int { return len(fmt.Sprintf("%6d\t", line)) }

// numberTail is number, but of the last lines that fit one result.
func (f *readFacts) numberTail(body []byte) string {
	start, line := len(body), f.LastLine+1
	for size := 0; start > 0; {
		from := bytes.LastIndexByte(body[:start-1], '\n') + 1
		size += start - from + numberLen(line-1)
		if size > ResultChars && start < len(body) {
			f.Truncated = true
			break
		}
		start, line = from, line-1
	}
	f.FirstLine = line
	return f.number(body[start:])
}

// skipped says what of a tail was left out before its beginning, and how to get
// it; "" if nothing was.
func (f *readFacts) skipped(res fsbridge.ReadResult, tail int64) string {
	fewer := f.FirstLine > res.FirstLine // numbers took their place
	switch {
	case tail == 0 || !res.HeadCut && !fewer:
		return ""
	case f.FirstLine > 0 && f.TotalLines != nil && (fewer || !res.InLine):
		first := max(1, *f.TotalLines-tail+1)
		if last := f.FirstLine - 1; last >= first {
			return fmt.Sprintf("lines %d to %d, the end of a file of %s; lines %d to %d were asked for too: fs_read with offset %d and limit %d",
				f.FirstLine, f.LastLine, count(*f.TotalLines, "line"), first, last, first, last-first+1)
		}
	}
	what := "the lines before"
	if res.InLine {
		what = "only the end of one long line is shown, what is before it"
	}
	return fmt.Sprintf("bytes %d to %d, the end of a file of %s; %s: fs_read with byte_offset %d and byte_limit %d",
		res.FirstByte, res.NextByte-1, count(f.Size, "byte"), what, res.PrevByte, res.FirstByte-res.PrevByte)
}

// notice says what was left out and how to get it; "" if nothing was.
func (f *readFacts) notice(res fsbridge.ReadResult, n int) string {
	total := count(f.Size, "byte")
	if f.TotalLines != nil {
		total = count(*f.TotalLines, "line") + ", " + total
	}
	switch {
	case n == 0 && f.Size == 0:
		return "the file is empty"
	case n == 0:
		return "nothing there: the file has " + total
	case !f.Truncated, f.NextOffset == 0 && !res.Truncated && f.NextByteOffset == 0:
		return ""
	case f.NextOffset > 0:
		return fmt.Sprintf("lines %d to %d of a file of %s; the rest: fs_read with offset %d", f.FirstLine, f.LastLine, total, f.NextOffset)
	}
	return fmt.Sprintf("bytes %d to %d of a file of %s; the rest: fs_read with byte_offset %d", res.FirstByte, f.NextByteOffset-1, total, f.NextByteOffset)
}

// binaryFile is the answer for a body that is no text.
func binaryFile(res fsbridge.ReadResult, mime string) error {
	hint := "Read it with encoding base64, or look at it with a command by exec"
	if isImage(mime) && res.Size > imageMax {
		hint = fmt.Sprintf("Images are shown up to %d bytes; make a smaller one by exec, or read it with encoding base64", imageMax)
	}
	return fail(unsupported, hint, "%s is not text: %s, %s", show(res.Path), mime, count(res.Size, "byte"))
}
