package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"moorage/cmd/moorage/session"
)

type demoCmd struct{}

// demoStep is one call of the transcript.
type demoStep struct {
	tool string
	args map[string]any
	show string // the arguments as they are shown
}

var demoSteps = []demoStep{
	{"create_container", map[string]any{"container_id": "demo"}, `container_id: "demo"`},
	{"fs_write", map[string]any{"path": "hello.txt", "content": "Ahoy from a container of my own.\n"}, `path: "hello.txt", content: "Ahoy from ..."`},
	{"fs_read", map[string]any{"path": "hello.txt"}, `path: "hello.txt"`},
	{"exec", map[string]any{"command": "id -u; uname -sr; ls -l /data"}, `command: "id -u; uname -sr; ls -l /data"`},
	{"list_containers", map[string]any{}, ""},
	{"delete_container", map[string]any{"container_id": "demo", "delete_data": true}, `container_id: "demo", delete_data: true`},
}

// Run shows a real session: this binary as an MCP client starts it, a server,
// a container. Everything is in directories of its own and removed at the end.
func (demoCmd) Run(ctx context.Context) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("demo: only root can start containers; run: sudo moorage demo")
	}
	d, remove, err := ownDirs()
	if err != nil {
		return err
	}
	defer remove()
	defer stopServer(d)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, "stdio", "--root", d.Root, "--run", d.Run, "--bot", "demo")
	cmd.Stderr = os.Stderr
	fmt.Println("An MCP client starts `moorage stdio`, which starts the server:")
	begun := time.Now()
	s, err := session.Start(cmd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	fmt.Printf("  initialized in %s\n\n", took(begun))
	if err := showTools(s); err != nil {
		return err
	}
	for _, step := range demoSteps {
		begun := time.Now()
		r, err := s.Tool(step.tool, step.args)
		if err != nil {
			return fmt.Errorf("%s: %w", step.tool, err)
		}
		fmt.Printf("> %s {%s}   %s\n", step.tool, step.show, took(begun))
		for _, c := range r.Content {
			fmt.Println("  " + strings.ReplaceAll(strings.TrimRight(c.Text, "\n"), "\n", "\n  "))
		}
		fmt.Println()
	}
	fmt.Println("Done. The container, its data, the server and its directories are gone.")
	return nil
}

func showTools(s *session.Session) error {
	begun := time.Now()
	var list struct {
		Tools []struct {
			Name string `json:"name"`
		} `json:"tools"`
	}
	if err := s.Call("tools/list", map[string]any{}, &list); err != nil {
		return err
	}
	names := make([]string, len(list.Tools))
	for i, t := range list.Tools {
		names[i] = t.Name
	}
	fmt.Printf("> tools/list   %s\n  %s\n\n", took(begun), strings.Join(names, " "))
	return nil
}

func took(since time.Time) string {
	return fmt.Sprintf("[%.1f ms]", float64(time.Since(since).Microseconds())/1000)
}
