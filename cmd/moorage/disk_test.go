package main

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFullDisk runs a server on a file system of 96 MiB.
func TestFullDisk(t *testing.T) {
	i := newInstance(t)
	if err := os.MkdirAll(i.Root, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", i.Root, "tmpfs", 0, "size=96m,mode=0711"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		i.wipe() // before its directory goes
		if err := unix.Unmount(i.Root, 0); err != nil {
			t.Errorf("unmount the small disk: %v", err)
		}
	})
	c := i.client("ann")
	c.tool("create_container", map[string]any{"container_id": "a"})
	kept := strings.Repeat("kept\n", 1000)
	c.tool("fs_write", map[string]any{"path": "kept", "content": kept})
	c.tool("exec", map[string]any{"command": "dd if=/dev/zero of=/data/fill bs=4k 2>/dev/null; true"})

	text := c.fails("limit_exceeded", "fs_write", map[string]any{"path": "kept", "content": strings.Repeat("x", 100_000)})
	if !strings.Contains(text, "no space left on device") {
		t.Errorf("fs_write does not say why: %s", text)
	}
	if got := c.text("fs_read", map[string]any{"path": "kept"}); got != kept {
		t.Errorf("the file has %d bytes, expected the %d of before", len(got), len(kept))
	}
	if got := c.text("exec", map[string]any{"command": "echo hi; ls /data"}); got != "hi\nfill\nkept\n" {
		t.Errorf("exec on a full disk, without leftovers: %q", got)
	}
	if text := c.fails("limit_exceeded", "create_container", map[string]any{"container_id": "b"}); !strings.Contains(text, "full") {
		t.Errorf("create_container does not say why: %s", text)
	}
	c.tool("exec", map[string]any{"command": "rm /data/fill"})
	c.tool("create_container", map[string]any{"container_id": "b"})
	if got := c.text("fs_read", map[string]any{"path": "kept"}); got != kept {
		t.Errorf("afterwards the file has %d bytes, expected %d", len(got), len(kept))
	}
}
