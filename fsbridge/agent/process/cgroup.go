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
	pidsFiles = []string{"/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"}
)

// oomCounter counts the kills for want of memory in the container, as the kernel
// does. Where that cannot be read it stays 0.
type oomCounter struct{ fd int }

func (o *oomCounter) open() {
	for _, path := range oomFiles {
		if fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			o.fd = fd
			return
		}
	}
	o.fd = -1
}

func (o *oomCounter) read() int64 {
	if o.fd < 0 {
		return 0
	}
	var buf [512]byte
	n, err := unix.Pread(o.fd, buf[:], 0)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(buf[:n]) {
		if value, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
			count, _ := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
			return count
		}
	}
	return 0
}

func (o *oomCounter) close() {
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
