package fstest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
)

// pattern is n bytes of which no two blocks are alike.
type pattern struct {
	left  int64
	block [4096]byte
	at    int
	count uint64
}

func newPattern(n int64) *pattern { return &pattern{left: n, at: 4096} }

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	if p.at == len(p.block) {
		p.at = 0
		p.count++
		for i := 0; i < len(p.block); i += 8 {
			binary.LittleEndian.PutUint64(p.block[i:], (p.count<<16+uint64(i))*0x9e3779b97f4a7c15)
		}
	}
	n := copy(b[:min(int64(len(b)), p.left)], p.block[p.at:])
	p.at += n
	p.left -= int64(n)
	return n, nil
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

// brokenReader yields n bytes and then fails with err.
type brokenReader struct {
	n   int
	err error
}

func (r *brokenReader) Read(b []byte) (int, error) {
	if r.n == 0 {
		return 0, r.err
	}
	n := min(len(b), r.n)
	r.n -= n
	return n, nil
}

// stuckReader yields n bytes and then waits until ctx ends.
type stuckReader struct {
	ctx   context.Context
	n     int
	stuck func() // called when it waits
}

func (r *stuckReader) Read(b []byte) (int, error) {
	if r.n == 0 {
		r.stuck()
		<-r.ctx.Done()
		return 0, r.ctx.Err()
	}
	n := min(len(b), r.n)
	r.n -= n
	return n, nil
}

// stuckWriter takes one chunk and then waits until ctx ends.
type stuckWriter struct {
	ctx   context.Context
	stuck func()
}

func (w *stuckWriter) Write(b []byte) (int, error) {
	w.stuck()
	<-w.ctx.Done()
	return len(b), nil
}

func errorsIs(err, target error) bool { return errors.Is(err, target) }

func ignore[T any](_ T, err error) error { return err }
