package copier

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"moorage/sandbox/copier/treetest"
)

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("owners, devices and trusted attributes need root")
	}
}

// same compares a finished copy with its source, and what Stats and Usage say.
func same(t rapidOrTest, c *Copy, src, dst string) {
	t.Helper()
	if err := treetest.Compare(src, dst, treetest.Options{Ignore: treetest.Sockets}); err != nil {
		t.Fatal(err)
	}
	bytes, _, err := Usage(context.Background(), dst)
	if err != nil {
		t.Fatal(err)
	}
	// The file system takes blocks for its own records when it writes them out.
	if st := c.Stats(); max(st.Bytes-bytes, bytes-st.Bytes) > 64<<10+bytes/50 {
		t.Fatalf("Stats says %d bytes, Usage %d", st.Bytes, bytes)
	}
}

type rapidOrTest interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// scratch is a directory with an empty src and dst in it, removed at the end.
func scratch(t rapidOrTest, in string) (src, dst string, remove func()) {
	t.Helper()
	dir, err := os.MkdirTemp(in, "copy")
	if err != nil {
		t.Fatal(err)
	}
	src, dst = filepath.Join(dir, "src"), filepath.Join(dir, "dst")
	for _, d := range []string{src, dst} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return src, dst, func() { os.RemoveAll(dir) }
}

func TestTreesStayTheSame(t *testing.T) {
	needRoot(t)
	property(t, t.TempDir())
}

// property makes trees, and copies them in passes between which they change.
func property(t *testing.T, in string) {
	rapid.Check(t, func(t *rapid.T) {
		src, dst, remove := scratch(t, in)
		defer remove()
		r := treetest.Rapid(t)
		treetest.Mutate(src, r, rapid.IntRange(0, 40).Draw(t, "steps"))
		o := Options{NoClone: rapid.Bool().Draw(t, "no clone"), Parallel: rapid.IntRange(0, 4).Draw(t, "workers")}
		c, err := New(dst, src, o)
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 3).Draw(t, "passes") {
			if err := c.Pass(context.Background()); err != nil {
				t.Fatal(err)
			}
			treetest.Mutate(src, r, rapid.IntRange(0, 10).Draw(t, "steps"))
		}
		if err := c.Finish(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		same(t, c, src, dst)
	})
}

func TestRemove(t *testing.T) {
	src, _, remove := scratch(t, t.TempDir())
	defer remove()
	treetest.Mutate(src, treetest.Seeded(1), 200)
	if err := Remove(t.Context(), src); err != nil {
		t.Fatal(err)
	}
	if err := unix.Access(src, 0); err != unix.ENOENT {
		t.Fatalf("still there: %v", err)
	}
	if err := Remove(t.Context(), src); err != nil {
		t.Fatalf("what is not there: %v", err)
	}
}
