package states

import (
	"context"
	"errors"
	"fmt"
	"time"

	"moorage/fsbridge"
	"moorage/sandbox"
)

// Chain is many snapshots of one container, one after the other.
type Chain struct {
	Length int `json:"length"`
	Rounds int `json:"rounds"` // of reading after them
}

// The ops of a chain: each snapshot, and what is read from the root filesystem
// after all of them and, by turns, in a container without snapshots.
const (
	Take    = "take"
	Read    = "read"
	Open    = "open"
	Without = " without"
)

const (
	chainFiles  = 1000
	readBytes   = 4 << 10
	readsARound = 50
)

// chain plays a Chain with containers of two bots.
func (e *engine) chain(ctx context.Context, bot sandbox.Bot, c Chain) (_ Result, err error) {
	result := Result{}
	var boxes [2]*box
	for i, name := range []sandbox.Bot{bot, bot + "-without"} {
		b, err := e.newBox(ctx, name, false)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, e.drop(b.ref)) }()
		if err := b.fill(ctx, chainFiles, readBytes); err != nil {
			return nil, err
		}
		boxes[i] = b
	}
	for i := range c.Length {
		if err := boxes[0].link(ctx, i, result); err != nil {
			return nil, err
		}
	}
	for range c.Rounds {
		for i, mark := range []string{"", Without} {
			if err := boxes[i].readings(ctx, mark, result); err != nil {
				return nil, err
			}
		}
	}
	return result, nil
}

// link changes a file and takes a snapshot.
func (b *box) link(ctx context.Context, i int, result Result) error {
	a, err := b.Agent(ctx, b.ref.Bot, b.ref.ID)
	if err != nil {
		return err
	}
	path := fsbridge.Path(fmt.Sprintf("%s/changed/%d", b.dir, i%10))
	if _, err := a.Write(ctx, fsbridge.WriteRequest{Path: path}, fmt.Append(nil, i)); err != nil {
		return fmt.Errorf("change a file: %w", err)
	}
	begun := time.Now()
	if _, err := b.TakeSnapshot(ctx, b.ref.Bot, b.ref.ID, "", ""); err != nil {
		return fmt.Errorf("snapshot %d in a row: %w", i+1, err)
	}
	result.add(Take, time.Since(begun))
	return nil
}

// readings read a file many times, and open and stat all of them once.
func (b *box) readings(ctx context.Context, mark string, result Result) error {
	a, err := b.Agent(ctx, b.ref.Bot, b.ref.ID)
	if err != nil {
		return err
	}
	for range readsARound {
		begun := time.Now()
		_, _, body, err := a.Read(ctx, fsbridge.ReadRequest{Path: fsbridge.Path(b.dir + "/0/1"), Bytes: true})
		if err != nil || len(body) != readBytes {
			return fmt.Errorf("read a file: %d bytes, %w", len(body), err)
		}
		result.add(Read+mark, time.Since(begun))
	}
	begun := time.Now()
	line := "for f in " + b.dir + "/[0-9]*/*; do [ -f $f ] && : < $f || exit 1; done"
	if err := b.sh(ctx, b.ref.ID, line); err != nil {
		return fmt.Errorf("open the files: %w", err)
	}
	result.add(Open+mark, time.Since(begun))
	return nil
}
