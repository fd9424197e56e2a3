package files

import (
	"bytes"
	"context"
	"io"
	"slices"
	"unicode/utf8"

	"moorage/fsbridge"
)

// Read reads a part of a regular file. The data is the head, if any, and then
// the body. Its memory is bounded by the request's MaxBytes, whatever the file.
func (t *Tree) Read(ctx context.Context, req *fsbridge.ReadRequest) (fsbridge.ReadResult, []byte, error) {
	if err := checkRead(req); err != nil {
		return fsbridge.ReadResult{}, nil, err
	}
	f, err := openRegular(fsbridge.OpRead, req.Path)
	if err != nil {
		return fsbridge.ReadResult{}, nil, err
	}
	defer f.close()
	r := newReader(ctx, f, req)
	if err := r.read(); err != nil {
		return fsbridge.ReadResult{}, nil, f.readError(fsbridge.OpRead, req.Path, err)
	}
	d, known, err := r.digest(t)
	if err != nil {
		return fsbridge.ReadResult{}, nil, f.readError(fsbridge.OpRead, req.Path, err)
	}
	if !known && r.total < 0 {
		d.lines = -1
	}
	res := r.result(d)
	return res, r.data, nil
}

func checkRead(req *fsbridge.ReadRequest) error {
	bad := func(format string, args ...any) error {
		return fsbridge.Errorf(fsbridge.OpRead, req.Path, fsbridge.CodeInvalid, format, args...)
	}
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"offset", req.Offset}, {"limit", req.Limit}, {"tail", req.Tail}, {"byte_offset", req.ByteOffset},
		{"byte_limit", req.ByteLimit}, {"max_bytes", int64(req.MaxBytes)}, {"image_max", req.ImageMax},
	} {
		if n.value < 0 {
			return bad("%s is %d, the least is 0", n.name, n.value)
		}
	}
	byLines := req.Offset > 0 || req.Limit > 0
	switch {
	case req.Tail > 0 && (byLines || req.Bytes || req.ByteOffset > 0 || req.ByteLimit > 0):
		return bad("tail goes without offset, limit and bytes")
	case req.Bytes && byLines:
		return bad("a read is by lines or by bytes, not both")
	case req.Offset > 0 && req.ByteOffset > 0:
		return bad("a read starts at a line or at a byte, not both")
	}
	return nil
}

// reader is one Read under way.
type reader struct {
	ctx  context.Context
	f    *file
	req  *fsbridge.ReadRequest
	max  int   // bytes of body
	size int64 // as fstat says; f.st.Size may be mended

	data   []byte // head and body
	head   int    // bytes of head in data
	first  int64  // where the body starts
	line   int64  // the number of its first line, 0 if not known
	total  int64  // lines of the file, -1 if not known
	eof    bool   // the body ends where the file ends
	binary bool
	cutAt  headCut
}

func newReader(ctx context.Context, f *file, req *fsbridge.ReadRequest) *reader {
	r := &reader{ctx: ctx, f: f, req: req, max: req.MaxBytes, size: f.st.Size, total: -1}
	if r.max == 0 || r.max > fsbridge.BodyMax {
		r.max = fsbridge.BodyMax
	}
	if req.Text {
		r.max = max(r.max, utf8.UTFMax)
	}
	return r
}

func (r *reader) read() (err error) {
	switch {
	case r.req.Tail > 0:
		err = r.tail()
	case r.req.Bytes:
		err = r.bytes()
	default:
		err = r.lines()
	}
	if err != nil {
		return err
	}
	r.probe()
	if !r.req.Text {
		return nil
	}
	if image, err := r.isImage(); image || err != nil {
		return err
	}
	if !fsbridge.IsText(r.body()) {
		r.refuse()
	}
	return nil
}

// probe looks whether the file goes on where its size does not tell.
func (r *reader) probe() {
	var one [1]byte
	if pos := r.first + int64(len(r.body())); !r.eof && pos >= r.f.st.Size {
		_, err := r.f.readAt(one[:], pos)
		r.eof = err == io.EOF
	}
}

// isImage replaces the body by the whole file if that is an image to be returned.
func (r *reader) isImage() (yes bool, err error) {
	if r.first > 0 || r.f.st.Size > min(r.req.ImageMax, fsbridge.MaxData) {
		return false, nil
	}
	start := r.body()
	if len(start) < imageMagic {
		start, _, err = r.f.take(r.ctx, nil, 0, imageMagic)
	}
	if err != nil || !isImage(start) {
		return false, err
	}
	r.binary, r.line, r.head = true, 0, 0
	r.data, r.eof, err = r.f.take(r.ctx, nil, 0, fsbridge.MaxData)
	return true, err
}

func (r *reader) body() []byte { return r.data[r.head:] }

// begin puts the body's start at byte off, which is the start of line unless
// that is 0, and reads the head if the body will not hold it.
func (r *reader) begin(off, line int64) (err error) {
	r.first, r.line = off, line
	if off > 0 {
		r.data, _, err = r.f.take(r.ctx, nil, 0, fsbridge.HeadBytes)
		r.head = len(r.data)
	}
	return err
}

// beginAt is begin at a byte that the caller chose.
func (r *reader) beginAt(off, line int64) error {
	if r.req.Text && off > 0 {
		if err := r.checkEdge(off); err != nil {
			return err
		}
	}
	return r.begin(off, line)
}

