package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Where a container sees its own control group: version 2, then 1.
var (
	oomFiles  = []string{"/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"}
	forkFiles = []string{"/sys/fs/cgroup/pids.events", "/sys/fs/cgroup/pids/pids.events"}
	pidsFiles = []string{"/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"}
)

// counters count how often the container's limits were met.
type counters struct{ oom, forks counter }

// met is what they have counted: kills for want of memory, and forks that the
// limit of processes refused.
type met struct{ oom, forks int64 }

func (c *counters) open() {
	c.oom.open("oom_kill ", oomFiles)
	c.forks.open("max ", forkFiles)
}

func (c *counters) read() met { return met{c.oom.read(), c.forks.read()} }

func (c *counters) close() {
	c.oom.close()
	c.forks.close()
}

// counter is one number that the kernel keeps of the container. Where it cannot
// be read it stays 0.
type counter struct {
	fd  int
	key string
}

func (o *counter) open(key string, files []string) {
	o.key, o.fd = key, -1
	for _, path := range files {
		if fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			o.fd = fd
			return
		}
	}
}

func (o *counter) read() int64 {
	if o.fd < 0 {
		return 0
	}
	var buf [512]byte
	n, err := unix.Pread(o.fd, buf[:], 0)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(buf[:n]) {
		if value, ok := bytes.CutPrefix(line, []byte(o.key)); ok {
			count, _ := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
			return count
		}
	}
	return 0
}

func (o *counter) close() {
	if o.fd >= 0 {
		unix.Close(o.fd)
		o.fd = -1
	}
}

// pidsLimit says which limit a fork has met.
func pidsLimit() string {
	for _, path := range pidsFiles {
		if b, err := os.ReadFile(path); err == nil {
			if limit := strings.TrimSpace(string(b)); limit != "max" {
				return fmt.Sprintf("the container's pids limit of %s processes and threads is reached", limit)
			}
		}
	}
	return "a limit of processes (pids) is reached"
}
