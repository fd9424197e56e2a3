package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"moorage/cmd/moorage-bench/bridge"
	"moorage/cmd/moorage-bench/client"
)

// The big file, and the most bytes that one fs_read returns.
const (
	bigFile  = "big.txt"
	bigSize  = 100_000_000
	bigSlice = 640_000
)

// The names of the sides that read it.
const (
	slicesName = "bridge, slices of 768 KiB"
	streamName = "bridge, one stream"
	jsonName   = "fs_read, slices of 640 kB"
	hostName   = "pread on the host, 768 KiB"
)

// big is a large file and what reads it.
type big struct {
	dir    string // of the bridge's engine
	path   string // of the file on the host
	client *client.Client
	reads  []client.Request // fs_read of each slice
	buffer []byte
}

// startBig runs this binary as the bridge and makes the big file, for its bot
// and, by another link, for ours.
func (b *bench) startBig(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this binary: %w", err)
	}
	bin, err := filepath.Abs(b.opts.Bin)
	if err != nil {
		return fmt.Errorf("find the agent: %w", err)
	}
	dir := filepath.Join(b.dir, "b") // short, for sockets
	b.big = &big{dir: dir, path: filepath.Join(b.dataDir(), bigFile), buffer: make([]byte, bridge.SliceBytes)}
	if b.big.client, err = client.Start(ctx, "bridge", self, bridgeArg, dir, bin); err != nil {
		return err
	}
	if err := writeBig(b.big.path); err != nil {
		return fmt.Errorf("make the big file: %w", err)
	}
	if err := os.Link(b.big.path, filepath.Join(bridge.DataDir(dir), bigFile)); err != nil {
		return fmt.Errorf("make the big file: %w", err)
	}
	for at := 0; at < bigSize; at += bigSlice {
		b.big.reads = append(b.big.reads, client.Tool("fs_read", map[string]any{"path": bigFile, "byte_offset": at, "byte_limit": bigSlice}))
	}
	return b.big.check()
}

// session is the bridge's client; nil if there is none.
func (g *big) session() *client.Client {
	if g == nil {
		return nil
	}
	return g.client
}

func writeBig(path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	line := []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", 1000))
	for n := 0; n < bigSize; n += len(line) {
		if _, err := f.Write(line[:min(len(line), bigSize-n)]); err != nil {
			return err
		}
	}
	return nil
}

// check makes sure that the bridge reads the whole file.
func (g *big) check() error {
	for _, way := range []string{bridge.Slices, bridge.Stream} {
		text, err := g.client.Call(way, map[string]any{"path": bigFile})
		if err == nil && text != fmt.Sprint(bigSize) {
			err = fmt.Errorf("check %s of the bridge: it read %s bytes of %d", way, text, bigSize)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bigContest reads the big file whole, in each way that there is. One call of
// it is all of the file.
func (b *bench) bigContest() contest {
	whole := func(way string) []cycle { return same(client.Tool(way, map[string]any{"path": bigFile}), 1) }
	return contest{
		name: "read of 100 MB", rounds: b.rounds(8), byRate: true, bytes: bigSize, aims: []aim{{limit: bridgeAim, rate: true}},
		peers: []peer{
			calling(slicesName, b.big.client, whole(bridge.Slices)),
			calling(streamName, b.big.client, whole(bridge.Stream)),
			timed(jsonName, b.readByJSON),
			timed(hostName, b.big.pread),
		},
	}
}

// readByJSON reads the big file through the server, slice after slice.
func (b *bench) readByJSON(context.Context) (time.Duration, error) {
	begun := time.Now()
	got := 0
	for _, r := range b.big.reads {
		if _, err := b.ours.client.Send(r); err != nil {
			return 0, err
		}
		_, line, err := b.ours.client.Receive()
		if err != nil {
			return 0, err
		}
		got += len(line)
	}
	took := time.Since(begun)
	if got < bigSize {
		return 0, fmt.Errorf("%d bytes of answers for a file of %d", got, bigSize)
	}
	return took, nil
}

func (g *big) pread(context.Context) (time.Duration, error) {
	begun := time.Now()
	f, err := os.Open(g.path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var at int64
	for {
		n, err := f.ReadAt(g.buffer, at)
		at += int64(n)
		if err == io.EOF && at == bigSize {
			return time.Since(begun), nil
		}
		if err != nil {
			return 0, fmt.Errorf("read at %d: %w", at, err)
		}
	}
}
