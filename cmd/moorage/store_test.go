package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"moorage/cmd/moorage/store"
	"moorage/sandbox/containerd/quota"
)

// loopInstance is an instance with a loop store of the least size. At its end the
// store must be unmounted and its device gone.
func loopInstance(t *testing.T) instance {
	t.Helper()
	t.Setenv("MOORAGE_STORE", fmt.Sprintf("loop:%d", store.MinSize))
	i := newInstance(t)
	t.Cleanup(func() {
		i.wipe()
		i.checkUnmounted()
	})
	return i
}

func (i instance) checkUnmounted() {
	i.t.Helper()
	if on, err := store.Mounted(i.Root); on || err != nil {
		i.t.Errorf("the store is mounted: %v, %v", on, err)
	}
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, f := range files {
		if b, _ := os.ReadFile(f); strings.Contains(string(b), i.Root+"/") {
			i.t.Errorf("a loop device is left: %s has %s", f, b)
		}
	}
}

func (i instance) checkMounted() {
	i.t.Helper()
	if on, err := store.Mounted(i.Root); !on || err != nil {
		i.t.Fatalf("the store is mounted: %v, %v", on, err)
	}
}

func (i instance) log() string {
	i.t.Helper()
	b, err := os.ReadFile(i.Log())
	if err != nil {
		i.t.Fatal(err)
	}
	return string(b)
}

