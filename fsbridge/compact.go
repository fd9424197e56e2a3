package fsbridge

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// The parameters and results of the small file operations have a compact form
// beside the JSON one, which takes about 10 µs to decode. It is compactMark and
// then the fields in the order in which code names them:
//
//	integers  varint (binary.AppendVarint)
//	bool      byte, 0 or 1
//	text      uvarint length, the bytes; so too paths
//	time      varint seconds, varint nanoseconds
//	pointer   byte, 0 for nil, else 1 and the value
//
// Either end takes both forms.

// compactMark begins the compact form, and no JSON.
const compactMark = 0

// compact is implemented by what has a compact form. The same code writes and
// reads it.
type compact interface{ code(c *coder) }

var errCompact = errors.New("the compact form is cut or malformed")

// Encode writes parameters or a result as they cross the wire.
func Encode(v any) ([]byte, error) {
	x, ok := v.(compact)
	if !ok {
		return json.Marshal(v)
	}
	c := coder{b: append(make([]byte, 0, 256), compactMark), writing: true}
	x.code(&c)
	return c.b, c.err
}

// Decode reads what Encode wrote into the struct that v points to.
func Decode(b []byte, v any) error {
	x, ok := v.(compact)
	if !ok || len(b) == 0 || b[0] != compactMark {
		return json.Unmarshal(b, v)
	}
	c := coder{b: b[1:]}
	x.code(&c)
	if len(c.b) > 0 {
		c.fail()
	}
	return c.err
}

// coder appends fields to b or, if not writing, takes them off its front. After
// an error b is empty, and fields are left as they are.
type coder struct {
	b       []byte
	writing bool
	err     error
}

func (c *coder) fail() { c.b, c.err = nil, errCompact }

func (c *coder) int64(v *int64) {
	if c.writing {
		c.b = binary.AppendVarint(c.b, *v)
		return
	}
	x, n := binary.Varint(c.b)
	if n <= 0 {
		c.fail()
		return
	}
	*v, c.b = x, c.b[n:]
}

func (c *coder) int(v *int) {
	x := int64(*v)
	c.int64(&x)
	*v = int(x)
}

func (c *coder) uint32(v *uint32) {
	x := int64(*v)
	if c.int64(&x); x < 0 || x > 1<<32-1 {
		c.fail()
		return
	}
	*v = uint32(x)
}

func (c *coder) bool(v *bool) {
	switch {
	case c.writing && *v:
		c.b = append(c.b, 1)
	case c.writing:
		c.b = append(c.b, 0)
	case len(c.b) == 0 || c.b[0] > 1:
		c.fail()
	default:
		*v, c.b = c.b[0] == 1, c.b[1:]
	}
}

func (c *coder) text(v *string) {
	if c.writing {
		c.b = appendText(c.b, *v)
		return
	}
	size, n := binary.Uvarint(c.b)
	if n <= 0 || size > uint64(len(c.b)-n) {
		c.fail()
		return
	}
	*v, c.b = string(c.b[n:n+int(size)]), c.b[n+int(size):]
}

func (c *coder) path(v *Path) {
	s := string(*v)
	if c.text(&s); strings.IndexByte(s, 0) >= 0 {
		c.fail()
		return
	}
	*v = Path(s)
}

// time has the bounds of JSON's.
func (c *coder) time(v *time.Time) {
	seconds, nanos := v.Unix(), v.Nanosecond()
	c.int64(&seconds)
	c.int(&nanos)
	t := time.Unix(seconds, int64(nanos)).UTC()
	if nanos < 0 || nanos > 999_999_999 || t.Year() < 0 || t.Year() > 9999 {
		c.fail()
		return
	}
	if !c.writing {
		*v = t
	}
}

// optional codes what a pointer points to, if anything.
func optional[T any](c *coder, p **T, code func(*T)) {
	there := *p != nil
	if c.bool(&there); !there {
		return
	}
	if !c.writing {
		*p = new(T)
	}
	code(*p)
}

func (r *ReadRequest) code(c *coder) {
	c.path(&r.Path)
	c.int64(&r.Offset)
	c.int64(&r.Limit)
	c.int64(&r.Tail)
	c.bool(&r.Bytes)
	c.int64(&r.ByteOffset)
	c.int64(&r.ByteLimit)
	c.int(&r.MaxBytes)
	c.bool(&r.Text)
	c.int64(&r.ImageMax)
}

func (r *ReadResult) code(c *coder) {
	c.path(&r.Path)
	c.int64(&r.Size)
	c.text(&r.Revision)
	c.int64(&r.FirstLine)
	c.int64(&r.LastLine)
	c.int64(&r.TotalLines)
	c.int64(&r.FirstByte)
	c.int64(&r.NextByte)
	c.int64(&r.NextOffset)
	c.bool(&r.Truncated)
	c.bool(&r.Binary)
	c.uint32(&r.Mode)
	c.time(&r.ModTime)
	c.int(&r.HeadLen)
	c.bool(&r.HeadCut)
	c.bool(&r.InLine)
	c.int64(&r.PrevByte)
}

func (r *WriteRequest) code(c *coder) {
	c.path(&r.Path)
	c.bool(&r.Append)
	optional(c, &r.IfRevision, c.text)
	optional(c, &r.Mode, c.uint32)
	c.bool(&r.Stream)
}

func (r *WriteResult) code(c *coder) {
	c.path(&r.Path)
	c.int64(&r.Size)
	c.text(&r.Revision)
	c.bool(&r.Created)
}

func (r *ListRequest) code(c *coder) {
	c.path(&r.Path)
	c.int(&r.Depth)
	c.int(&r.Limit)
	c.int(&r.Offset)
	c.bool(&r.Hidden)
}

func (r *ListResult) code(c *coder) {
	c.path(&r.Path)
	c.int(&r.Count)
	c.int(&r.Total)
	c.bool(&r.TotalIsMin)
	c.int(&r.NextOffset)
	c.int(&r.Denied)
}

func (r *StatRequest) code(c *coder) {
	c.path(&r.Path)
	c.bool(&r.Head)
}

func (r *StatResult) code(c *coder) {
	c.path(&r.Path)
	c.text(&r.Type)
	c.int64(&r.Size)
	c.uint32(&r.Mode)
	c.uint32(&r.UID)
	c.uint32(&r.GID)
	c.time(&r.ModTime)
	c.path(&r.Target)
	c.text(&r.Revision)
}
