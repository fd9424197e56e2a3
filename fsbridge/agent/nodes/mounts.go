package nodes

import (
	"bufio"
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lineMax is the most bytes of a line in mountinfo: two paths and more, escaped.
const lineMax = 64 << 10

// Place returns where the node name of an open directory really is: an absolute
// path without symbolic links.
func Place(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(dir), buf)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(string(buf[:n]), "/") + "/" + name, nil
}

// Mounted returns a mount point that the node name of an open directory is or
// that is below it, or "". Without a /proc it knows only of the node itself.
func Mounted(dir int, name string) (string, error) {
	if is, err := isMount(dir, name); is || err != nil {
		return name, err
	}
	path, err := Place(dir, name)
	if err != nil {
		return "", nil
	}
	f, err := os.Open("/proc/self/mountinfo")
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, lineMax)
	for scan.Scan() {
		if at := mountPoint(scan.Text()); at == path || strings.HasPrefix(at, path+"/") {
			return at, nil
		}
	}
	return "", scan.Err()
}

// isMount reports whether a node is the root of a mount, as kernels since 5.8
// tell.
func isMount(dir int, name string) (bool, error) {
	var st unix.Statx_t
	err := retry(func() error {
		return unix.Statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st)
	})
	if errors.Is(err, unix.ENOSYS) {
		return false, nil
	}
	return st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, err
}

// mountPoint is the fifth field of a line of mountinfo, in which a space, a tab,
// a newline, a backslash and # are octal (proc_pid_mountinfo(5)).
func mountPoint(line string) string {
	fields := strings.SplitN(line, " ", 6)
	if len(fields) < 6 {
		return ""
	}
	s := fields[4]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
