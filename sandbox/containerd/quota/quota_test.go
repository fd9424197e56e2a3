package quota

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const mib = 1 << 20

// disk is an XFS with project quotas, if the kernel has them; else err says that
// it has none.
func disk(t *testing.T) (dir string, err error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts")
	}
	base := t.TempDir()
	file, dir := filepath.Join(base, "disk"), filepath.Join(base, "at")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, 300*mib), os.Mkdir(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.xfs", "-q", file).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.xfs: %v: %s", err, out)
	}
	options := "loop,prjquota"
	if exec.Command("mount", "-t", "xfs", "-o", options, file, dir).Run() != nil {
		options = "loop" // a kernel without them refuses the option
		if out, err := exec.Command("mount", "-t", "xfs", "-o", options, file, dir).CombinedOutput(); err != nil {
			t.Fatalf("mount: %v: %s", err, out)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	err = Supported(dir)
	if (err == nil) != (options == "loop,prjquota") {
		t.Fatalf("mounted with %s, and it is %v", options, err)
	}
	return dir, err
}

// checkUnsupported is all that can be tested where the kernel has no project
// quotas for XFS.
func checkUnsupported(t *testing.T, dir string, why error) {
	t.Helper()
	_, err := Read(dir, 7)
	for _, err := range []error{why, err, SetLimit(dir, 7, mib)} {
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), dir) {
			t.Errorf("without quotas: %v", err)
		}
	}
}

func newDir(t *testing.T, parts ...string) string {
	t.Helper()
	dir := filepath.Join(parts...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// fill writes n MiB and reports how many fitted.
func fill(t *testing.T, path string, n int) int {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, mib)
	for i := range n {
		if _, err := f.Write(block); errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			return i
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func assignTo(t *testing.T, dir string, p Project, most int64) {
	t.Helper()
	if err := errors.Join(SetLimit(dir, p, most), Assign(dir, p)); err != nil {
		t.Fatal(err)
	}
}

func TestLimit(t *testing.T) {
	at, err := disk(t)
	if err != nil {
		checkUnsupported(t, at, err)
		return
	}
	a, b, other := newDir(t, at, "a"), newDir(t, at, "b"), newDir(t, at, "other")
	assignTo(t, a, 7, 20*mib)
	assignTo(t, b, 7, 20*mib)
	assignTo(t, other, 8, 20*mib)
	if n := fill(t, a+"/f", 12); n != 12 {
		t.Fatalf("%d of 12 MiB fitted", n)
	}
	if n := fill(t, newDir(t, b, "x/y")+"/f", 12); n > 8 {
		t.Errorf("%d MiB more fitted", n)
	}
	if n := fill(t, other+"/f", 15); n != 15 {
		t.Errorf("only %d MiB of the other project fitted", n)
	}
	if n := fill(t, at+"/f", 30); n != 30 {
		t.Errorf("only %d MiB of no project fitted", n)
	}
	u, err := Read(at, 7)
	if err != nil || u.Limit != 20*mib || u.Bytes < 15*mib || u.Bytes > 20*mib || u.Files < 5 {
		t.Errorf("usage: %+v, %v", u, err)
	}
	if err := os.Remove(a + "/f"); err != nil {
		t.Fatal(err)
	}
	if n := fill(t, a+"/g", 10); n != 10 {
		t.Errorf("after a delete only %d MiB fitted", n)
	}
	if err := SetLimit(at, 7, 0); err != nil {
		t.Fatal(err)
	}
	if n := fill(t, a+"/h", 40); n != 40 {
		t.Errorf("without a limit only %d MiB fitted", n)
	}
	if u, err := Read(at, 99); err != nil || u != (Usage{}) {
		t.Errorf("a project that no file has: %+v, %v", u, err)
	}
}

func TestNumberOfFilesIsLimited(t *testing.T) {
	at, err := disk(t)
	if err != nil {
		checkUnsupported(t, at, err)
		return
	}
	dir := newDir(t, at, "d")
	assignTo(t, dir, 7, mib) // 256 files
	for i := range 300 {
		err := os.Mkdir(filepath.Join(dir, string(rune('a'+i%26))+strings.Repeat("x", i/26)), 0o755)
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Error("300 directories fitted into 1 MiB")
}

func TestAssignTree(t *testing.T) {
	at, err := disk(t)
	if err != nil {
		checkUnsupported(t, at, err)
		return
	}
	dir, outside := newDir(t, at, "d"), newDir(t, at, "outside")
	fill(t, outside+"/f", 1)
	fill(t, newDir(t, dir, "x/y")+"/f", 1)
	for _, err := range []error{os.Symlink("../outside", dir+"/link"), os.Symlink("/nowhere", dir+"/dangling"), unix.Mkfifo(dir+"/fifo", 0o600), os.Link(dir+"/x/y/f", dir+"/hard")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	assignTo(t, dir, 7, 20*mib)
	for path, want := range map[string]Project{"/d": 7, "/d/x": 7, "/d/x/y": 7, "/d/x/y/f": 7, "/d/hard": 7, "/outside": 0, "/outside/f": 0} {
		if got, err := Of(at + path); err != nil || got != want {
			t.Errorf("project of %s: %d, %v; expected %d", path, got, err, want)
		}
	}
	same, other := newDir(t, at, "same"), newDir(t, at, "other")
	assignTo(t, same, 7, 20*mib)
	assignTo(t, other, 8, 20*mib)
	if err := os.Link(dir+"/hard", same+"/hard"); err != nil {
		t.Errorf("a hard link within a project: %v", err)
	}
	if err := os.Link(dir+"/hard", other+"/hard"); !errors.Is(err, unix.EXDEV) {
		t.Errorf("a hard link into another project: %v", err)
	}
}

func TestUnsupported(t *testing.T) {
	checkUnsupported(t, "/proc", Supported("/proc"))
	if err := Assign("/proc/self/task", 7); !errors.Is(err, ErrUnsupported) {
		t.Errorf("Assign in /proc: %v", err)
	}
}
