package tools

import (
	"context"
	"fmt"
	"path"
	"strings"

	"moorage/fsbridge"
)

// Bounds of a search.
const (
	globDefault = 200
	grepDefault = 200
	// searchBytes is how many bytes of a page the agent may fill; names may have
	// to be quoted, which makes them longer.
	searchBytes = ResultChars * 3 / 4
	searchChars = ResultChars - 1000 // of the text; the rest is for notices
)

func (s *Server) addSearching() {
	add(s, definition{
		name:        "fs_glob",
		description: "Find files and directories by name, newest first: *.go at any depth, src/**/*.{ts,tsx} from path. Leaves out .git and what .gitignore ignores.",
		hints:       hints{readOnly: true, idempotent: true},
	}, s.fsGlob)
	add(s, definition{
		name:        "fs_grep",
		description: "Search file contents by regular expression (RE2), far faster than grep by exec. Leaves out .git, binary files and what .gitignore ignores.",
		hints:       hints{readOnly: true, idempotent: true},
	}, s.fsGrep)
}

type globInput struct {
	Pattern     string `json:"pattern" doc:"Pattern with ** * ? [] {}." min:"1"`
	Path        string `json:"path,omitempty" doc:"Directory to search (default /data)."`
	Limit       int64  `json:"limit,omitempty" doc:"Most paths." min:"1" max:"2000" default:"200"`
	All         bool   `json:"all,omitempty" doc:"Also .git and ignored files."`
	ContainerID string `json:"container_id,omitempty" doc:"Container, else the current one."`
}

type globFacts struct {
	where
	Path       string `json:"path"`
	Returned   int    `json:"returned"`
	Total      int    `json:"total"`
	TotalIsMin bool   `json:"total_is_min,omitempty"`
	Truncated  bool   `json:"truncated"`
	Unreadable int    `json:"unreadable,omitempty"`
}

func (s *Server) fsGlob(ctx context.Context, c *call, in globInput) (r reply[globFacts], err error) {
	base, err := parsePath("path", orHere(in.Path))
	if err != nil {
		return r, err
	}
	req := fsbridge.GlobRequest{Path: base, Pattern: in.Pattern, Limit: int(in.Limit), All: in.All}
	if req.Limit == 0 {
		req.Limit = globDefault
	}
	res, at, err := reading(ctx, c, in.ContainerID, func(a *fsbridge.Client) (fsbridge.GlobResult, error) {
		return a.Glob(ctx, req)
	})
	if err != nil {
		return r, err
	}
	text, n := pathLines(res.Path, res.Entries)
	r.facts = globFacts{
		where: at, Path: show(res.Path), Returned: n, Total: res.Total, TotalIsMin: res.TotalIsMin,
		Truncated: n < res.Total || res.TotalIsMin, Unreadable: res.Denied,
	}
	r.say(text)
	r.note("%s", r.facts.summary(in.All))
	return r, nil
}

// orHere is the directory that is meant when none is named.
func orHere(path string) string {
	if path == "" {
		return "."
	}
	return path
}

