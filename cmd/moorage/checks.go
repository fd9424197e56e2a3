package main

import (
	"bufio"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"moorage/cmd/moorage/daemon"
	"moorage/cmd/moorage/store"
	"moorage/sandbox"
	"moorage/sandbox/containerd"
	"moorage/sandbox/containerd/idmap"
)

// freeWanted is how much room the durable directory should have.
const freeWanted = 1 << 30

// leastKernel has what the mounts of containers need: idmapped mounts of
// overlayfs came with Linux 5.19, everything else is older.
var leastKernel = [2]int{5, 10}

func checkKernel() finding {
	f := finding{what: "kernel"}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		f.detail, f.advice = err.Error(), "use Linux"
		return f
	}
	f.detail = unix.ByteSliceToString(u.Release[:])
	var major, minor int
	if n, _ := fmt.Sscanf(f.detail, "%d.%d", &major, &minor); n == 2 &&
		(major < leastKernel[0] || major == leastKernel[0] && minor < leastKernel[1]) {
		f.advice = fmt.Sprintf("use Linux %d.%d or newer", leastKernel[0], leastKernel[1])
	}
	return f
}

// checkCgroups looks for the controllers of the limits.
func checkCgroups() finding {
	f := finding{what: "cgroups"}
	need := []string{"memory", "cpu", "pids"}
	var have []string
	if b, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		f.detail, have = "v2", strings.Fields(string(b))
	} else {
		f.detail = "v1"
		for _, c := range need {
			if _, err := os.Stat(filepath.Join("/sys/fs/cgroup", c)); err == nil {
				have = append(have, c)
			}
		}
	}
	missing := slices.DeleteFunc(need, func(c string) bool { return slices.Contains(have, c) })
	f.detail += ", controllers " + strings.Join(have, " ")
	if len(missing) > 0 {
		f.advice = "enable the controllers " + strings.Join(missing, " ") + "; without them no limit can be set"
	}
	return f
}

func checkOverlay() finding {
	f := finding{what: "overlayfs", detail: "in the kernel"}
	b, err := os.ReadFile("/proc/filesystems")
	if err == nil && strings.Contains(string(b), "\toverlay\n") {
		return f
	}
	if exec.Command("modprobe", "overlay").Run() == nil {
		f.detail = "loaded as a module"
		return f
	}
	f.detail, f.advice = "not in the kernel", "load the module: modprobe overlay"
	return f
}

func checkSeccomp() finding {
	f := finding{what: "seccomp", detail: "in the kernel"}
	if _, err := os.Stat("/proc/sys/kernel/seccomp/actions_avail"); err != nil {
		f.detail, f.advice = "not in the kernel", "use a kernel with CONFIG_SECCOMP_FILTER"
	}
	return f
}

func checkRuntime(ctx context.Context, name string) finding {
	f := finding{what: "OCI runtime"}
	path, err := exec.LookPath(name)
	if err != nil {
		f.detail, f.advice = fmt.Sprintf("%s is not on PATH", name), "install it: apt-get install runc, or name another with --oci-runtime"
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		f.detail, f.advice = fmt.Sprintf("%s --version: %v", path, err), "install it anew: apt-get install --reinstall runc"
		return f
	}
	first, _, _ := strings.Cut(string(out), "\n")
	f.detail = fmt.Sprintf("%s, %s", path, first)
	return f
}

func checkAgent(agent string) finding {
	f := finding{what: "agent"}
	path, _, err := binaries(agent)
	if err != nil {
		f.detail, f.advice = err.Error(), "run make build, which makes both"
		return f
	}
	f.detail = path
	if static, err := isStatic(path); err != nil || !static {
		f.detail, f.advice = fmt.Sprintf("%s is no static binary", path), "build it with CGO_ENABLED=0: make build"
	}
	return f
}

// isStatic reports whether a binary needs no dynamic loader.
func isStatic(path string) (bool, error) {
	e, err := elf.Open(path)
	if err != nil {
		return false, err
	}
	defer e.Close()
	return !slices.ContainsFunc(e.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }), nil
}

func checkEngine(address string) finding {
	f := finding{what: "containerd", detail: "embedded"}
	if address == "" {
		return f
	}
	f.detail = address
	if fi, err := os.Stat(address); err != nil || fi.Mode().Type() != os.ModeSocket {
		f.detail, f.advice = address+" is no socket", "start that containerd, or leave --containerd out for the embedded one"
	}
	return f
}

