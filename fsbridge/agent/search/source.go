package search

import (
	"bytes"
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

const (
	// blockSize is how much of a file is searched at a time: most files are no
	// longer and take one read.
	blockSize = 256 << 10
	// longMax is the longest line that is searched as one, and how much of a file
	// a match over lines may see. One search at a time has so much in memory.
	longMax = 16 << 20
	// kernelMax is how much of one of the kernel's files is searched: some have no
	// end.
	kernelMax = 4 << 20
)

var (
	errBinary    = errors.New("a binary file")
	errIrregular = errors.New("not a regular file")
)

// source reads files block by block. It is one goroutine's.
type source struct {
	ctx   context.Context
	s     *Searcher
	raw   bool // binary files too
	whole bool // a block is all of a file, as far as longMax

	small *[]byte
	buf   []byte // small, but while long is true
	long  bool
}

func (s *Searcher) newSource(ctx context.Context, raw, whole bool) *source {
	small, ok := s.blocks.Get().(*[]byte)
	if !ok {
		b := make([]byte, s.block)
		small = &b
	}
	return &source{ctx: ctx, s: s, raw: raw, whole: whole, small: small, buf: *small}
}

// close gives the source's memory back.
func (s *source) close() { s.s.blocks.Put(s.small) }

// blocks calls each with one block of whole lines after the other, until that
// returns false. It returns errBinary at a block with a NUL byte, of which each
// is not told.
func (s *source) blocks(fd int, kernel bool, each func(b []byte) bool) error {
	defer s.shrink()
	short, total := !kernel, 0
	for kept, first := 0, true; ; {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		n, err := read(fd, s.buf[kept:], short)
		if err != nil {
			return err
		}
		n += kept
		ended := n < len(s.buf)
		if first && !ended && !isRegular(fd) {
			return errIrregular // it has become one since its directory was read
		}
		if total += n - kept; kernel && total >= kernelMax {
			ended = true
		}
		if !s.raw && bytes.IndexByte(s.buf[kept:n], 0) >= 0 {
			return errBinary
		}
		end := n
		if !ended {
			if end = s.lines(n); end == 0 {
				if err := s.grow(); err != nil {
					return err
				}
				kept = n
				continue
			}
		}
		b := s.buf[:end]
		if first {
			b = bytes.TrimPrefix(b, []byte("\ufeff"))
		}
		if end > 0 && !each(b) || ended {
			return nil
		}
		first, kept = false, copy(s.buf, s.buf[end:n])
	}
}

// lines returns how much of the full buffer is to be searched; 0 means that it
// has to grow before.
func (s *source) lines(n int) int {
	if s.whole && n < s.s.longest {
		return 0
	}
	if end := bytes.LastIndexByte(s.buf[:n], '\n') + 1; end > 0 || n < s.s.longest {
		return end
	}
	return n
}

// grow makes the buffer larger, when no other search has a large one.
func (s *source) grow() error {
	if !s.long {
		select {
		case s.s.long <- struct{}{}:
			s.long = true
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	larger := make([]byte, min(4*len(s.buf), s.s.longest))
	copy(larger, s.buf)
	s.buf = larger
	return nil
}

func (s *source) shrink() {
	if s.long {
		s.buf, s.long = *s.small, false
		<-s.s.long
	}
}

// unreadable reports whether err says that a file may not be read. Others say
// that it has gone, or is no file.
func unreadable(err error) bool {
	return !vanished(err) && !errors.Is(err, errIrregular) && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EISDIR)
}
