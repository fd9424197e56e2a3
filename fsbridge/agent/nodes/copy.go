package nodes

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// linksMax is how many files with several names a Copy remembers; further
	// ones become files of their own.
	linksMax = 100_000
	// syncEach is up to how many nodes each is synced by itself; more are synced
	// with their whole file system at the end.
	syncEach = 64
)

// Copy copies the node name of the directory from to the name as of the
// directory to, where nothing is, with all that is in it, but not more than limit
// nodes: regular files with their holes, directories, links, FIFOs, sockets and
// devices; mode, owner, times and extended attributes; hard links within. What
// was copied is durable then, but for the name as. After an error, which is as
// that of Remove, a part may be there, which is the caller's to remove.
func Copy(ctx context.Context, from int, name string, to int, as string, limit int64) (int64, error) {
	c := &copier{ctx: ctx, from: from, to: to, limit: limit}
	c.src.fd, c.dst.fd = from, to
	defer c.src.close()
	defer c.dst.close()
	err := c.node(name, as)
	for err == nil && len(c.levels) > 0 {
		err = c.step()
	}
	if err == nil && c.count > syncEach {
		err = syncAll(to, as)
	}
	return c.count, err
}

// syncAll syncs the file system of a node.
func syncAll(dir int, name string) error {
	fd, err := openDir(dir, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Syncfs(fd)
}

// copier is one Copy under way: two cursors that walk side by side.
type copier struct {
	ctx      context.Context
	from, to int
	src, dst cursor
	levels   []copyLevel
	links    map[id]string // where a file with several names went
	count    int64
	limit    int64
}

// copyLevel is a directory on the way.
type copyLevel struct {
	st     unix.Stat_t
	cookie int64    // where reading goes on, as the kernel tells
	dirs   []string // directories that come next
}

// step goes on with the directory where the copier is.
func (c *copier) step() error {
	top := &c.levels[len(c.levels)-1]
	if len(top.dirs) == 0 {
		more, err := c.fill(top)
		if err != nil || more && len(top.dirs) == 0 {
			return err
		}
	}
	if n := len(top.dirs); n > 0 {
		next := top.dirs[n-1]
		top.dirs = top.dirs[:n-1]
		return c.node(next, next)
	}
	return c.leave(top)
}

// fill reads some names, copies those that are no directories and notes the
// others. It reports whether there may be more.
func (c *copier) fill(top *copyLevel) (more bool, err error) {
	d, err := openDir(c.src.fd, ".")
	if err != nil {
		return false, c.failed("", err)
	}
	defer unix.Close(d)
	if _, err := unix.Seek(d, top.cookie, 0); err != nil {
		return false, c.failed("", err)
	}
	buf := make([]byte, 8<<10)
	n := 0
	err = retry(func() (err error) {
		n, err = unix.Getdents(d, buf)
		return err
	})
	if err != nil {
		return false, c.failed("", err)
	}
	if n == 0 {
		return false, nil
	}
	_, _, names := unix.ParseDirent(buf[:n], -1, nil)
	if top.cookie, err = unix.Seek(d, 0, 1); err != nil {
		return false, c.failed("", err)
	}
	for _, name := range names {
		var st unix.Stat_t
		err := unix.Fstatat(c.src.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		switch {
		case errors.Is(err, unix.ENOENT):
		case err != nil:
			return false, c.failed(name, err)
		case st.Mode&unix.S_IFMT == unix.S_IFDIR:
			top.dirs = append(top.dirs, name)
		default:
			if err := c.node(name, name); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// node copies a node; of a directory it makes the copy and goes into both.
func (c *copier) node(name, as string) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if c.count >= c.limit {
		return ErrLimit
	}
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstatat(c.src.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err == nil {
		c.count++
		switch kind := st.Mode & unix.S_IFMT; {
		case kind == unix.S_IFDIR:
			err = c.enter(name, as)
		case st.Nlink > 1 && c.link(&st, as):
		case kind == unix.S_IFREG:
			err = c.file(name, as)
		default:
			err = c.special(name, as, &st)
		}
	}
	var own *Error
	if err != nil && c.ctx.Err() == nil && !errors.As(err, &own) {
		err = c.failed(name, err)
	}
	return err
}

// link makes another name of a file that was copied before, if it was.
func (c *copier) link(st *unix.Stat_t, as string) bool {
	key := id{uint64(st.Dev), st.Ino}
	if first, ok := c.links[key]; ok {
		return unix.Linkat(c.to, first, c.dst.fd, as, 0) == nil
	}
	path := strings.Join(append(c.dst.names[:len(c.dst.names):len(c.dst.names)], as), "/")
	if len(c.links) < linksMax && len(path) < unix.PathMax {
		if c.links == nil {
			c.links = make(map[id]string)
		}
		c.links[key] = path
	}
	return false
}

// enter makes a directory and goes there. It is closed to others until it is
// whole.
func (c *copier) enter(name, as string) error {
	if err := retry(func() error { return unix.Mkdirat(c.dst.fd, as, 0o700) }); err != nil {
		return err
	}
	if err := c.src.down(name); err != nil {
		return err
	}
	if err := c.dst.down(as); err != nil {
		return err
	}
	c.levels = append(c.levels, copyLevel{})
	return unix.Fstat(c.src.fd, &c.levels[len(c.levels)-1].st)
}

// leave finishes a directory and goes up.
func (c *copier) leave(top *copyLevel) error {
	_, err := CopyAttributes(c.dst.fd, c.src.fd)
	if err == nil {
		err = dress(c.dst.fd, &top.st)
	}
	if err == nil && c.count <= syncEach {
		err = syncFile(c.dst.fd)
	}
	if err == nil {
		_, err = c.src.up(c.from)
	}
	if err == nil {
		_, err = c.dst.up(c.to)
	}
	c.levels = c.levels[:len(c.levels)-1]
	if err != nil {
		return c.failed("", err)
	}
	return nil
}

// special copies what is neither a file nor a directory.
func (c *copier) special(name, as string, st *unix.Stat_t) error {
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Mknodat(c.dst.fd, as, st.Mode&unix.S_IFMT|0o600, int(st.Rdev)); err != nil {
			return err
		}
		return dressAt(c.dst.fd, as, st)
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(c.src.fd, name, buf)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(string(buf[:n]), c.dst.fd, as); err != nil {
		return err
	}
	return dressAt(c.dst.fd, as, st)
}

func (c *copier) failed(name string, err error) error { return fault(c.src.names, name, err) }

// syncFile is fsync; a file system that has none is as good as synced.
func syncFile(fd int) error {
	err := retry(func() error { return unix.Fsync(fd) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}
