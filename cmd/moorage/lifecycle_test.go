package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMainJob(t *testing.T) {
	i := newInstance(t)
	c := i.client("ann")
	made := c.tool("create_container", map[string]any{"container_id": "a"}).Structured
	for key, want := range map[string]any{"container_id": "a", "created": true, "started": true, "state": "running", "image": "moorage.local/base:latest", "snapshotter": "overlayfs"} {
		if made[key] != want {
			t.Errorf("create_container: %s is %v, expected %v", key, made[key], want)
		}
	}
	c.tool("fs_write", map[string]any{"path": "/data/dir/a.txt", "content": "one\ntwo\n"})
	if got := c.text("fs_read", map[string]any{"path": "/app/dir/a.txt"}); got != "one\ntwo\n" {
		t.Errorf("fs_read through the other data mount: %q", got)
	}
	if got := c.text("exec", map[string]any{"command": "cat dir/a.txt"}); got != "one\ntwo\n" {
		t.Errorf("exec: %q", got)
	}
	if host, err := os.ReadFile(filepath.Join(i.Root, "data/bots/ann/dir/a.txt")); err != nil || string(host) != "one\ntwo\n" {
		t.Errorf("the bot's data on the host: %q, %v", host, err)
	}
	c.tool("delete_container", map[string]any{"container_id": "a"})
	c.fails("not_found", "fs_read", map[string]any{"path": "dir/a.txt", "container_id": "a"})
	// The data stays, and a new container is made for the next call.
	r := c.tool("fs_read", map[string]any{"path": "dir/a.txt"})
	if r.Content[0].Text != "one\ntwo\n" || r.Structured["container_id"] == "a" {
		t.Errorf("after delete_container: %+v", r)
	}
}

func TestCurrentContainer(t *testing.T) {
	i := newInstance(t)
	c := i.client("ann")
	current := func() string {
		return fmt.Sprint(c.tool("fs_stat", map[string]any{"path": "/"}).Structured["container_id"])
	}
	for _, id := range []string{"a", "b", "c"} {
		c.tool("create_container", map[string]any{"container_id": id})
		if got := current(); got != id {
			t.Errorf("after making %s the current container is %s", id, got)
		}
	}
	c.tool("create_container", map[string]any{"container_id": "a"})
	if got := current(); got != "a" {
		t.Errorf("after asking for a again the current container is %s", got)
	}
	c.tool("delete_container", map[string]any{"container_id": "a"})
	if got := current(); got != "c" {
		t.Errorf("after deleting a the current container is %s", got)
	}
	c.tool("stop_container", map[string]any{"container_id": "c"})
	if r := c.tool("fs_stat", map[string]any{"path": "/"}).Structured; r["container_id"] != "c" || r["started"] != true {
		t.Errorf("after stopping c: %v", r)
	}
}

func TestSameIDAgain(t *testing.T) {
	i := newInstance(t)
	c := i.client("ann")
	request := map[string]any{"container_id": "a", "env": map[string]any{"K": "V"}, "limits": map[string]any{"memory_mb": 256}}
	c.tool("create_container", request)
	if r := c.tool("create_container", request).Structured; r["created"] != false {
		t.Errorf("the same request again: %v", r)
	}
	if r := c.tool("create_container", map[string]any{"container_id": "a"}).Structured; r["created"] != false {
		t.Errorf("a request that leaves all else out: %v", r)
	}
	for _, other := range []map[string]any{
		{"container_id": "a", "env": map[string]any{"K": "W"}, "limits": map[string]any{"memory_mb": 256}},
		{"container_id": "a", "env": map[string]any{"K": "V"}, "limits": map[string]any{"memory_mb": 128}},
		{"container_id": "a", "env": map[string]any{"K": "V"}, "limits": map[string]any{"memory_mb": 256}, "image": "busybox"},
	} {
		c.fails("already_exists", "create_container", other)
	}
	if got := c.text("exec", map[string]any{"command": "echo $K"}); got != "V\n" {
		t.Errorf("the container's environment: %q", got)
	}
}

