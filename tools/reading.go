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
		r.say(r.facts.cut(&res, body, in.LineNumbers))
	default:
		r.say(base64.StdEncoding.EncodeToString(body))
	}
	if n := r.facts.notice(res, len(body)); n != "" {
		r.note("%s", n)
	}
	return r, nil
}

func factsOfRead(res fsbridge.ReadResult, at where, mime string) readFacts {
	f := readFacts{
		where: at, Path: show(res.Path), Size: res.Size, Revision: res.Revision, FirstLine: res.FirstLine, LastLine: res.LastLine,
		Truncated: res.Truncated, NextOffset: res.NextOffset, MimeType: mime, ModTime: res.ModTime.UTC(),
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
func (f *readFacts) cut(res *fsbridge.ReadResult, body []byte, numbers bool) string {
	if numbers {
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
		if b.Len()+len(part)+8 > ResultChars && line > f.FirstLine {
			f.Truncated, f.LastLine, f.NextOffset, f.NextByteOffset = true, line-1, line, 0
			break
		}
		fmt.Fprintf(&b, "%6d\t%s", line, part)
		line++
	}
	return b.String()
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
	case !f.Truncated:
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
