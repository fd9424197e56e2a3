// Package floor is a stock mcp-go server on standard input and output whose one
// tool does nothing. What a call of it takes is the least that any MCP server on
// this library can take on this machine.
package floor

import (
	"context"
	"fmt"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Tool is the name of the tool. It takes no arguments and answers "ok".
const Tool = "noop"

// Serve answers until standard input ends or the process gets SIGTERM.
func Serve() error {
	s := server.NewMCPServer("floor", "1")
	s.AddTool(mcp.NewTool(Tool), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText("ok"), nil
	})
	if err := server.ServeStdio(s); err != nil {
		return fmt.Errorf("serve the floor: %w", err)
	}
	return nil
}