// more appends at most n bytes to the body.
func (r *reader) more(n int) (err error) {
	r.data, r.eof, err = r.f.take(r.ctx, r.data, r.first+int64(len(r.body())), int64(n))
	return err
}

// bytes reads from a byte on.
func (r *reader) bytes() error {
	if err := r.beginAt(r.req.ByteOffset, 0); err != nil {
		return err
	}
	limit, byMax := r.max, true
	if n := r.req.ByteLimit; n > 0 && n < int64(limit) {
		limit, byMax = int(n), false
	}
	if err := r.more(max(limit, utf8.UTFMax) + 1); err != nil {
		return err
	}
	if len(r.body()) > limit {
		r.cut(limit, byMax)
	}
	return nil
}

// end ends the body after n bytes, at a line's end.
func (r *reader) end(n int) {
	r.eof = r.eof && n == len(r.body())
	r.data = r.data[:r.head+n]
}

// cut ends the body before the bytes that are beyond limit: for text at a
// character's edge, and at a line's end if there is one and atLine. A first
// character that is beyond limit stays whole.
func (r *reader) cut(limit int, atLine bool) {
	b := r.body()[:limit]
	if i := bytes.LastIndexByte(b, '\n'); atLine && i >= 0 {
		b = b[:i+1]
	} else if r.req.Text {
		if b = trimRune(b); len(b) == 0 {
			_, n := utf8.DecodeRune(r.body())
			b = r.body()[:n]
		}
	}
	r.eof = false
	r.data = r.data[:r.head+len(b)]
}

// refuse leaves of the file only its head.
func (r *reader) refuse() {
	r.binary, r.line, r.cutAt = true, 0, headCut{}
	if r.first == 0 {
		r.head = min(len(r.data), fsbridge.HeadBytes)
	}
	r.data = r.data[:r.head]
	r.eof = false
}

// digest returns the revision and the number of lines, without reading the file
// again if the body is all of it.
func (r *reader) digest(t *Tree) (digest, bool, error) {
	if r.first > 0 || !r.eof || r.f.st.Size != int64(len(r.data)) {
		if r.f.st.Size == 0 && len(r.data) > 0 {
			return r.volatile()
		}
		return t.digest(r.ctx, r.f, fsbridge.RevisionMax)
	}
	if d, ok := t.revisions.get(versionOf(&r.f.st)); ok {
		return d, true, nil
	}
	d := digestOf(r.data)
	t.revisions.keep(r.f, d)
	return d, true, nil
}

// volatile is the digest of a file that has no size, as in /proc: known only
// when it was read whole, since the next read may see another.
func (r *reader) volatile() (digest, bool, error) {
	if r.first > 0 || !r.eof {
		return digest{}, false, nil
	}
	return digestOf(r.data), true, nil
}

func (r *reader) result(d digest) fsbridge.ReadResult {
	body := r.body()
	res := fsbridge.ReadResult{
		Path:       r.req.Path,
		Size:       r.size,
		Revision:   d.revision,
		TotalLines: d.lines,
		FirstByte:  r.first,
		NextByte:   r.first + int64(len(body)),
		Truncated:  !r.eof && !r.f.ends(r.first+int64(len(body))),
		Binary:     r.binary,
		Mode:       permissions(r.f.st.Mode),
		ModTime:    modTime(r.f.st.Mtim),
		HeadLen:    r.head,
		HeadCut:    r.cutAt.yes,
		InLine:     r.cutAt.inLine,
		PrevByte:   r.cutAt.prev,
	}
	if r.total >= 0 {
		res.TotalLines = r.total
	}
	r.number(&res, body)
	return res
}

// number fills in the numbers of the body's lines.
func (r *reader) number(res *fsbridge.ReadResult, body []byte) {
	if r.req.Bytes || r.binary || len(body) == 0 {
		return
	}
	n, whole := newlines(body), body[len(body)-1] == '\n'
	if !whole {
		n++
	}
	switch {
	case r.req.Tail > 0 && res.TotalLines >= n && !res.Truncated:
		res.FirstLine = res.TotalLines - n + 1
	case r.line > 0:
		res.FirstLine = r.line
	default:
		return
	}
	res.LastLine = res.FirstLine + n - 1
	if res.Truncated && whole {
		res.NextOffset = res.LastLine + 1
	}
	if !res.Truncated && res.TotalLines < 0 {
		res.TotalLines = res.LastLine
	}
}

// take appends at most n bytes at off to b. eof tells that the file ends there.
func (f *file) take(ctx context.Context, b []byte, off, n int64) (_ []byte, eof bool, err error) {
	if known := f.st.Size - off; known > 0 {
		b = slices.Grow(b, int(min(n, known)))
	}
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return b, false, err
		}
		want := int(min(n, max(f.st.Size-off, 4096), block))
		b = slices.Grow(b, want)
		k, err := f.readAt(b[len(b):len(b)+want], off)
		b = b[:len(b)+k]
		off += int64(k)
		n -= int64(k)
		if err == io.EOF || f.ends(off) {
			return b, true, nil
		}
		if err != nil {
			return b, false, err
		}
	}
	return b, false, nil
}