func TestBotsSeeOnlyTheirOwn(t *testing.T) {
	i := newInstance(t)
	ann, bob := i.client("ann"), i.client("bob")
	ann.tool("create_container", map[string]any{"container_id": "same"})
	ann.tool("create_container", map[string]any{"container_id": "anns"})
	bob.tool("create_container", map[string]any{"container_id": "same"})
	ann.tool("fs_write", map[string]any{"path": "/data/x", "content": "ann", "container_id": "same"})
	bob.tool("fs_write", map[string]any{"path": "/data/x", "content": "bob", "container_id": "same"})
	if got := ann.text("fs_read", map[string]any{"path": "/data/x"}); got != "ann" {
		t.Errorf("ann reads %q", got)
	}
	args := func(id string) []struct {
		tool string
		args map[string]any
	} {
		return []struct {
			tool string
			args map[string]any
		}{
			{"fs_read", map[string]any{"path": "/etc/passwd", "container_id": id}},
			{"fs_write", map[string]any{"path": "/x", "content": "", "container_id": id}},
			{"fs_list", map[string]any{"path": "/", "container_id": id}},
			{"fs_stat", map[string]any{"path": "/", "container_id": id}},
			{"exec", map[string]any{"command": "true", "container_id": id}},
			{"list_containers", map[string]any{"container_id": id}},
			{"stop_container", map[string]any{"container_id": id}},
			{"delete_container", map[string]any{"container_id": id}},
		}
	}
	foreign, unknown := args("anns"), args("none")
	for n := range foreign {
		a := bob.fails("not_found", foreign[n].tool, foreign[n].args)
		b := bob.fails("not_found", unknown[n].tool, unknown[n].args)
		if strings.ReplaceAll(a, "anns", "none") != b {
			t.Errorf("%s tells a foreign container from an unknown one:\n%s\n%s", foreign[n].tool, a, b)
		}
	}
	if all, _ := bob.tool("list_containers", nil).Structured["containers"].([]any); len(all) != 1 {
		t.Errorf("bob lists %v", all)
	}
	if all, _ := ann.tool("list_containers", nil).Structured["containers"].([]any); len(all) != 2 {
		t.Errorf("ann lists %v", all)
	}
}

func TestDeleteWithData(t *testing.T) {
	i := newInstance(t)
	c := i.client("ann")
	c.tool("create_container", map[string]any{"container_id": "a"})
	c.tool("create_container", map[string]any{"container_id": "b"})
	c.tool("fs_write", map[string]any{"path": "x", "content": "x"})
	if text := c.fails("conflict", "delete_container", map[string]any{"container_id": "a", "delete_data": true}); !strings.Contains(text, "b") {
		t.Errorf("the conflict does not name the other container: %s", text)
	}
	c.tool("delete_container", map[string]any{"container_id": "b"})
	c.tool("delete_container", map[string]any{"container_id": "a", "delete_data": true})
	c.fails("not_found", "fs_read", map[string]any{"path": "x"})
}

func TestFailedCreateLeavesNothing(t *testing.T) {
	i := newInstance(t)
	c := i.client("ann")
	for code, args := range map[string]map[string]any{
		"image_unavailable": {"image": "127.0.0.1:1/none:latest"},
		"invalid_argument":  {"image": "Not A Name"},
	} {
		c.fails(code, "create_container", args)
	}
	c.fails("invalid_argument", "create_container", map[string]any{"container_id": "UPPER"})
	c.fails("invalid_argument", "create_container", map[string]any{"limits": map[string]any{"memory_mb": 1}})
	if all, _ := c.tool("list_containers", nil).Structured["containers"].([]any); len(all) != 0 {
		t.Errorf("left behind: %v", all)
	}
	i.leavesOnly(0)
}

// leftovers are the names of what containers have on the host.
func (i instance) leftovers() string {
	var names []string
	for _, dir := range []string{i.Run + "/c", i.Root + "/spool", i.Run + "/runc", i.Root + "/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots"} {
		all, _ := os.ReadDir(dir) // absent is empty
		for _, e := range all {
			names = append(names, filepath.Base(dir)+"/"+e.Name())
		}
	}
	return strings.Join(names, " ")
}

// leavesOnly waits until the leftovers are so many layers of images: the engine
// collects snapshots a moment after they are removed.
func (i instance) leavesOnly(layers int) {
	i.t.Helper()
	defer func() {
		if i.t.Failed() {
			i.t.Logf("left are %s", i.leftovers())
		}
	}()
	eventually(i.t, fmt.Sprintf("nothing to be left but %d layers", layers), func() bool {
		left := strings.Fields(i.leftovers())
		return len(left) == layers && (layers == 0 || strings.HasPrefix(left[0], "snapshots/"))
	})
}

func TestStartThatFailsLeavesNothing(t *testing.T) {
	i := newInstance(t)
	bad := filepath.Join(t.TempDir(), "bad-runc")
	if err := os.WriteFile(bad, []byte("#!/bin/sh\necho broken runtime >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MOORAGE_OCI_RUNTIME", bad)
	c := i.client("ann")
	c.fails("internal", "create_container", map[string]any{"container_id": "a"})
	text := c.fails("internal", "create_container", map[string]any{"container_id": "a"})
	_, reference, _ := strings.Cut(text, "reference ")
	reference, _, _ = strings.Cut(reference, ".")
	if log, err := os.ReadFile(i.Log()); err != nil || reference == "" || !strings.Contains(string(log), reference) {
		t.Errorf("the log (%v) does not tell more of reference %q: %s", err, reference, text)
	}
	if all, _ := c.tool("list_containers", nil).Structured["containers"].([]any); len(all) != 0 {
		t.Errorf("left behind: %v", all)
	}
	i.leavesOnly(1) // the image's
}
