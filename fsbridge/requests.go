package fsbridge

import (
	"bytes"
	"context"
	"fmt"
)

// Output is what an ExecResult returns of a process's output. A tail is there
// only when bytes were left out between it and the head.
type Output struct {
	StdoutHead, StdoutTail []byte
	StderrHead, StderrTail []byte
}

// Read reads a part of a regular file. head is the file's beginning, at most
// HeadBytes: always there when the body is not (Binary) or starts later.
func (c *Client) Read(ctx context.Context, req ReadRequest) (res ReadResult, head, body []byte, err error) {
	data, err := c.call(ctx, OpRead, &req, nil, &res)
	if err != nil {
		return ReadResult{}, nil, nil, err
	}
	if reason := checkRead(&req, &res, data); reason != "" {
		return ReadResult{}, nil, nil, c.broken(OpRead, reason)
	}
	head, body = data[:res.HeadLen:res.HeadLen], data[res.HeadLen:]
	if res.HeadLen == 0 && res.FirstByte == 0 {
		head = body[:min(len(body), HeadBytes)]
	}
	return res, head, body, nil
}

// Write replaces, makes or appends to a file. Content over MaxData is streamed.
func (c *Client) Write(ctx context.Context, req WriteRequest, content []byte) (WriteResult, error) {
	if len(content) > MaxData {
		return c.WriteFrom(ctx, req, bytes.NewReader(content))
	}
	req.Stream = false
	var res WriteResult
	if _, err := c.call(ctx, OpWrite, &req, content, &res); err != nil {
		return WriteResult{}, err
	}
	return c.written(&req, res)
}

func (c *Client) written(req *WriteRequest, res WriteResult) (WriteResult, error) {
	if reason := checkWrite(req, &res); reason != "" {
		return WriteResult{}, c.broken(OpWrite, reason)
	}
	return res, nil
}

// List returns a page of a directory's entries.
func (c *Client) List(ctx context.Context, req ListRequest) (ListResult, error) {
	var res ListResult
	data, err := c.call(ctx, OpList, &req, nil, &res)
	if err != nil {
		return ListResult{}, err
	}
	if res.Entries, err = ParseEntries(data, res.Count); err != nil {
		return ListResult{}, c.broken(OpList, err.Error())
	}
	if reason := checkList(&req, &res); reason != "" {
		return ListResult{}, c.broken(OpList, reason)
	}
	return res, nil
}

// Stat returns the facts of one node and, if asked for, a regular file's first
// HeadBytes.
func (c *Client) Stat(ctx context.Context, req StatRequest) (StatResult, []byte, error) {
	var res StatResult
	head, err := c.call(ctx, OpStat, &req, nil, &res)
	if err != nil {
		return StatResult{}, nil, err
	}
	if reason := checkStat(&req, &res, head); reason != "" {
		return StatResult{}, nil, c.broken(OpStat, reason)
	}
	return res, head, nil
}

// Exec starts a command, waits for its end at most req.Wait, and returns that or
// the handle of what still runs. stdin is at most StdinMax bytes. When ctx ends
// first, the command's process group is killed.
func (c *Client) Exec(ctx context.Context, req ExecRequest, stdin []byte) (ExecResult, Output, error) {
	if len(stdin) > StdinMax {
		return ExecResult{}, Output{}, fmt.Errorf("exec: stdin of %d bytes: %w: the limit is %d", len(stdin), ErrTooLarge, StdinMax)
	}
	var res ExecResult
	var data []byte
	var err error
	if req.Stream = len(stdin) > MaxData; req.Stream {
		data, err = c.upload(ctx, OpExec, &req, bytes.NewReader(stdin), &res)
	} else {
		data, err = c.call(ctx, OpExec, &req, stdin, &res)
	}
	if err != nil {
		return ExecResult{}, Output{}, err
	}
	if reason := checkExec(&req, &res, data); reason != "" {
		return ExecResult{}, Output{}, c.broken(OpExec, reason)
	}
	return res, splitOutput(&res, data), nil
}

func splitOutput(res *ExecResult, data []byte) Output {
	next := func(n int) []byte {
		part := data[:n:n]
		data = data[n:]
		return part
	}
	return Output{
		StdoutHead: next(res.StdoutHead),
		StdoutTail: next(res.StdoutTail),
		StderrHead: next(res.StderrHead),
		StderrTail: next(res.StderrTail),
	}
}
