package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// inspector is the MCP Inspector's CLI with the project's own mcp.json.
type inspector struct {
	instance
	config  string
	bin     string
	wrapper string // has a command moorage, with the directories of this test
}

// newInspector reads mcp.json as it is, but for the variable that clients
// expand and the address of this test's server.
func newInspector(i instance, token, addr string) inspector {
	i.t.Helper()
	node := os.Getenv("MOORAGE_TEST_NODE")
	if node == "" {
		i.t.Skip("needs the MCP Inspector: run make test, which sets MOORAGE_TEST_NODE")
	}
	b, err := os.ReadFile(filepath.Join("..", "..", "mcp.json"))
	if err != nil {
		i.t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), "${MOORAGE_TOKEN}", token)
	text = strings.ReplaceAll(text, "127.0.0.1:7333", addr)
	config := filepath.Join(i.t.TempDir(), "mcp.json")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		i.t.Fatal(err)
	}
	// MCP clients pass on little of their environment, and mcp.json names none.
	wrapper := i.t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nMOORAGE_ROOT=%s MOORAGE_RUN=%s exec %s/moorage \"$@\"\n", i.Root, i.Run, binDir)
	if err := os.WriteFile(filepath.Join(wrapper, "moorage"), []byte(script), 0o755); err != nil {
		i.t.Fatal(err)
	}
	return inspector{i, config, filepath.Join(node, "bin"), wrapper}
}

// call runs the Inspector's CLI and decodes what it prints.
func (n inspector) call(server string, args ...string) (result map[string]any, exit int) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	args = append([]string{"--cli", "--config", n.config, "--server", server, "--format", "json", "-q"}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(n.bin, "mcp-inspector"), args...)
	cmd.Env = append(os.Environ(), "PATH="+n.wrapper+":"+n.bin+":"+os.Getenv("PATH"),
		"MCP_INSPECTOR_SECRET_STORE=memory", "MCP_AUTO_OPEN_ENABLED=false")
	b, err := cmd.Output()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		exit = ended.ExitCode()
		n.t.Logf("inspector %v: exit %d: %s", args, exit, ended.Stderr)
	} else if err != nil {
		n.t.Fatalf("inspector %v: %v", args, err)
	}
	var answer struct {
		Result map[string]any `json:"result"`
	}
	if err := json.Unmarshal(b, &answer); err != nil && exit == 0 {
		n.t.Fatalf("inspector %v: %v: %s", args, err, b)
	}
	return answer.Result, exit
}

func (n inspector) tool(server, name, args string) (text string, exit int) {
	n.t.Helper()
	result, exit := n.call(server, "--method", "tools/call", "--tool-name", name, "--tool-args-json", args)
	content, _ := result["content"].([]any)
	if len(content) == 0 {
		return "", exit
	}
	first, _ := content[0].(map[string]any)
	text, _ = first["text"].(string)
	return text, exit
}

func TestInspector(t *testing.T) {
	i := newInstance(t)
	addr, _ := i.serveHTTP()
	n := newInspector(i, strings.TrimSpace(i.run("token", "add", "--bot", "default")), addr)
	// One container for all: the token's bot and the stdio entry's are the same.
	for _, server := range []string{"moorage", "moorage-http", "moorage-sse"} {
		t.Run(server, func(t *testing.T) {
			n.t = t
			list, exit := n.call(server, "--method", "tools/list", "--strict")
			if tools, _ := list["tools"].([]any); exit != 0 || len(tools) < 9 {
				t.Fatalf("tools/list: exit %d, %d tools", exit, len(tools))
			}
			if _, exit := n.tool(server, "create_container", `{"container_id":"inspected"}`); exit != 0 {
				t.Fatalf("create_container: exit %d", exit)
			}
			if _, exit := n.tool(server, "fs_write", `{"path":"a.txt","content":"by `+server+`"}`); exit != 0 {
				t.Fatalf("fs_write: exit %d", exit)
			}
			if got, exit := n.tool(server, "fs_read", `{"path":"a.txt"}`); exit != 0 || got != "by "+server {
				t.Fatalf("fs_read: exit %d, %q", exit, got)
			}
			if got, exit := n.tool(server, "exec", `{"command":"cat /app/a.txt"}`); exit != 0 || got != "by "+server {
				t.Fatalf("exec: exit %d, %q", exit, got)
			}
			if _, exit := n.tool(server, "fs_read", `{"path":"/none"}`); exit != 5 {
				t.Fatalf("fs_read of what is not there: exit %d, expected 5, a tool's error", exit)
			}
		})
	}
}
