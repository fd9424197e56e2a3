package containerd

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"moorage/fsbridge"
	"moorage/sandbox"
	"moorage/sandbox/containerd/idmap"
)

// inside is a container that a test talks to.
type inside struct {
	*fixture
	ref sandbox.Ref
	c   *fsbridge.Client
}

// enter connects to a container's agent. Who entered before has left: an agent
// that has a connection does not dial.
func (f *fixture) enter(ref sandbox.Ref) inside {
	f.t.Helper()
	if c := f.entered[ref]; c != nil {
		c.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitFor)
	defer cancel()
	c, err := fsbridge.Connect(ctx, f.connect(ref), fsbridge.Welcome{DataDir: "/data"})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	if f.entered == nil {
		f.entered = map[sandbox.Ref]*fsbridge.Client{}
	}
	f.entered[ref] = c
	return inside{f, ref, c}
}

// shell runs a line, which must succeed, and returns what it wrote.
func (i inside) shell(line string) string {
	i.t.Helper()
	out, code := i.try(line)
	if code != 0 {
		i.t.Errorf("%s: exit code %d: %s", line, code, out)
	}
	return strings.TrimSpace(out)
}

func (i inside) try(line string) (string, int) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	res, out, err := i.c.Exec(ctx, fsbridge.ExecRequest{Command: line, Wait: fsbridge.WaitMax, MaxOutput: 64 << 10}, nil)
	if err != nil {
		i.t.Fatalf("%s: %v", line, err)
	}
	code := -1
	if res.ExitCode != nil {
		code = *res.ExitCode
	}
	return string(out.StdoutHead) + string(out.StdoutTail) + string(out.StderrHead) + string(out.StderrTail), code
}

// ids is the range of the host's ids that the container really has.
func (i inside) ids() idmap.Range {
	i.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", i.pid(i.ref)))
	if err != nil {
		i.t.Fatal(err)
	}
	var first, base, count uint32
	if _, err := fmt.Sscan(string(b), &first, &base, &count); err != nil || first != 0 {
		i.t.Fatalf("uid_map is %q, %v", b, err)
	}
	if count == idmap.Size {
		return idmap.Range{Base: base}
	}
	return idmap.Range{}
}

func ownerOf(t testing.TB, path string) uint32 {
	t.Helper()
	fi, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Sys().(*syscall.Stat_t).Uid
}

// upper is where a container's changed files are on disk.
func (f *fixture) upper(ref sandbox.Ref) string {
	f.t.Helper()
	ctx := f.namespaced(context.Background())
	st, err := f.Status(ctx, ref)
	if err != nil {
		f.t.Fatal(err)
	}
	mounts, err := f.client.SnapshotService("overlayfs").Mounts(ctx, st.SnapshotKey)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, o := range mounts[0].Options {
		if dir, ok := strings.CutPrefix(o, "upperdir="); ok {
			return dir
		}
	}
	f.t.Fatalf("no upper directory: %v", mounts)
	return ""
}
