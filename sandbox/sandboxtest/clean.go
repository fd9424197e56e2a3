package sandboxtest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// maxTemp is the most bytes of a directory for temporary files below which a run
// directory is short enough for an embedded containerd.
const maxTemp = 18

// Dir makes a directory with a short path, since unix sockets are put below it,
// and removes it at the test's end.
func Dir(t testing.TB) string {
	t.Helper()
	parent := os.TempDir()
	if len(parent) > maxTemp {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "mt")
	if err != nil {
		t.Fatal(err)
	}
	// A container's root, which is not the host's, passes through it.
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove test directory: %v", err)
		}
	})
	return dir
}

// CheckClean fails the test if a process, a mount or a cgroup is left that has
// to do with the directory, or with the instance (16 digits, or ""). Processes
// that are about to end get a moment for it.
func CheckClean(t testing.TB, dir, instance string) {
	t.Helper()
	var left []string
	Eventually(t, 5*time.Second, func() bool {
		left = append(processesOf(dir), mountsBelow(dir)...)
		if len(instance) >= 8 {
			left = append(left, cgroupsOf(instance[:8])...)
		}
		return len(left) == 0
	}, func() string { return "left behind:\n" + strings.Join(left, "\n") })
}

// Eventually fails the test if ok does not become true in time.
func Eventually(t testing.TB, within time.Duration, ok func() bool, why func() string) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Errorf("not within %s: %s", within, why())
			return
		}
	}
}

// processesOf finds processes, this one apart, that work in dir or name it.
func processesOf(dir string) []string {
	var found []string
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		cwd, _ := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		mounts, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "mountinfo"))
		line := strings.ReplaceAll(string(cmdline), "\x00", " ")
		if strings.Contains(line, dir+"/") || strings.HasPrefix(cwd, dir+"/") ||
			strings.Contains(line, "/.moorage/agent") && strings.Contains(string(mounts), dir+"/") {
			found = append(found, "process "+e.Name()+": "+line)
		}
	}
	return found
}

func mountsBelow(dir string) []string {
	var found []string
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			found = append(found, "mount "+f[4])
		}
	}
	return found
}

func cgroupsOf(instance string) []string {
	v1, _ := filepath.Glob("/sys/fs/cgroup/*/moorage/" + instance + "/m-*")
	v2, _ := filepath.Glob("/sys/fs/cgroup/moorage/" + instance + "/m-*")
	return append(v1, v2...)
}
