package fsbridge

import "context"

// Glob returns the nodes below a directory that match a pattern, those that
// changed last first.
func (c *Client) Glob(ctx context.Context, req GlobRequest) (GlobResult, error) {
	var res GlobResult
	data, err := c.call(ctx, OpGlob, &req, nil, &res)
	if err != nil {
		return GlobResult{}, err
	}
	if res.Entries, err = ParseEntries(data, res.Count); err != nil {
		return GlobResult{}, c.broken(OpGlob, err.Error())
	}
	if reason := checkGlob(&req, &res); reason != "" {
		return GlobResult{}, c.broken(OpGlob, reason)
	}
	return res, nil
}

// Grep returns a page of what a pattern matches in the files below a directory,
// or in one file, by path and line.
func (c *Client) Grep(ctx context.Context, req GrepRequest) (GrepResult, error) {
	var res GrepResult
	data, err := c.call(ctx, OpGrep, &req, nil, &res)
	if err != nil {
		return GrepResult{}, err
	}
	if res.Matches, err = ParseMatches(data, res.Count); err != nil {
		return GrepResult{}, c.broken(OpGrep, err.Error())
	}
	if reason := checkGrep(&req, &res); reason != "" {
		return GrepResult{}, c.broken(OpGrep, reason)
	}
	return res, nil
}
