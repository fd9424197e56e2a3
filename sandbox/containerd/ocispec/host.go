package ocispec

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Host is what the specification depends on of the machine.
type Host struct {
	NoFile  uint64   // open files that a process may have
	Swap    bool     // the kernel counts swap, so that it can be limited
	Masked  []string // paths to hide beside the usual ones
	Seccomp *specs.LinuxSeccomp
}

// maxNoFile is enough for databases and file watchers, and few enough for old
// programs that close every possible descriptor.
const maxNoFile = 65536

// HostFacts looks at this machine.
func HostFacts() (Host, error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return Host{}, fmt.Errorf("get limit of open files: %w", err)
	}
	h := Host{NoFile: min(maxNoFile, lim.Max), Swap: countsSwap()}
	// Temperatures by CPU tell of other containers' work (GHSA-6fw5-f8r9-fgfm).
	h.Masked, _ = filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle")
	sort.Strings(h.Masked)
	// The profile depends on kernel, architecture and capabilities.
	h.Seccomp = seccomp.DefaultProfile(&specs.Spec{Process: &specs.Process{
		Capabilities: &specs.LinuxCapabilities{Bounding: capabilities},
	}})
	return h, nil
}

// countsSwap: on cgroup v1 the files of swap accounting are there; on v2 it is
// there whenever the kernel has swap at all.
func countsSwap() bool {
	var fs unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &fs); err == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
		_, err := os.Stat("/proc/swaps")
		return err == nil
	}
	_, err := os.Stat("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
	return err == nil
}
