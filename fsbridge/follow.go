package fsbridge

import (
	"context"
	"fmt"
	"unicode/utf8"
)

// Follow writes input, at most InputMax bytes, to a process, closes its standard
// input or sends a signal as req says, waits, and returns what is new of its
// output: in the heads of Output. When ctx ends first, the process goes on.
func (c *Client) Follow(ctx context.Context, req FollowRequest, input []byte) (FollowResult, Output, error) {
	if len(input) > InputMax {
		return FollowResult{}, Output{}, fmt.Errorf("follow: input of %d bytes: %w: the limit is %d", len(input), ErrTooLarge, InputMax)
	}
	var res FollowResult
	data, err := c.call(ctx, OpFollow, &req, input, &res)
	if err != nil {
		return FollowResult{}, Output{}, err
	}
	if reason := checkFollow(&req, &res, data); reason != "" {
		return FollowResult{}, Output{}, c.broken(OpFollow, reason)
	}
	return res, splitOutput(&res.ExecResult, data), nil
}

// Processes lists the processes whose handles are kept.
func (c *Client) Processes(ctx context.Context) (ProcessesResult, error) {
	var res ProcessesResult
	data, err := c.call(ctx, OpProcesses, nil, nil, &res)
	if err != nil {
		return ProcessesResult{}, err
	}
	if reason := checkProcesses(&res, data); reason != "" {
		return ProcessesResult{}, c.broken(OpProcesses, reason)
	}
	return res, nil
}

// OutputLimit is the most bytes of each stream that the request allows.
func (r *FollowRequest) OutputLimit() int {
	if r.MaxOutput <= 0 || r.MaxOutput > OutputMax/2 {
		return OutputMax / 2
	}
	return max(r.MaxOutput, utf8.UTFMax)
}

func checkFollow(req *FollowRequest, res *FollowResult, data []byte) string {
	if reason := checkExec(&ExecRequest{MaxOutput: req.OutputLimit()}, &res.ExecResult, data); reason != "" {
		return reason
	}
	switch {
	case res.ProcessID != req.ProcessID:
		return "another process"
	case res.StdoutTail != 0 || res.StderrTail != 0:
		return "a tail where there is none"
	case res.Matched && req.WaitFor == "":
		return "a match of nothing"
	}
	for _, s := range []struct {
		from, lost, total int64
		head              int
	}{
		{res.StdoutFrom, res.StdoutLost, res.StdoutBytes, res.StdoutHead},
		{res.StderrFrom, res.StderrLost, res.StderrBytes, res.StderrHead},
	} {
		if s.lost < 0 || s.from < s.lost || s.from > s.total-int64(s.head) {
			return "output's place out of bounds"
		}
	}
	return ""
}

func checkProcesses(res *ProcessesResult, data []byte) string {
	switch {
	case len(data) > 0:
		return "data where there is none"
	case len(res.Processes) > ProcessesMax || res.Total < len(res.Processes):
		return "more processes than there may be"
	}
	for i := range res.Processes {
		p := &res.Processes[i]
		if reason := checkExec(&ExecRequest{}, &p.ExecResult, nil); reason != "" {
			return reason
		}
		if len(p.Command) > CommandMax || !IsText([]byte(p.Command)) {
			return "malformed command"
		}
		if year := p.Started.Year(); year < 1 || year > 9999 { // which no JSON takes
			return "start out of bounds"
		}
	}
	return ""
}
