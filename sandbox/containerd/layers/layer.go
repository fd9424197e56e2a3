package layers

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	depthMax = 2048     // names in a path
	pathMax  = 32 << 10 // bytes of a path
	// stepMax is the most bytes of a path that one system call is given: less
	// than PATH_MAX of linux/limits.h.
	stepMax = 4000
)

// ErrLimit is wrapped by errors about a bound: of this package or the caller's.
var ErrLimit = errors.New("limit exceeded")

// ErrUnsupported is wrapped where something cannot be handled at all.
var ErrUnsupported = errors.New("unsupported")

// layer is an open layer directory.
type layer struct {
	dir   string // for messages
	fd    int    // O_PATH
	id    id
	plain bool // whiteouts and overlayfs attributes mean nothing here
}

// id is which node it is.
type id struct{ dev, ino uint64 }

func idOf(st *unix.Stat_t) id { return id{uint64(st.Dev), st.Ino} }

func openLayer(dir string) (*layer, error) {
	var st unix.Stat_t
	fd := -1
	err := retry(func() (err error) {
		fd, err = unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "open layer", Path: dir, Err: err}
	}
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "stat layer", Path: dir, Err: err}
	}
	return &layer{dir: dir, fd: fd, id: idOf(&st)}, nil
}

func (l *layer) close() {
	if l.fd >= 0 {
		unix.Close(l.fd)
		l.fd = -1
	}
}

// openAt opens a path below dir, which no symbolic link, mount or ".." leads
// away from.
func openAt(dir int, path string, flags int, mode uint32) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NOCTTY | unix.O_NONBLOCK),
		Mode:    uint64(mode),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	if flags&unix.O_PATH != 0 { // takes no others
		how.Flags = uint64(flags | unix.O_NOFOLLOW | unix.O_CLOEXEC)
	}
	err = retry(func() (err error) {
		fd, err = unix.Openat2(dir, path, &how)
		return err
	})
	return fd, err
}

// openDir opens a directory of the layer for reading; "" is the top.
func (l *layer) openDir(path string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY
	if path == "" {
		return openAt(l.fd, ".", flags, 0)
	}
	at := l.fd
	for {
		step := path
		if len(path) > stepMax {
			step = path[:strings.LastIndexByte(path[:stepMax], '/')]
		}
		fd, err := openAt(at, step, flags, 0)
		if at != l.fd {
			unix.Close(at)
		}
		if err != nil || len(step) == len(path) {
			return fd, err
		}
		at, path = fd, path[len(step)+1:]
	}
}

// retry calls f again while a signal interrupts it.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// readNames returns the sorted names of an open directory.
func readNames(fd int) ([]string, error) {
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		return nil, err
	}
	var names []string
	buf := make([]byte, 16<<10)
	for {
		n := 0
		err := retry(func() (err error) {
			n, err = unix.Getdents(fd, buf)
			return err
		})
		if errors.Is(err, unix.ENOENT) { // it was removed meanwhile
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			slices.Sort(names)
			return slices.Compact(names), nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// join is the path of a name in a directory.
func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// checkPath says whether a path is within what can be walked.
func checkPath(path string) error {
	if len(path) > pathMax || strings.Count(path, "/") >= depthMax {
		return fmt.Errorf("%w: %.80q... is a path of %d bytes and %d names; at most %d and %d can be handled",
			ErrLimit, path, len(path), strings.Count(path, "/")+1, pathMax, depthMax)
	}
	return nil
}
