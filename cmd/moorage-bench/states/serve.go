package states

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"moorage/cmd/moorage/store"
	"moorage/sandbox"
)

// The tools. Their parameters are those of [Scene] and [Chain].
const (
	SceneTool = "scene"
	ChainTool = "chain"
)

// Serve runs an engine with its state in dir, on a store as it says (see
// store.Spec), with the agent and the shim from bin. It answers until standard
// input ends or the process gets SIGTERM, and then deletes what is left.
func Serve(dir, bin, storeSpec string) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var spec store.Spec
	if err := spec.UnmarshalText([]byte(storeSpec)); err != nil {
		return err
	}
	e, err := start(ctx, dir, bin, spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	s := server.NewMCPServer("states", "1")
	add(ctx, s, SceneTool, e.scene)
	add(ctx, s, ChainTool, e.chain)
	if err := server.ServeStdio(s); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve states: %w", err)
	}
	return nil
}

// add adds a tool that plays something with containers of a bot of its own. It
// stops when all ends.
func add[T any](all context.Context, s *server.MCPServer, name string, play func(context.Context, sandbox.Bot, T) (Result, error)) {
	n := 0
	s.AddTool(mcp.NewTool(name), func(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(all, cancel)()
		n++
		var arg T
		if err := req.BindArguments(&arg); err != nil {
			return mcp.NewToolResultError(err.Error()), nil
		}
		result, err := play(ctx, sandbox.Bot(fmt.Sprintf("%s-%d", name, n)), arg)
		if err != nil {
			return mcp.NewToolResultError(err.Error()), nil
		}
		b, err := json.Marshal(result)
		return mcp.NewToolResultText(string(b)), err
	})
}