func TestLoopStoreOutlivesItsServer(t *testing.T) {
	i := loopInstance(t)
	bots := []string{"ann", "bob"}
	for _, bot := range bots {
		c := i.client(bot)
		c.tool("fs_write", map[string]any{"path": "kept", "content": bot})
		c.tool("fs_write", map[string]any{"path": "/root/kept", "content": bot})
		c.tool("exec", map[string]any{"command": "rm /bin/vi; exec sleep 1000", "wait_seconds": 0})
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	all := func(when, sleeping string) {
		t.Helper()
		for _, bot := range bots {
			c := i.client(bot)
			i.checkMounted()
			got := c.text("exec", map[string]any{"command": "cat /data/kept /root/kept; ls /bin/vi 2>/dev/null; ps -o args | grep -cx 'sleep 1000'; true"})
			if got != bot+bot+sleeping {
				t.Errorf("%s: %q", when, got)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	i.kill(t)
	i.checkMounted()
	all("after the server was killed", "1\n")
	i.run("stop")
	i.checkMounted()
	if !strings.Contains(i.log(), "stays mounted") {
		t.Error("the log does not say that the store stays mounted")
	}
	all("after the server was stopped", "1\n")
	i.run("stop", "--containers")
	i.checkUnmounted()
	t.Setenv("MOORAGE_STORE", "") // it is found without
	all("after all was stopped", "0\n")
	i.run("stop")
	if out := i.run("stop", "--containers"); !strings.Contains(out, "stopped 2 containers") {
		t.Errorf("stop --containers without a server: %s", out)
	}
	i.checkUnmounted()
	if out := i.run("stop", "--containers"); !strings.Contains(out, "no server runs") {
		t.Errorf("stop --containers with nothing there: %s", out)
	}
}

// TestFullLoopStore: a full store is like any full disk.
func TestFullLoopStore(t *testing.T) {
	i := loopInstance(t)
	c := i.client("ann")
	c.tool("fs_write", map[string]any{"path": "kept", "content": "kept"})
	c.tool("exec", map[string]any{"command": "dd if=/dev/zero of=/data/fill bs=64k 2>/dev/null; dd if=/dev/zero of=/data/fill2 bs=4k 2>/dev/null; true"})
	c.fails("limit_exceeded", "fs_write", map[string]any{"path": "more", "content": strings.Repeat("x", 1<<20)})
	c.fails("limit_exceeded", "create_container", map[string]any{"container_id": "b"})
	i.kill(t)
	if got := c.text("fs_read", map[string]any{"path": "kept"}); got != "kept" {
		t.Errorf("with a new server on a full store: %q", got)
	}
	c.tool("exec", map[string]any{"command": "rm /data/fill /data/fill2"})
	c.tool("create_container", map[string]any{"container_id": "b"})
}

// TestDiskLimit holds on each kernel: where it has project quotas for XFS they
// limit, else that they do not is said.
func TestDiskLimit(t *testing.T) {
	t.Setenv("MOORAGE_MAX_DISK", "40MiB")
	i := loopInstance(t)
	ann, bob := i.client("ann"), i.client("bob")
	ann.tool("create_container", map[string]any{"container_id": "a"})
	bob.tool("create_container", map[string]any{"container_id": "b"})
	data := filepath.Join(i.Root, "store", "data")
	if why := quota.Supported(data); why != nil {
		if !errors.Is(why, quota.ErrUnsupported) {
			t.Fatal(why)
		}
		if !strings.Contains(i.log(), "the limit on disk is not enforced") {
			t.Error("the log does not say that there is no limit")
		}
		if out := i.run("doctor"); !strings.Contains(out, "warn  disk") || !strings.Contains(out, "--max-disk is not enforced") {
			t.Errorf("doctor does not say that there is no limit: %s", out)
		}
		return
	}
	if out := i.run("doctor"); !strings.Contains(out, "quotas: yes") {
		t.Errorf("doctor does not say that there are quotas: %s", out)
	}
	full := func(path string) {
		t.Helper()
		got := ann.text("exec", map[string]any{"command": "dd if=/dev/zero of=" + path + " bs=1M count=60 2>&1; rm -f " + path})
		if !strings.Contains(got, "No space left") && !strings.Contains(got, "quota exceeded") {
			t.Errorf("60 MiB fitted into %s: %s", path, got)
		}
		if got := ann.text("exec", map[string]any{"command": "dd if=/dev/zero of=" + path + " bs=1M count=20 2>/dev/null && wc -c < " + path + "; rm " + path}); got != "20971520\n" {
			t.Errorf("after a delete 20 MiB of %s: %q", path, got)
		}
	}
	full("/data/f")
	full("/root/f")
	full("/app/f")
	// Together, over two containers.
	ann.tool("exec", map[string]any{"command": "dd if=/dev/zero of=/root/half bs=1M count=25 2>/dev/null", "container_id": "a"})
	ann.tool("create_container", map[string]any{"container_id": "a2"})
	if got := ann.text("exec", map[string]any{"command": "dd if=/dev/zero of=/root/half bs=1M count=25 2>&1", "container_id": "a2"}); !strings.Contains(got, "No space left") {
		t.Errorf("50 MiB fitted into two containers: %s", got)
	}
	ann.tool("exec", map[string]any{"command": "dd if=/dev/zero of=/data/rest bs=4k 2>/dev/null; while echo x > /data/x$((n=n+1)); do :; done 2>/dev/null; true"})
	ann.fails("limit_exceeded", "fs_write", map[string]any{"path": "more", "content": strings.Repeat("x", 1<<20)})
	// The other bot and the server go on.
	if got := bob.text("exec", map[string]any{"command": "dd if=/dev/zero of=/data/f bs=1M count=30 2>/dev/null && wc -c < /data/f"}); got != "31457280\n" {
		t.Errorf("the other bot's 30 MiB: %q", got)
	}
	// With nothing left its containers start, can be emptied and deleted.
	ann.tool("stop_container", map[string]any{"container_id": "a"})
	ann.tool("stop_container", map[string]any{"container_id": "a2"})
	i.kill(t)
	if got := ann.text("exec", map[string]any{"command": "rm /root/half && touch /root/new && echo ok", "container_id": "a"}); got != "ok\n" {
		t.Errorf("a container of a bot whose share is used up: %q", got)
	}
	ann.tool("exec", map[string]any{"command": "dd if=/dev/zero of=/data/rest2 bs=64k 2>/dev/null; true", "container_id": "a"})
	ann.tool("delete_container", map[string]any{"container_id": "a2"})
	ann.tool("exec", map[string]any{"command": "rm /data/rest2; dd if=/dev/zero of=/data/last bs=1M count=10 2>/dev/null", "container_id": "a"})
	u, err := usage(data, "ann")
	if err != nil || u.Limit != 40<<20 || u.Bytes > u.Limit || u.Bytes < 10<<20 {
		t.Errorf("what ann uses: %+v, %v", u, err)
	}
	// Another limit, and none.
	i.run("stop")
	t.Setenv("MOORAGE_MAX_DISK", "0")
	i.run("image", "list")
	if u, err := usage(data, "ann"); err != nil || u.Limit != 0 {
		t.Errorf("without a limit: %+v, %v", u, err)
	}
}

func usage(data, bot string) (quota.Usage, error) {
	p, err := quota.Of(filepath.Join(data, "bots", bot))
	if err != nil {
		return quota.Usage{}, err
	}
	return quota.Read(data, p)
}
