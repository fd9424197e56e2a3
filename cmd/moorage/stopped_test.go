package main

import (
	"strings"
	"testing"
)

// Containers that an earlier server has left running are stopped too.
func TestStopContainersWithoutServer(t *testing.T) {
	i := newInstance(t)
	c := i.client("ann")
	c.tool("create_container", map[string]any{"container_id": "a"})
	_ = c.Close()
	i.run("stop")
	if out := i.run("stop", "--containers"); !strings.Contains(out, "stopped 1 containers") {
		t.Errorf("the first time: %s", out)
	}
	if out := i.run("stop", "--containers"); !strings.Contains(out, "no server runs") {
		t.Errorf("the second time: %s", out)
	}
}
