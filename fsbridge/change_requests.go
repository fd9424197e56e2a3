package fsbridge

import (
	"context"
	"fmt"
	"unicode/utf8"
)

// Edit replaces passages of a file. diff is the change as a unified diff. An
// error about one of the edits is an *Error with ErrNoMatch or ErrAmbiguous.
func (c *Client) Edit(ctx context.Context, req EditRequest) (res EditResult, diff []byte, err error) {
	for i, e := range req.Edits {
		if !utf8.ValidString(e.Old) || !utf8.ValidString(e.New) { // which JSON would change
			return EditResult{}, nil, fmt.Errorf("edit: edit %d: %w: not UTF-8", i+1, ErrInvalid)
		}
	}
	diff, err = c.call(ctx, OpEdit, &req, nil, &res)
	if err != nil {
		return EditResult{}, nil, err
	}
	if reason := checkEdit(&req, &res, diff); reason != "" {
		return EditResult{}, nil, c.broken(OpEdit, reason)
	}
	return res, diff, nil
}

// Patch changes files by the hunks of a diff, all or none. An error about a hunk
// is an *Error with ErrNoMatch or ErrAmbiguous.
func (c *Client) Patch(ctx context.Context, req PatchRequest) (PatchResult, error) {
	for _, f := range req.Files {
		for i, h := range f.Hunks {
			for _, line := range h.Lines {
				if !utf8.ValidString(line) {
					return PatchResult{}, fmt.Errorf("patch %q: hunk %d: %w: not UTF-8", f.Old+f.New, i+1, ErrInvalid)
				}
			}
		}
	}
	return change(ctx, c, OpPatch, &req, func(res *PatchResult) string { return checkPatch(&req, res) })
}

// Mkdir makes a directory and those above it.
func (c *Client) Mkdir(ctx context.Context, req MkdirRequest) (MkdirResult, error) {
	return change(ctx, c, OpMkdir, &req, func(res *MkdirResult) string { return checkNode(res.Path, 0, "") })
}

// Move renames a node, to another file system too.
func (c *Client) Move(ctx context.Context, req MoveRequest) (MoveResult, error) {
	return change(ctx, c, OpMove, &req, checkMove)
}

// Delete removes a node.
func (c *Client) Delete(ctx context.Context, req DeleteRequest) (DeleteResult, error) {
	return change(ctx, c, OpDelete, &req, checkDelete)
}

// change is a call without data, in whose result check finds nothing wrong.
func change[R any](ctx context.Context, c *Client, op Op, params any, check func(*R) string) (res R, err error) {
	data, err := c.call(ctx, op, params, nil, &res)
	if err != nil {
		return *new(R), err
	}
	reason := check(&res)
	if len(data) > 0 {
		reason = "data where there is none"
	}
	if reason != "" {
		return *new(R), c.broken(op, reason)
	}
	return res, nil
}
