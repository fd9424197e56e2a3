package rootmount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"moorage/sandbox/containerd/idmap"
)

// overlay is an overlay mount as a snapshotter describes it.
type overlay struct {
	lower       []string // topmost first
	upper, work string   // "" for one that cannot be written to
	rest        []string // options such as index=off, as they came
	dir         string   // the snapshots' directory: <dir>/<number>/fs are layers
}

func parseOverlay(options []string) (overlay, error) {
	var o overlay
	for _, option := range options {
		switch key, value, _ := strings.Cut(option, "="); key {
		case "lowerdir":
			o.lower = strings.Split(value, ":")
		case "upperdir":
			o.upper = value
		case "workdir":
			o.work = value
		case "ro", "rw", "uidmap", "gidmap":
		default:
			o.rest = append(o.rest, option)
		}
	}
	if len(o.lower) == 0 {
		return o, fmt.Errorf("overlay options %.200q name no lowerdir", options)
	}
	first := o.upper
	if first == "" {
		first = o.lower[0]
	}
	o.dir = filepath.Dir(filepath.Dir(first))
	return o, nil
}

// mount makes it with the directories taken from an idmapped clone of their
// parent. The clone is mounted for that moment only: overlayfs keeps clones of its
// own of each layer.
func (o overlay) mount(m *idmap.Map, tmp string, ways ...way) (*os.File, error) {
	short, err := o.relative(m.Range())
	if err != nil {
		return nil, err
	}
	dir := o.dir
	if m != nil {
		if err := m.Mount(dir, tmp); err != nil {
			return nil, err
		}
		dir = tmp
	}
	return onThread(func() (*os.File, error) {
		if err := workIn(dir, m.Range()); err != nil {
			return nil, err
		}
		f, err := short.first(ways, tmp)
		if err != nil {
			return nil, err
		}
		return o.checked(f)
	})
}

// way is how an overlay is made, with its directories relative to the thread's.
type way func(o overlay, tmp string) (*os.File, error)

// first tries one way after the other, as long as the kernel is too old for it.
func (o overlay) first(ways []way, tmp string) (f *os.File, err error) {
	for _, w := range ways {
		if f, err = w(o, tmp); !errors.Is(err, errOld) && !errors.Is(err, unix.ENOSYS) {
			break
		}
	}
	return f, err
}

// relative names all directories by their path from o.dir, which is short and
// tells whoever reads a container's mountinfo nothing of the host. One that is
// elsewhere keeps its name, but has no part in a mapping.
func (o overlay) relative(ids idmap.Range) (overlay, error) {
	var errs []error
	short := func(path string) string {
		if path == "" {
			return ""
		}
		rel, err := filepath.Rel(o.dir, path)
		if err == nil && filepath.IsLocal(rel) {
			return rel
		}
		if !ids.IsZero() {
			errs = append(errs, fmt.Errorf("layer %s is not below %s: its ids cannot be mapped", path, o.dir))
		}
		return path
	}
	lower := make([]string, len(o.lower))
	for i, l := range o.lower {
		lower[i] = short(l)
	}
	o.lower, o.upper, o.work = lower, short(o.upper), short(o.work)
	return o, errors.Join(errs...)
}

// errOld is of a kernel that takes layers only in one string.
var errOld = errors.New("the kernel has no lowerdir+ option of overlayfs")

// byLayers makes it with fsopen, layer by layer.
func (o overlay) byLayers(string) (*os.File, error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open overlayfs: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", "overlay"); err != nil {
		return nil, fmt.Errorf("configure overlayfs: %w", err)
	}
	for i, l := range o.lower {
		switch err := unix.FsconfigSetString(fs, "lowerdir+", l); {
		case err != nil && i == 0 && errors.Is(err, unix.EINVAL):
			return nil, errOld
		case err != nil:
			return nil, fmt.Errorf("add layer %s, number %d of %d: %w%s", l, i+1, len(o.lower), err, kernelSays(fs))
		}
	}
	for _, option := range append(o.writable(), o.rest...) {
		if err := setOption(fs, option); err != nil {
			return nil, fmt.Errorf("set overlayfs option %s: %w%s", option, err, kernelSays(fs))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("mount overlayfs of %d layers: %w%s", len(o.lower), err, kernelSays(fs))
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("mount overlayfs of %d layers: %w", len(o.lower), err)
	}
	return os.NewFile(uintptr(fd), "overlay"), nil
}

func (o overlay) writable() []string {
	if o.upper == "" {
		return nil
	}
	return []string{"upperdir=" + o.upper, "workdir=" + o.work}
}

func setOption(fs int, option string) error {
	key, value, valued := strings.Cut(option, "=")
	if valued {
		return unix.FsconfigSetString(fs, key, value)
	}
	return unix.FsconfigSetFlag(fs, key)
}

// kernelSays is the last of the messages that the kernel has for us.
func kernelSays(fs int) string {
	buf := make([]byte, 1024)
	last := ""
	for range 16 {
		n, err := unix.Read(fs, buf)
		if err != nil || n <= 0 {
			break
		}
		last = ": " + strings.TrimSpace(string(buf[:n]))
	}
	return last
}

// byString makes it with mount(2) at the directory tmp, over whatever is mounted
// there, and takes it from there.
func (o overlay) byString(tmp string) (*os.File, error) {
	options := append(append(o.writable(), "lowerdir="+strings.Join(o.lower, ":")), o.rest...)
	if err := unix.Mount("overlay", tmp, "overlay", 0, strings.Join(options, ",")); err != nil {
		return nil, fmt.Errorf("mount overlayfs of %d layers: %w", len(o.lower), err)
	}
	return take(tmp, nil, func() error { return idmap.Unmount(tmp) })
}

// checked refuses an overlay that the kernel has made read-only, since it could
// not make its work directory.
func (o overlay) checked(f *os.File) (*os.File, error) {
	var s unix.Statfs_t
	err := unix.Fstatfs(int(f.Fd()), &s)
	if err == nil && o.upper != "" && s.Flags&unix.ST_RDONLY != 0 {
		err = fmt.Errorf("overlayfs of %s is read-only: the kernel cannot write there with other ids", filepath.Join(o.dir, o.upper))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
