package fsbridge

import "time"

// Limits of the operations. Each is enforced in the agent, and again where its
// result enters the server.
const (
	// RevisionMax is the largest file, in bytes, for which a revision (a hash
	// of the whole content) is computed by a read or a stat.
	RevisionMax = 16 << 20
	// BodyMax is the most bytes that one Read returns.
	BodyMax = 768 << 10
	// ListMax is the most entries that one List returns.
	ListMax = 2000
	// WalkMax is the most entries that one List visits below its path.
	WalkMax = 200_000
	// HeadBytes is how much of a file's beginning is returned to tell its type.
	HeadBytes = 512
	// SpoolMax is the most bytes that are kept of each stream of a process.
	SpoolMax = 16 << 20
	// OutputMax is the most bytes of output in one ExecResult, both streams.
	OutputMax = 512 << 10
	// SpoolErrorMax is the most bytes of an ExecResult's SpoolError.
	SpoolErrorMax = 200
	// StdinMax is the most bytes of standard input that one Exec takes.
	StdinMax = 4 << 20
	// DepthMax is how deep a List goes.
	DepthMax = 64
	// WaitMax is the longest that one Exec waits for its process.
	WaitMax = 50 * time.Second
	// TimeoutMax is the longest that a process may run.
	TimeoutMax = 24 * time.Hour
)

// Path is a path or a name in the container: any bytes but NUL. In JSON a path
// that is valid UTF-8 is itself; any other is "\u0000" and its bytes in hex.
type Path string

// ReadRequest asks for a part of a regular file. One of three ways: by lines
// (Offset, Limit), the last lines (Tail), or by bytes (Bytes is true).
type ReadRequest struct {
	Path Path `json:"path"`

	Offset int64 `json:"offset,omitempty"` // first line, 1-based; 0 means 1
	Limit  int64 `json:"limit,omitempty"`  // most lines; 0 means no limit but MaxBytes
	Tail   int64 `json:"tail,omitempty"`   // last so many lines; Offset and Bytes unset

	Bytes      bool  `json:"bytes,omitempty"`       // by bytes instead of lines
	ByteOffset int64 `json:"byte_offset,omitempty"` // first byte; also the start for lines when Offset is 0
	ByteLimit  int64 `json:"byte_limit,omitempty"`  // most bytes; 0 means MaxBytes

	MaxBytes int `json:"max_bytes,omitempty"` // most bytes of body; 0 or more than BodyMax means BodyMax

	// Text asks that the body be UTF-8 text without NUL. A body that is not is
	// not returned: Binary is set instead. A slice ends on a character's edge; it
	// is longer than ByteLimit only if its one character is, so that each slice
	// gets on. A MaxBytes below 4 counts as 4.
	Text bool `json:"text,omitempty"`
	// ImageMax: a file that is read from its start as Text, is a PNG, JPEG, GIF
	// or WebP, and has at most so many bytes, is returned whole with Binary set.
	// At most MaxData.
	ImageMax int64 `json:"image_max,omitempty"`
}

// ReadResult tells what was read. The body and the head travel as raw bytes.
type ReadResult struct {
	Path       Path      `json:"path"` // as resolved: absolute and clean
	Size       int64     `json:"size"` // of the file, as fstat says (0 in /proc)
	Revision   string    `json:"revision,omitempty"`
	FirstLine  int64     `json:"first_line,omitempty"` // 0 when lines were not counted
	LastLine   int64     `json:"last_line,omitempty"`
	TotalLines int64     `json:"total_lines"`           // -1 when not known
	FirstByte  int64     `json:"first_byte"`            // where the body starts in the file
	NextByte   int64     `json:"next_byte"`             // where the next slice starts
	NextOffset int64     `json:"next_offset,omitempty"` // next line to ask for when Truncated at a line's end
	Truncated  bool      `json:"truncated,omitempty"`   // the file goes on after the body
	Binary     bool      `json:"binary,omitempty"`
	Mode       uint32    `json:"mode"` // permission bits, as in Entry
	ModTime    time.Time `json:"mtime"`
	HeadLen    int       `json:"head_len,omitempty"` // bytes of head before the body in the data

	// HeadCut: of a Tail, the body begins later than was asked for, since MaxBytes
	// is full: at a line's start or, InLine, inside its one line. The lines before
	// it are those that end at FirstByte; a slice of at most MaxBytes of them that
	// were asked for begins at PrevByte: at a line's start or, if it would be
	// empty, at a character.
	HeadCut  bool  `json:"head_cut,omitempty"`
	InLine   bool  `json:"in_line,omitempty"`
	PrevByte int64 `json:"prev_byte,omitempty"`
}

