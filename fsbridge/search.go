package fsbridge

// Limits of searches.
const (
	// PatternMax is the most bytes of a pattern.
	PatternMax = 16 << 10
	// GlobMax is the most entries that one Glob returns.
	GlobMax = 2000
	// MatchesMax is the most matches, or files, that one Grep returns.
	MatchesMax = 2000
	// ContextMax is the most lines before, and again after, a match.
	ContextMax = 50
	// LineMax is the most bytes that are returned of one matching line.
	LineMax = 2000
	// MatchLines is the most lines that are returned of one match over lines.
	MatchLines = 100
	// SearchMax is the most nodes that one Glob or Grep visits.
	SearchMax = 2_000_000
)

// GlobRequest asks for the nodes below Path whose path from there matches a
// pattern, those that changed last first.
//
// In a pattern * and ? and [a-z] match within a name, ** as a whole name matches
// any number of directories, {a,b} is either. A pattern without a slash is of
// names at any depth (*.go as **/*.go); one with a slash is of paths from Path
// (src/*.go), or absolute and below Path. With a slash at its end it matches
// directories only; src/** is what is below src, not src itself.
type GlobRequest struct {
	Path    Path   `json:"path"`
	Pattern string `json:"pattern"`
	Limit   int    `json:"limit,omitempty"`
	All     bool   `json:"all,omitempty"` // also .git and what .gitignore ignores
}

// GlobResult has the first of them: as many as Limit allows and fit MaxData. The
// Entries cross the wire as data.
type GlobResult struct {
	Path       Path    `json:"path"`
	Count      int     `json:"count"` // of Entries
	Entries    []Entry `json:"-"`     // names are paths from Path
	Total      int     `json:"total"`
	TotalIsMin bool    `json:"total_is_min,omitempty"` // SearchMax was reached
	Denied     int     `json:"denied,omitempty"`       // directories that could not be read
}

// The modes of a GrepRequest.
const (
	GrepContent = "content" // matching lines, with lines around them
	GrepFiles   = "files"   // the files that have a match
	GrepCount   = "count"   // the files that have a match, and how many
)

// GrepRequest searches the regular files below Path, or that one file.
//
// A line is searched without its end, \n or \r\n, and without a byte order mark.
// With Multiline ^ and $ are still a line's, and after a match the next one is
// looked for on the line after it. A file with a NUL byte is binary, UTF-16 too.
type GrepRequest struct {
	Path       Path   `json:"path"`
	Pattern    string `json:"pattern"`        // RE2, as package regexp has it
	Glob       string `json:"glob,omitempty"` // only files whose name or path from Path matches; a leading ! turns it round
	Mode       string `json:"mode,omitempty"` // "" means GrepContent
	IgnoreCase bool   `json:"ignore_case,omitempty"`
	Fixed      bool   `json:"fixed,omitempty"`     // Pattern is the text itself
	Multiline  bool   `json:"multiline,omitempty"` // a match may go over lines, . matches their ends
	Before     int    `json:"before,omitempty"`    // lines shown before a match
	After      int    `json:"after,omitempty"`
	Limit      int    `json:"limit,omitempty"`  // most matches, or files; 0 or over MatchesMax means that
	Offset     int    `json:"offset,omitempty"` // matches, or files, that are left out first
	// MaxBytes is the most bytes that the page takes on the wire, but for its first
	// match, which is there in any case. 0 means as much as the wire takes.
	MaxBytes int  `json:"max_bytes,omitempty"`
	All      bool `json:"all,omitempty"` // also .git, binaries, and what .gitignore ignores
}

// GrepResult has a page of what was found, by path and line. The Matches cross
// the wire as data.
type GrepResult struct {
	Path       Path    `json:"path"`
	IsFile     bool    `json:"is_file,omitempty"` // Path is the one file that was searched
	Count      int     `json:"count"`             // of Matches
	Matches    []Match `json:"-"`
	Returned   int     `json:"returned"`               // matches, or files, on this page
	Total      int64   `json:"total"`                  // matching lines in all (Multiline: matches; GrepFiles: files)
	Files      int     `json:"files"`                  // with a match
	Searched   int     `json:"searched"`               // files that were searched
	TotalIsMin bool    `json:"total_is_min,omitempty"` // SearchMax was reached
	NextOffset int     `json:"next_offset,omitempty"`  // 0 when this page is the last
	Binary     int     `json:"binary,omitempty"`       // files left out as they are no text; one that is Path itself is searched
	Denied     int     `json:"denied,omitempty"`       // files and directories that could not be read
}

// Match is one line of a GrepResult, or with GrepFiles and GrepCount one file. A
// match over lines is one for each of them, at most MatchLines.
type Match struct {
	Path    Path   // from the request's Path; that one file's own name if Path is a file
	Line    int64  // its number, 1-based; 0 without lines
	Context bool   // it is shown for one near it
	Cut     bool   // Text is a part of the line, around the match
	Count   int64  // with GrepCount: matches in the file
	Text    []byte // without the line's end; as it is, which need not be UTF-8
}
