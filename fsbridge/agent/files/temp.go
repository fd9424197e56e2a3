package files

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
	"moorage/fsbridge/agent/nodes"
)

// temp is a temporary file beside a target.
type temp struct {
	t    *Tree
	dir  int
	to   string
	name string
	fd   int
	gone bool // renamed

	own        *unix.Stat_t // as it was made; nil until asked for
	attributes bool         // it was given extended attributes
	ready      bool         // it is dressed, and durable
	as         unix.Stat_t  // what it was dressed as then, zero for a new file

	size int64
	hash hash.Hash
}

func (t *Tree) newTemp(g *target) (*temp, error) {
	p := t.tempName(g)
	p.hash = sha256.New()
	err := retry(func() (err error) {
		p.fd, err = unix.Openat(p.dir, p.name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		p.gone = true
		p.close()
		return nil, err
	}
	return p, nil
}

// tempName notes a name beside a target, for whatever is to be there until close.
func (t *Tree) tempName(g *target) *temp {
	var random [8]byte
	rand.Read(random[:])
	t.journal.enter(g.dirPath)
	return &temp{t: t, dir: g.dir, to: g.name, fd: -1, name: tempPrefix + t.boot + "-" + hex.EncodeToString(random[:])}
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

// chown gives the file the owner that st has; without st, that which it had when
// it was made.
func (p *temp) chown(st *unix.Stat_t) error {
	switch {
	case p.own == nil && st == nil:
		return nil
	case p.own == nil:
		p.own = &unix.Stat_t{}
		if err := unix.Fstat(p.fd, p.own); err != nil || p.own.Uid == st.Uid && p.own.Gid == st.Gid {
			return err
		}
	case st == nil:
		st = p.own
	}
	return unix.Fchown(p.fd, int(st.Uid), int(st.Gid))
}

// dress gives the file the mode, else what st and the open file from (below 0:
// none) have of mode, owner and extended attributes; without st it is a new one.
func (p *temp) dress(st *unix.Stat_t, from int, mode *uint32) (err error) {
	if err := p.chown(st); err != nil {
		return err
	}
	own := uint32(newFileMode)
	if st != nil {
		own = permissions(st.Mode)
	}
	if from >= 0 {
		if p.attributes, err = nodes.CopyAttributes(p.fd, from); err != nil {
			return err
		}
	}
	if mode != nil {
		own = *mode
	}
	return unix.Fchmod(p.fd, own)
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

// close closes the file, and removes what has the temporary name.
func (p *temp) close() {
	p.closeFile()
	if !p.gone {
		ctx, cancel := context.WithTimeout(context.Background(), undoTime)
		nodes.Remove(ctx, p.dir, p.name, fsbridge.DeleteMax)
		cancel()
	}
	p.t.journal.leave()
}

// undoTime is the longest that the removal of what was half made takes. What is
// left then goes when the next agent starts.
const undoTime = 10 * time.Second

// closeFile closes the file, which stays.
func (p *temp) closeFile() {
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
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