// pathLines writes the paths of entries below base, as many as fit one result.
func pathLines(base fsbridge.Path, entries []fsbridge.Entry) (text string, n int) {
	var b strings.Builder
	for i, e := range entries {
		line := show(below(base, e.Name))
		if e.Type == fsbridge.TypeDirectory {
			line += "/"
		}
		if i > 0 && b.Len()+len(line) > searchChars {
			return b.String(), i
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(line)
	}
	return b.String(), len(entries)
}

func below(base, name fsbridge.Path) fsbridge.Path {
	return fsbridge.Path(path.Join(string(base), string(name)))
}

func (f *globFacts) summary(all bool) string {
	text := fmt.Sprintf("%d of %s", f.Returned, count(int64(f.Total), "path"))
	if f.TotalIsMin {
		text = fmt.Sprintf("%d of more than %d paths", f.Returned, f.Total)
	}
	switch {
	case f.Total == 0:
		text = "no path matches below " + f.Path
		if !all {
			text += "; .git and ignored files were left out, all: true searches them"
		}
	case f.Returned < f.Total:
		text += "; a narrower pattern or path, or a higher limit, shows others"
	}
	return text + unreadable(f.Unreadable, "directory")
}

// unreadable says how many things a search was not permitted to see.
func unreadable(n int, what string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %s could not be read", count(int64(n), what))
}

type grepInput struct {
	Pattern     string `json:"pattern" doc:"Regular expression." min:"1"`
	Path        string `json:"path,omitempty" doc:"Directory or file (default /data)."`
	Glob        string `json:"glob,omitempty" doc:"Only files like *.py, or not like !*_test.go."`
	Mode        string `json:"mode,omitempty" doc:"Lines, names of files, or counts by file." enum:"content,files,count"`
	IgnoreCase  bool   `json:"ignore_case,omitempty" doc:"Any case."`
	Fixed       bool   `json:"fixed,omitempty" doc:"Pattern is plain text."`
	Multiline   bool   `json:"multiline,omitempty" doc:"Matches may go over lines."`
	Before      int64  `json:"before,omitempty" doc:"Lines to show before a match." min:"0" max:"50"`
	After       int64  `json:"after,omitempty" doc:"Lines to show after it." min:"0" max:"50"`
	Limit       int64  `json:"limit,omitempty" doc:"Most matches, or files." min:"1" max:"2000" default:"200"`
	Offset      int64  `json:"offset,omitempty" doc:"Matches or files to skip." min:"0"`
	All         bool   `json:"all,omitempty" doc:"Also .git, binary and ignored files."`
	ContainerID string `json:"container_id,omitempty" doc:"Container, else the current one."`
}

func (in *grepInput) request() (fsbridge.GrepRequest, error) {
	base, err := parsePath("path", orHere(in.Path))
	req := fsbridge.GrepRequest{
		Path: base, Pattern: in.Pattern, Glob: in.Glob, Mode: in.Mode, IgnoreCase: in.IgnoreCase, Fixed: in.Fixed,
		Multiline: in.Multiline, Before: int(in.Before), After: int(in.After),
		Limit: int(in.Limit), Offset: int(in.Offset), All: in.All, MaxBytes: searchBytes,
	}
	if req.Limit == 0 {
		req.Limit = grepDefault
	}
	if req.Mode == "" {
		req.Mode = fsbridge.GrepContent
	}
	return req, err
}

type grepFacts struct {
	where
	Path       string `json:"path"`
	Matches    int64  `json:"matches"`
	Files      int    `json:"files"`
	Searched   int    `json:"files_searched"`
	Returned   int    `json:"returned"`
	TotalIsMin bool   `json:"total_is_min,omitempty"`
	Truncated  bool   `json:"truncated"`
	NextOffset int    `json:"next_offset,omitempty"`
	Binary     int    `json:"binary_skipped,omitempty"`
	Unreadable int    `json:"unreadable,omitempty"`
}

func (s *Server) fsGrep(ctx context.Context, c *call, in grepInput) (r reply[grepFacts], err error) {
	req, err := in.request()
	if err != nil {
		return r, err
	}
	res, text, at, err := c.grep(ctx, in.ContainerID, req)
	if err != nil {
		return r, err
	}
	r.facts = grepFacts{
		where: at, Path: show(res.Path), Matches: res.Total, Files: res.Files, Searched: res.Searched, Returned: res.Returned,
		TotalIsMin: res.TotalIsMin, Truncated: res.NextOffset > 0 || res.TotalIsMin, NextOffset: res.NextOffset,
		Binary: res.Binary, Unreadable: res.Denied,
	}
	if whole := len(text); whole > searchChars {
		text = text[:strings.LastIndexByte(text[:searchChars], '\n')+1]
		r.note("of the match and the lines around it %s are left out; ask for fewer", count(int64(whole-len(text)), "byte"))
	}
	r.say(text)
	r.note("%s", r.facts.summary(&req))
	return r, nil
}

// grep searches, and makes the page smaller until its text fits one result or has
// one match.
func (c *call) grep(ctx context.Context, id string, req fsbridge.GrepRequest) (res fsbridge.GrepResult, text string, at where, err error) {
	for ; ; req.MaxBytes /= 4 { // what is escaped takes at most ten times as much
		res, at, err = reading(ctx, c, id, func(a *fsbridge.Client) (fsbridge.GrepResult, error) {
			return a.Grep(ctx, req)
		})
		if err != nil {
			return res, "", at, err
		}
		text = matchLines(res, req.Mode)
		if len(text) <= searchChars || res.Returned <= 1 || req.MaxBytes < 4 {
			return res, text, at, nil
		}
	}
}

// matchLines writes what was found: with lines a heading a file, else a line a
// file.
func matchLines(res fsbridge.GrepResult, mode string) string {
	var b strings.Builder
	last, line := fsbridge.Path(""), int64(0)
	for i, m := range res.Matches {
		name := show(res.Path)
		if !res.IsFile {
			name = show(below(res.Path, m.Path))
		}
		switch {
		case mode == fsbridge.GrepFiles:
			fmt.Fprintf(&b, "%s\n", name)
			continue
		case mode == fsbridge.GrepCount:
			fmt.Fprintf(&b, "%s: %d\n", name, m.Count)
			continue
		case i > 0 && m.Path != last:
			fmt.Fprintf(&b, "\n%s\n", name)
		case i == 0:
			fmt.Fprintf(&b, "%s\n", name)
		case m.Line > line+1:
			b.WriteString("--\n")
		}
		last, line = m.Path, m.Line
		b.WriteString(matchLine(m))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// matchLine is "12:text" for a match and "12-text" for a line near one. A long
// line is cut around its match, and says so.
func matchLine(m fsbridge.Match) string {
	mark := ":"
	if m.Context {
		mark = "-"
	}
	text := cleanLine(string(m.Text))
	if m.Cut {
		text += " [part of a longer line]"
	}
	return fmt.Sprintf("%d%s%s\n", m.Line, mark, text)
}

func (f *grepFacts) summary(req *fsbridge.GrepRequest) string {
	found := fmt.Sprintf("%s in %s", count(f.Matches, "match"), count(int64(f.Files), "file"))
	if f.TotalIsMin {
		found = "more than " + found
	}
	unit, total := "match", f.Matches
	if req.Mode != fsbridge.GrepContent {
		unit, total = "file", int64(f.Files)
	}
	switch {
	case f.Matches == 0:
		found = fmt.Sprintf("no match in %s below %s", count(int64(f.Searched), "file"), f.Path)
	case f.Returned == 0 && int64(req.Offset) < total:
		found += ", but they could not be read again to show them: the files changed meanwhile, or their paths are too long"
	case f.Returned == 0:
		found = fmt.Sprintf("nothing from offset %d on; %s", req.Offset, found)
	case int64(f.Returned) < total:
		found = fmt.Sprintf("%s %d to %d of %d; %s", unit, req.Offset+1, req.Offset+f.Returned, total, found)
	}
	if f.NextOffset > 0 {
		found += fmt.Sprintf("; the rest: fs_grep with offset %d", f.NextOffset)
	}
	if f.Binary > 0 {
		found += fmt.Sprintf("; %s left out, all: true searches them", count(int64(f.Binary), "binary file"))
	}
	return found + unreadable(f.Unreadable, "path")
}
