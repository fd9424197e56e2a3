package swaproot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Bounds of what is read of a container.
const (
	maxMountinfo = 4 << 20
	maxMounts    = 4096 // of one namespace
)

// mountPoint is a line of mountinfo.
type mountPoint struct {
	id, parent uint64
	at         string // in the namespace
	shared     bool   // it propagates mounts
}

// mountTable is a mount namespace.
type mountTable struct {
	root uint64 // the mount at "/" that processes see
	all  []mountPoint
}

// readMounts reads the mounts of a process's namespace, whose root directory has
// to be the namespace's. It reads on the host: within the container, /proc is
// another one.
func readMounts(pid int) (mountTable, error) {
	text, err := readBounded(fmt.Sprintf("/proc/%d/mountinfo", pid), maxMountinfo)
	if err != nil {
		return mountTable{}, fmt.Errorf("read mounts: %w", err)
	}
	var t mountTable
	for line := range strings.Lines(text) {
		m, err := parseMount(line)
		if err != nil {
			return mountTable{}, err
		}
		if t.all = append(t.all, m); len(t.all) > maxMounts {
			return mountTable{}, fmt.Errorf("read mounts: more than %d", maxMounts)
		}
	}
	at, err := placeOf(fmt.Sprintf("/proc/%d/root", pid))
	if err != nil {
		return mountTable{}, fmt.Errorf("find root directory: %w", err)
	}
	t.root = at.mount
	if m, ok := t.find(t.root); !ok || m.at != "/" || !at.top {
		return mountTable{}, errors.New("its root directory is not that of its mount namespace")
	}
	return t, nil
}

func (t *mountTable) find(id uint64) (mountPoint, bool) {
	for _, m := range t.all {
		if m.id == id {
			return m, true
		}
	}
	return mountPoint{}, false
}

// parseMount parses "ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAG...] - ...".
func parseMount(line string) (m mountPoint, err error) {
	head, _, ok := strings.Cut(line, " - ")
	f := strings.Fields(head)
	if !ok || len(f) < 6 {
		return m, fmt.Errorf("read mounts: %.200q is no line of mountinfo", line)
	}
	m.id, err = strconv.ParseUint(f[0], 10, 64)
	if err == nil {
		m.parent, err = strconv.ParseUint(f[1], 10, 64)
	}
	if err != nil {
		return m, fmt.Errorf("read mounts: %w", err)
	}
	m.at = unescape(f[4])
	for _, tag := range f[6:] {
		m.shared = m.shared || strings.HasPrefix(tag, "shared:")
	}
	return m, nil
}

// unescape undoes the kernel's \ooo for space, tab, newline and backslash.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// place is where a file is.
type place struct {
	mount uint64
	ino   uint64
	mode  uint16
	top   bool // it is the mount's own root
}

func (p place) kind() uint16 { return p.mode & unix.S_IFMT }
func (p place) dir() bool    { return p.kind() == unix.S_IFDIR }

// placeOf follows path, which is a link of /proc.
func placeOf(path string) (place, error) { return statPlace(unix.AT_FDCWD, path, 0) }

func placeOfFD(fd int) (place, error) { return statPlace(fd, "", unix.AT_EMPTY_PATH) }

func statPlace(fd int, path string, flags int) (place, error) {
	var st unix.Statx_t
	const want = unix.STATX_TYPE | unix.STATX_INO | unix.STATX_MNT_ID
	err := unix.Statx(fd, path, flags|unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, want, &st)
	if err != nil {
		return place{}, err
	}
	if st.Mask&unix.STATX_MNT_ID == 0 || st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return place{}, errors.New("the kernel does not tell mounts of files: Linux 5.8 is needed")
	}
	return place{mount: st.Mnt_id, ino: st.Ino, mode: st.Mode, top: st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0}, nil
}

// readBounded reads a file of /proc whole, or fails.
func readBounded(path string, limit int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return string(b), err
}
