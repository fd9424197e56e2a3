package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

const (
	block = 128 << 10 // of a file that is streamed

	// racy is how old a file's times must be to tell that it has not been
	// written since: the kernel's clock for them has a tick of up to 10 ms, that
	// of some file systems of 1 or 2 s.
	racy = 2 * time.Second

	generation = 1024 // entries that revisions keeps at least
)

// digest is what one pass over a file's content yields.
type digest struct {
	revision string
	lines    int64
}

func digestOf(content []byte) digest {
	sum := sha256.Sum256(content)
	d := digest{revision: hex.EncodeToString(sum[:sha256.Size/2]), lines: newlines(content)}
	if n := len(content); n > 0 && content[n-1] != '\n' {
		d.lines++
	}
	return d
}

func newlines(b []byte) int64 { return int64(bytes.Count(b, []byte{'\n'})) }

// version names a content of a file without reading it.
type version struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

func versionOf(st *unix.Stat_t) version {
	return version{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}
}

// revisions remembers digests: the newest generation and the one before.
type revisions struct {
	mu       sync.Mutex
	now, old map[version]digest
}

func (r *revisions) get(v version) (digest, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d, ok := r.now[v]; ok {
		return d, true
	}
	d, ok := r.old[v]
	return d, ok
}

// settled reports whether the file was last changed so long ago that it cannot
// change again without a trace.
func settled(st *unix.Stat_t) bool {
	before := time.Now().Add(-racy).UnixNano()
	return st.Mtim.Nano() <= before && st.Ctim.Nano() <= before
}

// keep remembers the digest of an open file that was read whole, unless it may
// have changed meanwhile.
func (r *revisions) keep(f *file, d digest) {
	var after unix.Stat_t
	if settled(&f.st) && unix.Fstat(f.fd, &after) == nil && versionOf(&after) == versionOf(&f.st) {
		r.put(&f.st, d)
	}
}

func (r *revisions) put(st *unix.Stat_t, d digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil || len(r.now) >= generation {
		r.now, r.old = make(map[version]digest), r.now
	}
	r.now[versionOf(st)] = d
}

// digest returns that of an open file, or ok false when the file is over limit
// bytes (below 0: any size).
func (t *Tree) digest(ctx context.Context, f *file, limit int64) (d digest, ok bool, err error) {
	if limit >= 0 && f.st.Size > limit {
		return digest{}, false, nil
	}
	if d, ok := t.revisions.get(versionOf(&f.st)); ok {
		return d, true, nil
	}
	d, n, err := hashFile(ctx, f, limit)
	if err != nil || limit >= 0 && n > limit {
		return digest{}, false, err
	}
	if n == f.st.Size {
		t.revisions.keep(f, d)
	}
	return d, true, nil
}

// hashFile streams a file, until just after limit if that is not below 0.
func hashFile(ctx context.Context, f *file, limit int64) (d digest, n int64, err error) {
	buf := getBlock()
	defer putBlock(buf)
	h := sha256.New()
	last := byte('\n')
	for limit < 0 || n <= limit {
		if err := ctx.Err(); err != nil {
			return digest{}, n, err
		}
		k, err := f.readAt(*buf, n)
		h.Write((*buf)[:k])
		d.lines += newlines((*buf)[:k])
		n += int64(k)
		if k > 0 {
			last = (*buf)[k-1]
		}
		if err != nil && err != io.EOF {
			return digest{}, n, err
		}
		if k < block {
			break
		}
	}
	if last != '\n' {
		d.lines++
	}
	d.revision = sumOf(h.Sum(nil))
	return d, n, nil
}

func sumOf(sum []byte) string { return hex.EncodeToString(sum[:sha256.Size/2]) }

var blocks = sync.Pool{New: func() any { b := make([]byte, block); return &b }}

func getBlock() *[]byte  { return blocks.Get().(*[]byte) }
func putBlock(b *[]byte) { blocks.Put(b) }

// revisionOf returns an open file's revision, "" if it is over RevisionMax.
func (t *Tree) revisionOf(ctx context.Context, f *file) (string, error) {
	d, _, err := t.digest(ctx, f, fsbridge.RevisionMax)
	return d.revision, err
}
