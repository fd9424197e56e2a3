package containerd

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"moorage/sandbox/containerd/freezer"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroupDirs are the container's cgroups that exist: one with cgroup v2, one for
// each hierarchy with v1.
func (r *Runtime) cgroupDirs(key string) []string {
	return cgroupsAt(r.cgroupParent() + "/" + key)
}

// cgroupsAt finds them by a path, which may be a pattern.
func cgroupsAt(path string) []string {
	v1, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", path))
	v2, _ := filepath.Glob(filepath.Join(cgroupRoot, path))
	return append(v1, v2...)
}

// thawCgroups lets a container go on that was frozen by its cgroup's files, of
// which containerd does not know. name is its key, or a pattern.
func (r *Runtime) thawCgroups(name string) {
	at := filepath.Join(r.cgroupParent(), name)
	n, err := freezer.ThawAll(filepath.Join(cgroupRoot, "*", at), filepath.Join(cgroupRoot, at))
	if n > 0 || err != nil {
		r.log.Warn("let go on what was left frozen", "key", name, "cgroups", n, "err", err)
	}
}

func (r *Runtime) hasCgroup(key string) bool { return len(r.cgroupDirs(key)) > 0 }

// killCgroup kills every process that is in the container's cgroups, at most for
// clearTimeout: a process in the kernel may take its time.
func (r *Runtime) killCgroup(ctx context.Context, key string) {
	ctx, cancel := context.WithTimeout(ctx, clearTimeout)
	defer cancel()
	for {
		alive := false
		for _, dir := range r.cgroupDirs(key) {
			// A frozen process of v1 dies only when it is thawed.
			os.WriteFile(filepath.Join(dir, "freezer.state"), []byte("THAWED"), 0)
			for _, pid := range processesIn(dir) {
				alive = true
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if !alive || pause(ctx, 2*time.Millisecond) != nil {
			return
		}
	}
}

func processesIn(dir string) []int {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for _, f := range strings.Fields(string(b)) {
		// 0 is a process of another pid namespace: not ours to reach.
		if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// removeCgroup removes a cgroup that has no process; its files go with it.
func removeCgroup(dir string) {
	filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() && path != dir {
			removeCgroup(path)
			return filepath.SkipDir
		}
		return nil
	})
	os.Remove(dir)
}

// removeCgroupDir removes our cgroups' parents where nothing is in them.
func removeCgroupDir(parent string) {
	for _, dir := range cgroupsAt(parent) {
		if os.Remove(dir) == nil {
			os.Remove(filepath.Dir(dir))
		}
	}
}

// purge removes what containerd no longer knows of a task: processes and cgroups
// of it, and runc's record.
func (r *Runtime) purge(ctx context.Context, key string) {
	r.killCgroup(ctx, key)
	state := filepath.Join(r.runcRoot(), r.opts.Namespace, key)
	if _, err := os.Stat(state); err == nil {
		cmd := exec.CommandContext(ctx, r.opts.OCIRuntime, "--root", filepath.Dir(state), "delete", "--force", key)
		if out, err := cmd.CombinedOutput(); err != nil {
			r.log.Warn("remove left task", "key", key, "err", err, "output", string(out[:min(len(out), 400)]))
		}
		if err := os.RemoveAll(state); err != nil {
			r.log.Warn("remove left task", "key", key, "err", err)
		}
	}
	for _, dir := range r.cgroupDirs(key) {
		removeCgroup(dir)
	}
}

// killShim kills the container's shim. containerd clears up when its connection to
// it is gone.
func (r *Runtime) killShim(key string) {
	for _, pid := range r.shims()[key] {
		r.log.Warn("kill a shim that does not do what it is told", "key", key, "pid", pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// killLost kills the shim of a container that has no task: a server was killed
// while it started that shim, and containerd does not know of it. The next one
// would find its socket, and take it for its own.
func (r *Runtime) killLost(key string, shims map[string][]int) {
	for _, pid := range shims[key] {
		r.log.Warn("kill a shim that was left without a task", "key", key, "pid", pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// shims are the processes that are shims of this namespace, which are known by
// their arguments alone, by the key of their container.
func (r *Runtime) shims() map[string][]int {
	found := map[string][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		args, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")) // it may have ended
		_, rest, ok := strings.Cut(string(args), "\x00-namespace\x00"+r.opts.Namespace+"\x00-id\x00")
		if key, _, ended := strings.Cut(rest, "\x00"); ok && ended {
			found[key] = append(found[key], pid)
		}
	}
	return found
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
