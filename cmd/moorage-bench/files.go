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
// read, one to write, some to edit, and a directory of 100 files.
const (
	readFile   = "read.txt"
	writeFile  = "write.txt"
	editFile   = "edit-%02d.txt"
	listDir    = "list"
	listLength = 100
)

// content is 4 KiB of text in short lines. A file to edit has one of two lines
// after it, which an edit exchanges.
var (
	content = strings.Repeat(strings.Repeat("moorage ", 7)+"bench.\n\n", 64)
	edited  = [2]string{"this line is as it was.\n", "this line is as it was edited.\n"}
)

// fileServer is an MCP server that can do the file calls.
type fileServer struct {
	name              string
	client            *client.Client
	read, write, list string // names of tools
	edit              string // "" if the server has none
	editOf            func(path, before, after string) map[string]any
	dir               string // where it works; "" for relative paths

	callRead, callWrite, callList client.Request
	edits                         []cycle // each of a file of its own, to and fro
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
// checks that they do what they are timed for. edits is how many files there are
// to edit.
func (f *fileServer) prepare(edits int) error {
	if err := f.put(readFile, content); err != nil {
		return err
	}
	for i := range listLength {
		if err := f.put(filepath.Join(listDir, fmt.Sprintf("file-%03d.txt", i)), content); err != nil {
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
	return f.prepareEdits(edits)
}

// prepareEdits makes n files to edit, edits each once, and encodes the edits that
// follow: back, and again.
func (f *fileServer) prepareEdits(n int) error {
	if f.edit == "" {
		return nil
	}
	for i := range n {
		name := fmt.Sprintf(editFile, i)
		if err := f.put(name, content+edited[0]); err != nil {
			return err
		}
		there, back := f.editOf(f.path(name), edited[0], edited[1]), f.editOf(f.path(name), edited[1], edited[0])
		if _, err := f.client.Call(f.edit, there); err != nil {
			return err
		}
		text, err := f.client.Call(f.read, map[string]any{"path": f.path(name)})
		if err != nil {
			return err
		}
		if !strings.Contains(text, content+edited[1]) {
			return fmt.Errorf("check %s of %s: %s is not as it was edited", f.edit, f.name, name)
		}
		f.edits = append(f.edits, cycle{client.Tool(f.edit, back), client.Tool(f.edit, there)})
	}
	return nil
}

func (f *fileServer) put(name, content string) error {
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

// startReference runs the reference server on a directory of its own, and lets it
// search others. It returns nil if there is no Node with it in the directory node.
func startReference(ctx context.Context, node, dir string, others ...string) (*fileServer, error) {
	program, script := filepath.Join(node, "bin/node"), filepath.Join(node, "bin/mcp-server-filesystem")
	if _, err := os.Stat(script); node == "" || errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err := os.MkdirAll(filepath.Join(dir, listDir), 0o755); err != nil {
		return nil, fmt.Errorf("start the reference server: %w", err)
	}
	c, err := client.Start(ctx, referenceName, append([]string{program, script, dir}, others...)...)
	if err != nil {
		return nil, err
	}
	return &fileServer{
		name: referenceName, client: c, dir: dir,
		read: "read_text_file", write: "write_file", list: "list_directory", edit: "edit_file",
		editOf: func(path, before, after string) map[string]any {
			return map[string]any{"path": path, "edits": []map[string]any{{"oldText": before, "newText": after}}}
		},
	}, nil
}

// ours is Moorage as a file server, in a container of the client's bot.
func ours(c *client.Client) *fileServer {
	return &fileServer{
		name: moorageName, client: c, read: "fs_read", write: "fs_write", list: "fs_list", edit: editTool,
		editOf: func(path, before, after string) map[string]any {
			return map[string]any{"path": path, "edits": []map[string]any{{"old_text": before, "new_text": after}}}
		},
	}
}

// nothing is a call of the floor's tool.
func nothing() client.Request { return client.Tool(floor.Tool, map[string]any{}) }
