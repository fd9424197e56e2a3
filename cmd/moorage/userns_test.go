package main

import (
	"os"
	"strings"
	"testing"
)

// TestUserns: with user namespaces nothing is said; without, a bot is told, and a
// server that requires them does not start.
func TestUserns(t *testing.T) {
	on := newInstance(t)
	if r := on.client("ann").tool("create_container", map[string]any{"container_id": "a"}); len(r.Content) != 1 {
		t.Errorf("with user namespaces: %v", r.Content)
	}
	off := newInstance(t)
	t.Setenv("MOORAGE_USERNS", "off")
	c := off.client("ann")
	r := c.tool("create_container", map[string]any{"container_id": "a"})
	if len(r.Content) != 2 || !strings.Contains(r.Content[1].Text, "root in it is root of the host") {
		t.Errorf("without: %v", r.Content)
	}
	if got := c.text("exec", map[string]any{"command": "cat /proc/self/uid_map"}); !strings.Contains(got, "4294967295") {
		t.Errorf("without, its ids are %q", got)
	}

	closed := newInstance(t)
	t.Setenv("MOORAGE_USERNS", "require")
	dir := strings.TrimSuffix(closed.Root, "/root")
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := closed.command("serve").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "user namespaces are required: "+dir+" has mode 0700") {
		t.Errorf("required where they cannot be: %v: %s", err, out)
	}
	t.Setenv("MOORAGE_USERNS", "auto")
}
