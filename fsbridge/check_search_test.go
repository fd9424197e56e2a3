package fsbridge

import "testing"

func TestCheckGrep(t *testing.T) {
	line := func(n int64) Match { return Match{Path: "a", Line: n} }
	near := func(n int64) Match { return Match{Path: "a", Line: n, Context: true} }
	for name, c := range map[string]struct {
		req GrepRequest
		res GrepResult
		ok  bool
	}{
		"one":           {GrepRequest{}, GrepResult{Returned: 1, Matches: []Match{line(1)}}, true},
		"next":          {GrepRequest{Limit: 1, Offset: 3}, GrepResult{Returned: 1, NextOffset: 4, Matches: []Match{line(1)}}, true},
		"context":       {GrepRequest{Before: 1}, GrepResult{Returned: 1, Matches: []Match{near(1), line(2)}}, true},
		"over lines":    {GrepRequest{Multiline: true}, GrepResult{Returned: 1, Matches: []Match{line(1), line(2)}}, true},
		"count":         {GrepRequest{Mode: GrepCount}, GrepResult{Returned: 1, Matches: []Match{{Path: "a", Count: 2}}}, true},
		"too many":      {GrepRequest{Limit: 1}, GrepResult{Returned: 2, Matches: []Match{line(1), line(2)}}, false},
		"uncounted":     {GrepRequest{}, GrepResult{Returned: 1, Matches: []Match{line(1), line(2)}}, false},
		"wrong next":    {GrepRequest{}, GrepResult{Returned: 1, NextOffset: 2, Matches: []Match{line(1)}}, false},
		"no context":    {GrepRequest{}, GrepResult{Returned: 1, Matches: []Match{near(1), line(2)}}, false},
		"out of order":  {GrepRequest{}, GrepResult{Returned: 2, Matches: []Match{line(2), line(1)}}, false},
		"above":         {GrepRequest{}, GrepResult{Returned: 1, Matches: []Match{{Path: "../a", Line: 1}}}, false},
		"no line":       {GrepRequest{}, GrepResult{Returned: 1, Matches: []Match{line(0)}}, false},
		"text of a sum": {GrepRequest{Mode: GrepFiles}, GrepResult{Returned: 1, Matches: []Match{{Path: "a", Text: []byte("x")}}}, false},
		"below zero":    {GrepRequest{}, GrepResult{Total: -1}, false},
	} {
		c.res.Path = "/"
		if got := checkGrep(&c.req, &c.res); (got == "") != c.ok {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestCheckGlob(t *testing.T) {
	entry := Entry{Name: "a/b", Type: TypeFile}
	for name, c := range map[string]struct {
		req GlobRequest
		res GlobResult
		ok  bool
	}{
		"one":       {GlobRequest{Limit: 1}, GlobResult{Total: 5, Entries: []Entry{entry}}, true},
		"too many":  {GlobRequest{Limit: 1}, GlobResult{Total: 5, Entries: []Entry{entry, entry}}, false},
		"uncounted": {GlobRequest{}, GlobResult{Entries: []Entry{entry}}, false},
		"above":     {GlobRequest{}, GlobResult{Total: 1, Entries: []Entry{{Name: "a/../../b", Type: TypeFile}}}, false},
		"type":      {GlobRequest{}, GlobResult{Total: 1, Entries: []Entry{{Name: "a", Type: "x"}}}, false},
	} {
		c.res.Path = "/"
		for i := range c.res.Entries {
			c.res.Entries[i].ModTime = entry.ModTime.AddDate(2000, 0, 0)
		}
		if got := checkGlob(&c.req, &c.res); (got == "") != c.ok {
			t.Errorf("%s: got %q", name, got)
		}
	}
}
