package quota

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// linux/fs.h: FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR, and the flag by which a
// directory hands its project on.
const (
	getAttributes  = 0x801c581f
	setAttributes  = 0x401c5820
	projectInherit = 0x200
)

// attributes is struct fsxattr.
type attributes struct {
	Flags, ExtentSize, Extents, Project, CowExtentSize uint32
	_                                                  [8]byte
}

// Of is the project of a file or directory.
func Of(path string) (Project, error) {
	f, err := os.OpenFile(path, openFlags, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	a, err := read(f)
	return Project(a.Project), err
}

// openFlags never wait for the other end of a FIFO.
const openFlags = os.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK

// Assign makes dir, and all that is or will be in it, part of a project. It is
// quick if dir is that already. Links, devices, sockets and FIFOs that are there
// already keep theirs. A bot may change what is in dir meanwhile: nothing outside
// of dir is touched.
func Assign(dir string, p Project) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	top, err := root.Open(".")
	if err != nil {
		return err
	}
	defer top.Close()
	a, err := read(top)
	if err != nil || Project(a.Project) == p && a.Flags&projectInherit != 0 {
		return err
	}
	// The top is the last: it tells that the rest is done.
	err = fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil || path == "." || !e.IsDir() && !e.Type().IsRegular():
			return err
		}
		return assignEntry(root, path, p)
	})
	if err != nil {
		return err
	}
	return assign(top, p)
}

func assignEntry(root *os.Root, path string, p Project) error {
	f, err := root.OpenFile(path, openFlags, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ELOOP) {
		return nil // deleted or replaced meanwhile
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return assign(f, p)
}

func assign(f *os.File, p Project) error {
	a, err := read(f)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	a.Project = uint32(p)
	if fi.IsDir() {
		a.Flags |= projectInherit
	}
	return control(f, setAttributes, &a)
}

func read(f *os.File) (attributes, error) {
	var a attributes
	err := control(f, getAttributes, &a)
	return a, err
}

func control(f *os.File, request uintptr, a *attributes) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(a)))
	switch errno {
	case 0:
		return nil
	case unix.ENOTTY, unix.EOPNOTSUPP:
		return fmt.Errorf("%w in %s: files have no projects there", ErrUnsupported, f.Name())
	default:
		return fmt.Errorf("project of %s: %w", f.Name(), errno)
	}
}
