package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"moorage/cmd/moorage-bench/client"
	"moorage/cmd/moorage-bench/floor"
)

// What the file calls work on, the same for every server: one file of 4 KiB to
// read, one to write, and a directory of 100 files.
const (
	readFile   = "read.txt"
	writeFile  = "write.txt"
	listDir    = "list"
	listLength = 100
)

// content is 4 KiB of text in short lines.
var content = strings.Repeat(strings.Repeat("moorage ", 7)+"bench.\n\n", 64)

// fileServer is an MCP server that can do the file calls.
type fileServer struct {
	name                string
	client              *client.Client
	read, write, list   string // names of tools
	dir                 string // where it works; "" for relative paths
	callRead, callWrite client.Request
	callList            client.Request
}

// session is the server's client; nil if there is no server.
func (f *fileServer) session() *client.Client {
	if f == nil {
		return nil
	}
	return f.client
}

func (f *fileServer) path(name string) string { return filepath.Join(f.dir, name) }

// prepare puts the files there through the server itself, encodes the calls, and
// checks that they do what they are timed for.
func (f *fileServer) prepare() error {
	if err := f.put(readFile); err != nil {
		return err
	}
	for i := range listLength {
		if err := f.put(filepath.Join(listDir, fmt.Sprintf("file-%03d.txt", i))); err != nil {
			return err
		}
	}
	text, err := f.client.Call(f.read, map[string]any{"path": f.path(readFile)})
	if err != nil {
		return err
	}
	if !strings.Contains(text, content) {
		return fmt.Errorf("check %s of %s: %d bytes came back that are not the file's", f.read, f.name, len(text))
	}
	if text, err = f.client.Call(f.list, map[string]any{"path": f.path(listDir)}); err != nil {
		return err
	}
	if n := strings.Count(text, "file-"); n != listLength {
		return fmt.Errorf("check %s of %s: %d entries instead of %d", f.list, f.name, n, listLength)
	}
	f.callRead = client.Tool(f.read, map[string]any{"path": f.path(readFile)})
	f.callWrite = client.Tool(f.write, map[string]any{"path": f.path(writeFile), "content": content})
	f.callList = client.Tool(f.list, map[string]any{"path": f.path(listDir)})
	return nil
}

func (f *fileServer) put(name string) error {
	_, err := f.client.Call(f.write, map[string]any{"path": f.path(name), "content": content})
	return err
}

// startFloor runs this binary as the floor's server.
func startFloor(ctx context.Context) (*client.Client, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this binary: %w", err)
	}
	return client.Start(ctx, "floor", self, floorArg)
}

// startReference runs the reference server on a directory of its own. It returns
// nil if there is no Node with it in the directory node.
func startReference(ctx context.Context, node, dir string) (*fileServer, error) {
	program, script := filepath.Join(node, "bin/node"), filepath.Join(node, "bin/mcp-server-filesystem")
	if _, err := os.Stat(script); node == "" || errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err := os.MkdirAll(filepath.Join(dir, listDir), 0o755); err != nil {
		return nil, fmt.Errorf("start the reference server: %w", err)
	}
	c, err := client.Start(ctx, referenceName, program, script, dir)
	if err != nil {
		return nil, err
	}
	return &fileServer{
		name: referenceName, client: c, dir: dir,
		read: "read_text_file", write: "write_file", list: "list_directory",
	}, nil
}

// ours is Moorage as a file server, in a container of the client's bot.
func ours(c *client.Client) *fileServer {
	return &fileServer{name: moorageName, client: c, read: "fs_read", write: "fs_write", list: "fs_list"}
}

// nothing is a call of the floor's tool.
func nothing() client.Request { return client.Tool(floor.Tool, map[string]any{}) }
