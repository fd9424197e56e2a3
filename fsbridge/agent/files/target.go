package files

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// linksMax is how many symbolic links the last name of a path may go through, as
// in the kernel (MAXSYMLINKS of linux/namei.h).
const linksMax = 40

// target is where a write goes: a name in an open directory.
type target struct {
	dir     int
	dirPath string
	name    string
	st      unix.Stat_t // of the directory
	open    bool
	path    bool     // dir is open as a path only: it may be searched but not read
	made    []string // directories that were made for it

	// What is done when the directory does not exist: it is made, unless must is
	// set, then that is an error, or dry, then the target is absent.
	must, dry bool
	absent    bool
}

// locate finds the file that asked leads to, through symbolic links, and opens
// the directory that it is in, or makes it.
func (g *target) locate(op fsbridge.Op, asked fsbridge.Path) error {
	path := string(asked)
	for links := 0; ; links++ {
		if links > linksMax {
			return unix.ELOOP
		}
		g.dirPath, g.name = split(path)
		if g.name == "" || g.name == "." || g.name == ".." {
			return unix.EISDIR
		}
		link, err := readlink(path)
		switch {
		case err == nil && strings.HasPrefix(link, "/"):
			path = link
		case err == nil:
			path = g.dirPath + "/" + link
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
			return g.openDir(op, asked)
		default:
			return err
		}
	}
}

// split takes the last name off a path, as text: "a/../b" stays what the kernel
// makes of it.
func split(path string) (dir, name string) {
	path = strings.TrimRight(path, "/")
	i := strings.LastIndexByte(path, '/')
	dir, name = path[:i+1], path[i+1:]
	if trimmed := strings.TrimRight(dir, "/"); trimmed != "" {
		dir = trimmed
	}
	return dir, name
}

func readlink(path string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink(path, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// locateNode is locate that does not follow a link that asked itself is.
func (g *target) locateNode(op fsbridge.Op, asked fsbridge.Path) error {
	if g.dirPath, g.name = split(string(asked)); g.name == "" {
		return unix.EISDIR
	}
	return g.openDir(op, asked)
}

func (g *target) openDir(op fsbridge.Op, asked fsbridge.Path) error {
	err := g.tryOpen()
	if errors.Is(err, unix.ENOENT) && !g.must {
		if kernel := kernelAbove(g.dirPath + "/."); kernel != "" {
			return notMade(op, asked, kernel)
		}
		if g.absent = g.dry; g.absent {
			return nil
		}
		if err = g.makeDirs(g.dirPath); err == nil {
			err = g.tryOpen()
		}
	}
	return err
}

func (g *target) tryOpen() (err error) {
	const flags = unix.O_DIRECTORY | unix.O_CLOEXEC
	g.dir, err = unix.Open(g.dirPath, unix.O_RDONLY|flags, 0)
	if errors.Is(err, unix.EACCES) {
		g.path = true
		g.dir, err = unix.Open(g.dirPath, unix.O_PATH|flags, 0)
	}
	if err != nil {
		return err
	}
	g.open = true
	return unix.Fstat(g.dir, &g.st)
}

// makeDirs makes a directory and those above it.
func (g *target) makeDirs(dir string) error {
	err := unix.Mkdir(dir, newDirMode)
	if errors.Is(err, unix.ENOENT) {
		parent, name := split(dir)
		if name == "" {
			return err
		}
		if err := g.makeDirs(parent); err != nil {
			return err
		}
		err = unix.Mkdir(dir, newDirMode)
	}
	switch {
	case errors.Is(err, unix.EEXIST): // by another; if it is no directory, the open says so
		return nil
	case err != nil:
		return err
	}
	g.made = append(g.made, dir)
	return nil
}

// place is what the target's lock is of.
func (g *target) place() place {
	if g.absent {
		return place{name: g.dirPath + "/" + g.name}
	}
	return placeOf(&g.st, g.name)
}

// sync makes the names durable: the one in the directory, and those of the
// directories that were made.
func (g *target) sync() error {
	for _, dir := range g.made {
		parent, _ := split(dir)
		d, err := openDir(parent)
		if err != nil {
			continue // it can be searched but not read
		}
		err = syncFile(int(d.Fd()))
		d.Close()
		if err != nil {
			return err
		}
	}
	if g.path {
		return nil
	}
	return syncFile(g.dir)
}

// close closes the directory. After an error the directories that were made are
// removed, unless somebody uses them.
func (g *target) close(err error) {
	if g.open {
		unix.Close(g.dir)
	}
	if err == nil {
		return
	}
	for i := len(g.made) - 1; i >= 0; i-- {
		unix.Rmdir(g.made[i])
	}
}

// syncFile is fsync; a file system that has none is as good as synced.
func syncFile(fd int) error {
	err := retry(func() error { return unix.Fsync(fd) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}
