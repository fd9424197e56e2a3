package containerd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"moorage/sandbox"
	"moorage/sandbox/sandboxtest"
)

// On a full disk each change of snapshots says so and leaves everything as it was;
// when there is room again it works.
func TestSnapshotsOnFullDisk(t *testing.T) {
	needRoot(t)
	dir := filepath.Join(sandboxtest.Mount(t, sandboxtest.Dir(t), "ext4", 300), "f")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := &cutTest{fixture: openFixture(t, engines[0], dir)}
	ctx := context.Background()
	c.create(cutRef)
	c.write("old")
	c.shell("sleep 1000 >/dev/null 2>&1 &") // so that its layer is copied
	c.shell("dd if=/dev/urandom of=/root/big bs=1M count=20; dd if=/dev/urandom of=/data/big bs=1M count=20")
	c.take("first")
	c.write("now")
	before := c.layers()
	c.fill()
	for name, change := range map[string]func() error{
		"take": func() error {
			_, err := c.TakeSnapshot(ctx, sandbox.SnapshotRequest{Ref: cutRef, Name: "new"})
			return err
		},
		"fork": func() error { return c.Create(ctx, sandbox.Spec{Ref: cutFork, FromSnapshot: "first"}) },
		"restore": func() error {
			c.stopIt()
			_, err := c.RestoreSnapshot(ctx, sandbox.RestoreRequest{Ref: cutRef, Name: "first", Before: "new"})
			return err
		},
	} {
		if err := change(); !errors.Is(err, sandbox.ErrNoSpace) {
			t.Errorf("%s: expected %v, got %v", name, sandbox.ErrNoSpace, err)
		}
		if c.listed("new") || !c.listed("first") {
			t.Errorf("after %s: what is listed has changed", name)
		}
		c.holds(c.agent(), "now")
		c.expectNothingLoose()
	}
	if after := c.layers(); len(after) != len(before) {
		t.Errorf("layers were %v, are now %v", before, after)
	}
	c.shell("rm /data/fill")
	c.take("new")
	c.forkHolds("new", "now")
	c.fork("first")
	c.clean()
}

// fill leaves less room than a snapshot needs, and enough for the container to work.
func (c *cutTest) fill() {
	c.t.Helper()
	c.shell("dd if=/dev/zero of=/data/fill bs=1M; sync; truncate -s -5000000 /data/fill; sync")
}
