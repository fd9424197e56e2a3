package files

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

// temp is a temporary file beside a target.
type temp struct {
	t    *Tree
	dir  int
	to   string
	name string
	fd   int
	gone bool // renamed

	size int64
	hash hash.Hash
}

func (t *Tree) newTemp(g *target) (*temp, error) {
	var random [8]byte
	rand.Read(random[:])
	p := &temp{
		t:    t,
		dir:  g.dir,
		to:   g.name,
		name: tempPrefix + t.boot + "-" + hex.EncodeToString(random[:]),
		hash: sha256.New(),
	}
	t.journal.enter(g.dirPath)
	err := retry(func() (err error) {
		p.fd, err = unix.Openat(p.dir, p.name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		t.journal.leave()
		return nil, err
	}
	return p, nil
}

// fill writes what src yields.
func (p *temp) fill(ctx context.Context, src Source) error {
	for {
		chunk, err := src(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		p.hash.Write(chunk)
		if err := writeAll(p.fd, chunk); err != nil {
			return err
		}
		p.size += int64(len(chunk))
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func (p *temp) revision() string { return sumOf(p.hash.Sum(nil)) }

// chown gives the file the owner that st has.
func (p *temp) chown(st *unix.Stat_t) error {
	var own unix.Stat_t
	if err := unix.Fstat(p.fd, &own); err != nil {
		return err
	}
	if own.Uid == st.Uid && own.Gid == st.Gid {
		return nil
	}
	return unix.Fchown(p.fd, int(st.Uid), int(st.Gid))
}

// rename puts the file in its target's place.
func (p *temp) rename(flags uint) error {
	var err error
	if flags == 0 {
		err = unix.Renameat(p.dir, p.name, p.dir, p.to)
	} else {
		err = unix.Renameat2(p.dir, p.name, p.dir, p.to, flags)
	}
	p.gone = err == nil
	return err
}

// close closes the file, and removes it unless it was renamed.
func (p *temp) close() {
	unix.Close(p.fd)
	if !p.gone {
		unix.Unlinkat(p.dir, p.name, 0)
	}
	p.t.journal.leave()
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		b = b[max(n, 0):]
	}
	return nil
}

// attributesMax is the most bytes of one extended attribute, and of all names:
// XATTR_SIZE_MAX and XATTR_LIST_MAX of linux/limits.h.
const attributesMax = 64 << 10

// copyAttributes copies extended attributes (access lists among them). Those
// that the agent may not set or that the file system does not have are left out.
func copyAttributes(to, from int) error {
	n, err := unix.Flistxattr(from, nil)
	if err != nil || n == 0 {
		return nil
	}
	list := make([]byte, attributesMax)
	if n, err = unix.Flistxattr(from, list); err != nil {
		return err
	}
	value := make([]byte, attributesMax)
	for _, name := range strings.Split(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		k, err := unix.Fgetxattr(from, name, value)
		if err != nil {
			continue
		}
		err = unix.Fsetxattr(to, name, value[:k], 0)
		if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	return nil
}
