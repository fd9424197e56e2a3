package swaproot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrBusy: something in the container stands on its root filesystem, so that it
// cannot be replaced while it runs.
var ErrBusy = errors.New("it is not quiet")

// Bounds of what a quiet agent has.
const (
	maxThreads = 512
	maxFiles   = 4096
	maxMaps    = 1 << 20 // bytes of /proc/<pid>/maps
)

// Quiet returns nil if nothing but the agent runs in a container, and the agent
// has nothing on its root filesystem but "/" as root and working directory: no
// file open or mapped (its own executable lies on a mount of its own). Else the
// error wraps ErrBusy and says what there is; any other error means that it could
// not be looked at.
//
// agent is the host's number of the agent's process. procs lists the processes
// (host's numbers) in the container's cgroups; it is called first and, since one
// may come while the rest is looked at, last.
//
// It holds for the moment: the agent must be kept from beginning anything, or be
// frozen, until Swap is done.
func Quiet(agent int, procs func() ([]int, error)) error {
	q := quiet{agent: agent, dir: fmt.Sprintf("/proc/%d", agent)}
	for _, look := range []func() error{
		func() error { return q.alone(procs) }, q.mounts, q.executable, q.threads, q.files, q.maps,
		func() error { return q.alone(procs) },
	} {
		if err := look(); err != nil {
			return fmt.Errorf("look whether process %d can get another root: %w", agent, err)
		}
	}
	return nil
}

// quiet is one look at a container.
type quiet struct {
	agent int
	dir   string // of the agent in /proc
	table mountTable
	root  place

	exe   place
	exeAt string
	moved map[uint64]bool // all mounts of its namespace
}

func busy(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrBusy}, args...)...)
}

// alone: the cgroups hold the agent and no one else.
func (q *quiet) alone(procs func() ([]int, error)) error {
	pids, err := procs()
	if err != nil {
		return fmt.Errorf("list its processes: %w", err)
	}
	found := false
	for _, pid := range pids {
		if pid != q.agent {
			return busy("process %d (%s) runs in it", pid, nameOf(pid))
		}
		found = true
	}
	if !found {
		return errors.New("it is not in the container's cgroups: has it ended?")
	}
	return nil
}

// nameOf is what a process calls itself.
func nameOf(pid int) string {
	name, err := readBounded(fmt.Sprintf("/proc/%d/comm", pid), 64)
	if err != nil {
		return "ended"
	}
	return strings.TrimSpace(name)
}

func (q *quiet) mounts() (err error) {
	if q.table, err = readMounts(q.agent); err != nil {
		return err
	}
	q.moved = make(map[uint64]bool, len(q.table.all))
	for _, m := range q.table.all {
		q.moved[m.id] = true
	}
	q.root, err = placeOf(q.dir + "/root")
	return err
}

// executable: it is on a mount that is moved.
func (q *quiet) executable() (err error) {
	if q.exe, err = placeOf(q.dir + "/exe"); err != nil {
		return err
	}
	if q.exeAt, err = os.Readlink(q.dir + "/exe"); err != nil {
		return err
	}
	if q.exe.mount == q.root.mount || !q.moved[q.exe.mount] {
		return busy("its executable %.200q lies on the root filesystem", q.exeAt)
	}
	return nil
}

// threads: the root of each is the namespace's, its working directory that too or
// on another mount.
func (q *quiet) threads() error {
	tids, err := list(q.dir+"/task", maxThreads)
	if err != nil {
		return err
	}
	for _, tid := range tids {
		for _, what := range []string{"root", "cwd"} {
			link := filepath.Join(q.dir, "task", tid, what)
			at, err := placeOf(link)
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
				continue // the thread has ended
			}
			if err != nil {
				return fmt.Errorf("find %s of thread %s: %w", what, tid, err)
			}
			isRoot := at.mount == q.root.mount && at.ino == q.root.ino
			elsewhere := what == "cwd" && at.mount != q.root.mount && q.moved[at.mount]
			if !isRoot && !elsewhere {
				return busy("the %s of thread %s is %s", what, tid, target(link))
			}
		}
	}
	return nil
}

// files: none is open on the root filesystem, or on one that is no longer
// mounted. Sockets, pipes and devices are on mounts of the kernel or the host.
func (q *quiet) files() error {
	fds, err := list(q.dir+"/fd", maxFiles)
	if err != nil {
		return err
	}
	for _, fd := range fds {
		link := filepath.Join(q.dir, "fd", fd)
		at, err := placeOf(link)
		if errors.Is(err, os.ErrNotExist) {
			continue // closed meanwhile
		}
		if err != nil {
			return fmt.Errorf("find file %s: %w", fd, err)
		}
		file := at.dir() || at.kind() == unix.S_IFREG || at.kind() == unix.S_IFLNK
		if at.mount == q.root.mount || file && !q.moved[at.mount] {
			return busy("file %s is open: %s", fd, target(link))
		}
	}
	return nil
}

// maps: the executable is the only file that is mapped. Paths are compared, and
// not devices: file systems that number their own (btrfs) tell others here.
func (q *quiet) maps() error {
	text, err := readBounded(q.dir+"/maps", maxMaps)
	if err != nil {
		return fmt.Errorf("read its mappings: %w", err)
	}
	for line := range strings.Lines(text) {
		f := strings.Fields(line) // range mode offset device inode path
		if len(f) < 5 {
			return fmt.Errorf("read its mappings: %.200q is no line of maps", line)
		}
		if f[4] == "0" {
			continue
		}
		_, path, _ := strings.Cut(line, f[4])
		if path = unescape(strings.TrimSpace(path)); path != q.exeAt || f[4] != fmt.Sprint(q.exe.ino) {
			return busy("%.200q is mapped", path)
		}
	}
	return nil
}

// list reads the names in a directory of /proc, or fails if there are too many.
func list(dir string, most int) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(most + 1)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dir, err)
	}
	if len(names) > most {
		return nil, busy("more than %d entries are in %s", most, dir)
	}
	return names, nil
}

func target(link string) string {
	path, err := os.Readlink(link)
	if err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%.200q", path)
}