// checkUserns tries what user namespaces need, where the server would.
func (f serverFlags) checkUserns(d daemon.Dirs) finding {
	const plainly = "root in a container is root of the host"
	found := finding{what: "user namespaces"}
	dirs := []string{existing(d.Root)}
	if f.DataRoot != "" {
		dirs = append(dirs, existing(f.DataRoot))
	}
	span, err := idmap.ParseSpan(f.UsernsRange)
	switch {
	case err != nil:
		found.detail, found.advice = err.Error(), "name another --userns-range, or none"
		return found
	case f.Userns == containerd.UsernsOff:
		found.detail, found.advice, found.warn = "off: "+plainly, "leave --userns=off away", true
		return found
	case os.Geteuid() != 0:
		found.detail = "not tried: only root can"
		return found
	}
	run := d.Run
	if f.Containerd != "" {
		run = ""
	}
	found.detail = fmt.Sprintf("host ids %s for root and others in containers, enough for %d bots", span, span.Ranges())
	if err := containerd.CanMap(run, dirs...); err != nil {
		found.detail = fmt.Sprintf("%v: %s", err, plainly)
		found.advice, found.warn = "mend that; they need Linux 5.19 or newer, and a file system such as ext4 or XFS", f.Userns != containerd.UsernsRequire
	}
	return found
}

// existing is a directory, or the nearest one above it that there is.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == "/" {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// checkDir looks at a directory of the server, or where it would be made.
func checkDir(what, dir string) finding {
	f := finding{what: what}
	at := existing(dir)
	free, err := store.Free(at)
	f.detail = fmt.Sprintf("%s, %.1f GB free", dir, float64(free)/1e9)
	if at != dir {
		f.detail += " (made at the first start)"
	}
	switch {
	case err != nil:
		f.detail, f.advice = fmt.Sprintf("%s: %v", dir, err), "choose another with --"+what
	case os.Geteuid() == 0 && tryDir(at) != nil:
		f.advice = fmt.Sprintf("%v; choose another with --%s", tryDir(at), what)
	case what == "root" && free < freeWanted:
		f.advice, f.warn = "make room: at least 1 GB should be free for images and files", true
	}
	return f
}

// tryDir makes a directory there and removes it: whether that works cannot be
// told from the mode, as in /proc.
func tryDir(at string) error {
	dir, err := os.MkdirTemp(at, ".moorage-doctor-")
	if err != nil {
		return err
	}
	return os.Remove(dir)
}

func checkLock(d daemon.Dirs) finding {
	f := finding{what: "server", detail: "none runs on these directories; the first client starts one"}
	for _, dir := range []string{d.Root, d.Run} {
		h, held, err := daemon.FindHolder(dir)
		switch {
		case errors.Is(err, os.ErrPermission) || !held && err == nil:
		case err != nil:
			f.detail, f.advice = err.Error(), "look at "+filepath.Join(dir, "lock")
			return f
		case h.Socket != d.Socket():
			f.detail = fmt.Sprintf("%s is held by moorage serve, pid %d, with the socket %s", dir, h.PID, h.Socket)
			f.advice = "use that server's --root and --run together, or stop it with moorage stop"
			return f
		default:
			f.detail = fmt.Sprintf("runs, pid %d, version %s, since %s", h.PID, h.Version, h.Since.Format(time.DateTime))
		}
	}
	return f
}

func checkBaseImage(image string) finding {
	f := finding{what: "base image", detail: image}
	if image != sandbox.BaseImage {
		f.detail += " (the default image; pulled when it is not in the store)"
		return f
	}
	for _, p := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		if static, err := isStatic(p); err == nil && static {
			f.detail = fmt.Sprintf("%s from %s, %s", image, p, busyboxVersion(p))
			return f
		}
	}
	f.detail, f.advice = image+" is made from a static busybox, and there is none", "apt-get install busybox-static"
	return f
}

func busyboxVersion(path string) string {
	out, err := exec.Command(path, "--help").Output()
	if err != nil {
		return "version not told"
	}
	line := bufio.NewScanner(strings.NewReader(string(out)))
	line.Scan()
	v, _, _ := strings.Cut(line.Text(), " (")
	return v
}
