package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"moorage/fsbridge"
)

// The tools. Each reads a whole file of the container, whose path it is given,
// and answers how many bytes that were.
const (
	Slices = "slices" // by reads of SliceBytes, each asked for when the last is there
	Stream = "stream" // by one fetch
)

// SliceBytes is the most that one read returns.
const SliceBytes = fsbridge.BodyMax

// Serve runs a container with the engine's state in dir, and the agent and the
// shim from bin. It answers until standard input ends or the process gets
// SIGTERM, and then deletes the container.
func Serve(dir, bin string) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	e, err := start(ctx, dir, bin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	s := server.NewMCPServer("bridge", "1")
	for name, read := range map[string]reader{Slices: e.slices, Stream: e.stream} {
		s.AddTool(mcp.NewTool(name, mcp.WithString("path", mcp.Required())), read.handle)
	}
	if err := server.ServeStdio(s); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve the bridge: %w", err)
	}
	return nil
}

// reader reads a whole file.
type reader func(ctx context.Context, path fsbridge.Path) (int64, error)

func (r reader) handle(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	path, err := req.RequireString("path")
	if err != nil {
		return mcp.NewToolResultError(err.Error()), nil
	}
	n, err := r(ctx, fsbridge.Path(path))
	if err != nil {
		return mcp.NewToolResultError(err.Error()), nil
	}
	return mcp.NewToolResultText(strconv.FormatInt(n, 10)), nil
}

func (e *engine) slices(ctx context.Context, path fsbridge.Path) (n int64, err error) {
	for {
		res, _, body, err := e.agent.Read(ctx, fsbridge.ReadRequest{Path: path, Bytes: true, ByteOffset: n, ByteLimit: SliceBytes})
		n += int64(len(body))
		if err != nil || !res.Truncated || len(body) == 0 {
			return n, err
		}
	}
}

func (e *engine) stream(ctx context.Context, path fsbridge.Path) (int64, error) {
	return e.agent.ReadTo(ctx, path, 0, -1, io.Discard)
}