// FetchRequest asks for a part of a regular file as a stream.
type FetchRequest struct {
	Path   Path  `json:"path"`
	Offset int64 `json:"offset,omitempty"` // first byte
	Length int64 `json:"length,omitempty"` // most bytes; below 0 means to the end
}

// FetchResult ends the stream.
type FetchResult struct {
	Bytes int64 `json:"bytes"` // how many were sent
}

// WriteRequest replaces (or makes) a regular file, or appends to it. The data
// is the new content. It is atomic: a reader sees the old file or the new one.
type WriteRequest struct {
	Path       Path    `json:"path"`
	Append     bool    `json:"append,omitempty"`
	IfRevision *string `json:"if_revision,omitempty"` // "" = must not exist; else must match
	Mode       *uint32 `json:"mode,omitempty"`        // permission bits incl. 07000; default: kept, or 0644
	// Stream says that the content follows as a stream instead of the frame's
	// data. The Client sets it.
	Stream bool `json:"stream,omitempty"`
}

// Streamed reports whether a stream follows the request.
func (r *WriteRequest) Streamed() bool { return r.Stream }

// WriteResult tells what is there now.
type WriteResult struct {
	Path     Path   `json:"path"` // as resolved: absolute and clean, links as given
	Size     int64  `json:"size"`
	Revision string `json:"revision,omitempty"` // "" for an appended file over RevisionMax
	Created  bool   `json:"created"`
}

// ListRequest asks for a directory's entries, sorted by name, depth first.
type ListRequest struct {
	Path   Path `json:"path"`
	Depth  int  `json:"depth,omitempty"` // 0 and 1: the directory itself; at most DepthMax
	Limit  int  `json:"limit,omitempty"` // 0 or over ListMax means ListMax
	Offset int  `json:"offset,omitempty"`
	Hidden bool `json:"hidden,omitempty"` // with names that begin with a dot
}

// The types of nodes.
const (
	TypeFile        = "file"
	TypeDirectory   = "directory"
	TypeSymlink     = "symlink"
	TypeFIFO        = "fifo"
	TypeSocket      = "socket"
	TypeCharDevice  = "char_device"
	TypeBlockDevice = "block_device"
)

// Entry is one file, directory, link or other node.
type Entry struct {
	Name     Path      `json:"name"` // relative to the listed directory
	Type     string    `json:"type"` // one of the Type constants
	Mode     uint32    `json:"mode"` // permission bits and 07000 (setuid, setgid, sticky), as chmod takes
	Size     int64     `json:"size"`
	ModTime  time.Time `json:"mtime"`
	Target   Path      `json:"target,omitempty"`   // of a symlink
	Children int       `json:"children,omitempty"` // of a directory whose content was left out
	Omitted  bool      `json:"omitted,omitempty"`  // a directory's content was left out: too big, or not permitted
}

// ListResult is a page of a listing.
type ListResult struct {
	Path       Path    `json:"path"`
	Count      int     `json:"count"` // of Entries, which cross the wire as data
	Entries    []Entry `json:"-"`
	Total      int     `json:"total"`                  // entries in the whole listing
	TotalIsMin bool    `json:"total_is_min,omitempty"` // there are more: WalkMax was reached
	NextOffset int     `json:"next_offset,omitempty"`  // 0 when this page is the last
	Denied     int     `json:"denied,omitempty"`       // directories that could not be read
}

// StatRequest asks for the facts of one node, the link itself if it is one.
type StatRequest struct {
	Path Path `json:"path"`
	Head bool `json:"head,omitempty"` // return the first HeadBytes of a regular file as data
}

// StatResult are the facts.
type StatResult struct {
	Path     Path      `json:"path"`
	Type     string    `json:"type"`
	Size     int64     `json:"size"`
	Mode     uint32    `json:"mode"`
	UID      uint32    `json:"uid"`
	GID      uint32    `json:"gid"`
	ModTime  time.Time `json:"mtime"`
	Target   Path      `json:"target,omitempty"`
	Revision string    `json:"revision,omitempty"` // regular files up to RevisionMax
}
