package ocispec

import (
	"sort"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"moorage/sandbox"
	"moorage/sandbox/containerd/idmap"
)

// Where the agent finds its things in the container.
const (
	Dir       = "/.moorage"
	AgentPath = Dir + "/agent" // the binary, PID 1
	RunDir    = Dir + "/run"   // holds agent.sock; read-only
	SpoolDir  = Dir + "/spool" // output of commands
)

// Paths are where things are on the host.
type Paths struct {
	Cgroup     string   // absolute in each hierarchy
	Agent      string   // the binary
	Run        string   // directory of the agent's socket
	Spool      string   // directory for the output of commands
	Data       string   // the bot's data
	DataMounts []string // where that is in the container
}

// version is the newest of the specification's that crun 1.8 accepts.
const version = "1.1.0"

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Build yields the specification. imageEnv is the environment that the image
// asks for; the image's user, entrypoint and working directory have no meaning
// here, since PID 1 is the agent. A limit of 0 is none. Without ids there is no
// user namespace.
func Build(imageEnv []string, s sandbox.Spec, p Paths, ids idmap.Range, h Host) *specs.Spec {
	return &specs.Spec{
		Version:  version,
		Root:     &specs.Root{Path: "rootfs"},
		Hostname: string(s.Ref.ID),
		Process:  process(Environment(imageEnv, s.Env), h),
		Mounts:   append(systemMounts(s.Limits), ourMounts(p)...),
		Linux: &specs.Linux{
			CgroupsPath:   p.Cgroup,
			Namespaces:    namespaces(ids),
			UIDMappings:   mappings(ids),
			GIDMappings:   mappings(ids),
			Resources:     resources(s.Limits, h),
			MaskedPaths:   append(maskedPaths(), h.Masked...),
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
			Seccomp:       h.Seccomp,
		},
	}
}

// capabilities of root in the container: Docker's without MKNOD, NET_RAW and
// AUDIT_WRITE, which nothing a bot does there needs.
var capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
	"CAP_NET_BIND_SERVICE", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

func process(env []string, h Host) *specs.Process {
	return &specs.Process{
		Args:            []string{AgentPath},
		Env:             env,
		Cwd:             "/",
		User:            specs.User{UID: 0, GID: 0},
		NoNewPrivileges: true,
		Capabilities: &specs.LinuxCapabilities{
			Bounding: capabilities, Permitted: capabilities, Effective: capabilities,
		},
		Rlimits: []specs.POSIXRlimit{
			{Type: "RLIMIT_NOFILE", Soft: h.NoFile, Hard: h.NoFile},
			{Type: "RLIMIT_CORE", Soft: 0, Hard: 0},
		},
	}
}

// Environment puts asked over image, sorted by name behind the image's own order.
func Environment(image []string, asked map[string]string) []string {
	env := make([]string, 0, len(image)+len(asked)+1)
	hasPath := false
	for _, kv := range image {
		name, _, _ := strings.Cut(kv, "=")
		if _, over := asked[name]; over || name == "" {
			continue
		}
		hasPath = hasPath || name == "PATH"
		env = append(env, kv)
	}
	if _, ok := asked["PATH"]; !ok && !hasPath {
		env = append(env, defaultPath)
	}
	names := make([]string, 0, len(asked))
	for name := range asked {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		env = append(env, name+"="+asked[name])
	}
	return env
}

func namespaces(ids idmap.Range) []specs.LinuxNamespace {
	all := []specs.LinuxNamespace{
		{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
		{Type: specs.MountNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.CgroupNamespace},
	}
	if !ids.IsZero() {
		all = append(all, specs.LinuxNamespace{Type: specs.UserNamespace})
	}
	return all
}

func mappings(ids idmap.Range) []specs.LinuxIDMapping {
	if ids.IsZero() {
		return nil
	}
	return []specs.LinuxIDMapping{{ContainerID: 0, HostID: ids.Base, Size: idmap.Size}}
}

// AgentThreads is what the limit on processes has on top of the bot's own, for
// the threads of the agent: it makes all that it can need at its start.
const AgentThreads = 48

const cpuPeriod = 100_000 // microseconds, the kernel's own default

func resources(l sandbox.Limits, h Host) *specs.LinuxResources {
	r := &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}}
	if l.MemoryMB > 0 {
		limit := l.MemoryMB << 20
		r.Memory = &specs.LinuxMemory{Limit: &limit}
		if h.Swap {
			r.Memory.Swap = &limit // memory and swap together
		}
	}
	if l.CPUs > 0 {
		// The kernel takes no quota under one millisecond.
		quota, period := max(int64(l.CPUs*cpuPeriod), 1000), uint64(cpuPeriod)
		r.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
	}
	if l.PIDs > 0 {
		pids := l.PIDs + AgentThreads
		r.Pids = &specs.LinuxPids{Limit: &pids}
	}
	return r
}

func systemMounts(l sandbox.Limits) []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", shmSize(l)}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		// The agent reads its own limits and counts of oom kills there.
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
	}
}

// shmSize: its pages count as the container's memory, so half of that is no
// danger; 64 MiB, Docker's size, is too little for browsers and databases.
func shmSize(l sandbox.Limits) string {
	if l.MemoryMB <= 0 {
		return "size=64m"
	}
	return "size=" + strconv.FormatInt(max(l.MemoryMB/2, 1), 10) + "m"
}

func ourMounts(p Paths) []specs.Mount {
	mounts := []specs.Mount{
		{Destination: AgentPath, Type: "bind", Source: p.Agent, Options: []string{"bind", "ro", "nosuid", "nodev"}},
		{Destination: RunDir, Type: "bind", Source: p.Run, Options: []string{"bind", "ro", "nosuid", "nodev", "noexec"}},
		{Destination: SpoolDir, Type: "bind", Source: p.Spool, Options: []string{"bind", "rw", "nosuid", "nodev"}},
	}
	for _, at := range p.DataMounts {
		mounts = append(mounts, specs.Mount{Destination: at, Type: "bind", Source: p.Data, Options: []string{"bind", "rw", "nodev"}})
	}
	return mounts
}

func maskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
}
