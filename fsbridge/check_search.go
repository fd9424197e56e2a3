package fsbridge

import "fmt"

func checkGlob(req *GlobRequest, res *GlobResult) string {
	limit := PageLimit(req.Limit, GlobMax)
	switch {
	case len(res.Entries) > limit:
		return "more entries than asked for"
	case res.Total < len(res.Entries) || res.Denied < 0:
		return "total out of bounds"
	}
	for i := range res.Entries {
		if reason := checkEntry(&res.Entries[i]); reason != "" {
			return reason
		}
	}
	return checkNode(res.Path, 0, "")
}

func checkGrep(req *GrepRequest, res *GrepResult) string {
	next := req.Offset + res.Returned
	switch {
	case res.Returned < 0 || res.Returned > PageLimit(req.Limit, MatchesMax):
		return "more matches than asked for"
	case res.Files < 0 || res.Searched < 0 || res.Binary < 0 || res.Denied < 0 || res.Total < 0:
		return "counts out of bounds"
	case res.NextOffset != 0 && (res.NextOffset != next || res.Returned == 0):
		return "next offset out of order"
	case (res.Returned > 0) != (len(res.Matches) > 0):
		return "matches that are not counted"
	}
	counted, reason := checkMatches(req, res.Matches)
	switch {
	case reason != "":
		return reason
	case !req.Multiline && counted != res.Returned, counted < res.Returned:
		return fmt.Sprintf("%d matches, %d were counted", counted, res.Returned)
	}
	return checkNode(res.Path, 0, "")
}

// checkMatches counts those that are no context.
func checkMatches(req *GrepRequest, matches []Match) (counted int, reason string) {
	lines := req.Mode == "" || req.Mode == GrepContent
	var last *Match
	for i := range matches {
		m := &matches[i]
		switch {
		case !isBelow(string(m.Path)):
			return 0, fmt.Sprintf("match's path %.80q", m.Path)
		case lines != (m.Line > 0), lines && m.Count != 0, !lines && (m.Context || m.Cut || len(m.Text) > 0):
			return 0, "a match that does not fit the mode"
		case m.Context && req.Before == 0 && req.After == 0:
			return 0, "lines around matches that were not asked for"
		case last != nil && last.Path == m.Path && last.Line > m.Line: // a very long line comes in parts
			return 0, "matches out of order"
		}
		if last = m; !m.Context {
			counted++
		}
	}
	return counted, ""
}

// PageLimit is what a limit of a request means: 0, below, or over most is most.
func PageLimit(limit, most int) int {
	if limit <= 0 || limit > most {
		return most
	}
	return limit
}
