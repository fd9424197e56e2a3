package tools

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"moorage/fsbridge"
)

type listInput struct {
	Path        string `json:"path,omitempty" doc:"Directory, absolute or from /data."`
	Depth       int64  `json:"depth,omitempty" doc:"Levels to list." min:"1" max:"64" default:"1"`
	Limit       int64  `json:"limit,omitempty" doc:"Most entries." min:"1" max:"2000" default:"200"`
	Offset      int64  `json:"offset,omitempty" doc:"Entries to skip." min:"0"`
	Hidden      *bool  `json:"hidden,omitempty" doc:"With dot files." default:"true"`
	ContainerID string `json:"container_id,omitempty" doc:"Container, else the current one."`
}

type listFacts struct {
	where
	Path       string `json:"path"`
	Returned   int    `json:"returned"`
	Total      int    `json:"total"`
	TotalIsMin bool   `json:"total_is_min,omitempty"`
	Truncated  bool   `json:"truncated"`
	NextOffset int    `json:"next_offset,omitempty"`
	Unreadable int    `json:"unreadable,omitempty"`
}

const listDefault = 200

func (s *Server) fsList(ctx context.Context, c *call, in listInput) (r reply[listFacts], err error) {
	path, err := parsePath("path", orHere(in.Path))
	if err != nil {
		return r, err
	}
	req := fsbridge.ListRequest{
		Path: path, Depth: int(in.Depth), Limit: int(in.Limit), Offset: int(in.Offset),
		Hidden: in.Hidden == nil || *in.Hidden,
	}
	if req.Limit == 0 {
		req.Limit = listDefault
	}
	res, at, err := reading(ctx, c, in.ContainerID, func(a *fsbridge.Client) (fsbridge.ListResult, error) {
		return a.List(ctx, req)
	})
	if err != nil {
		return r, err
	}
	text, n := listing(res.Entries)
	r.facts = listFacts{
		where: at, Path: show(res.Path), Returned: n, Total: res.Total, TotalIsMin: res.TotalIsMin,
		NextOffset: res.NextOffset, Unreadable: res.Denied,
	}
	if n < len(res.Entries) {
		r.facts.NextOffset = req.Offset + n
	}
	r.facts.Truncated = r.facts.NextOffset > 0
	r.say(text)
	r.note("%s", r.facts.summary(req.Offset))
	return r, nil
}

// summary says how much of the listing was shown, and how to see the rest.
func (f *listFacts) summary(offset int) string {
	total := count(int64(f.Total), "entry")
	if f.TotalIsMin {
		total = "more than " + total
	}
	text := total + " in " + f.Path
	if f.Returned < f.Total || f.TotalIsMin {
		text = fmt.Sprintf("entries %d to %d of %s", offset+1, offset+f.Returned, text)
	}
	if f.Returned == 0 && f.Total > 0 {
		text = fmt.Sprintf("no entries from offset %d on; %s in %s", offset, total, f.Path)
	}
	if f.NextOffset > 0 {
		text += fmt.Sprintf("; the rest: fs_list with offset %d", f.NextOffset)
	}
	if f.Unreadable > 0 {
		text += fmt.Sprintf("; %s could not be read", count(int64(f.Unreadable), "directory"))
	}
	return text
}

// listing writes entries a line each, as many of them as fit one result.
func listing(entries []fsbridge.Entry) (text string, n int) {
	width := 1
	for i := range entries {
		width = max(width, len(strconv.FormatInt(entries[i].Size, 10)))
	}
	b := make([]byte, 0, 64*len(entries))
	for i := range entries {
		before := len(b)
		if i > 0 {
			b = append(b, '\n')
		}
		b = appendEntry(b, &entries[i], width)
		if i > 0 && len(b)-1 > ResultChars-1000 {
			return string(b[:before]), i
		}
	}
	return string(b), len(entries)
}

// appendEntry appends an entry's line: mode, size in width columns, time, name.
func appendEntry(b []byte, e *fsbridge.Entry, width int) []byte {
	b = append(appendMode(b, e.Type, e.Mode), ' ')
	var digits [20]byte
	size := strconv.AppendInt(digits[:0], e.Size, 10)
	for range width - len(size) {
		b = append(b, ' ')
	}
	b = append(append(b, size...), ' ')
	b = append(e.ModTime.UTC().AppendFormat(b, time.RFC3339), ' ')
	return append(b, entryName(e)...)
}

func entryName(e *fsbridge.Entry) string {
	name := show(e.Name)
	switch {
	case e.Type == fsbridge.TypeSymlink:
		name += " -> " + show(e.Target)
	case e.Omitted && e.Children > 0:
		name += fmt.Sprintf("  (%s below, not listed)", count(int64(e.Children), "entry"))
	case e.Omitted:
		name += "  (not readable)"
	}
	return name
}

// appendMode appends a mode as ls writes it.
func appendMode(b []byte, kind string, mode uint32) []byte {
	from := len(b)
	b = append(b, "-rwxrwxrwx"...)
	m := b[from:]
	m[0] = typeLetter(kind)
	for i := range 9 {
		if mode&(1<<(8-i)) == 0 {
			m[i+1] = '-'
		}
	}
	for i, special := range [3]struct {
		bit  uint32
		char byte
	}{{0o4000, 's'}, {0o2000, 's'}, {0o1000, 't'}} {
		if mode&special.bit == 0 {
			continue
		}
		at := 3 * (i + 1)
		if m[at] == '-' {
			special.char -= 'a' - 'A'
		}
		m[at] = special.char
	}
	return b
}

func typeLetter(kind string) byte {
	switch kind {
	case fsbridge.TypeDirectory:
		return 'd'
	case fsbridge.TypeSymlink:
		return 'l'
	case fsbridge.TypeFIFO:
		return 'p'
	case fsbridge.TypeSocket:
		return 's'
	case fsbridge.TypeCharDevice:
		return 'c'
	case fsbridge.TypeBlockDevice:
		return 'b'
	}
	return '-'
}
