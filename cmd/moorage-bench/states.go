package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"moorage/cmd/moorage-bench/client"
	"moorage/cmd/moorage-bench/states"
)

// loopStore is the store of the second half. Its blocks are reserved.
const loopStore = "loop:6GiB"

// The rows' names beside Moorage's.
const (
	pausedName = "of it the container waits"
	againName  = "again, one file changed"
	layerName  = "CreateDiff, gzip"
	plainName  = "from the image"
	oneName    = "with now, one file changed"
	asFirst    = "without snapshots"
)

// Aims, in seconds or as ratios.
const (
	quietAim     = 15e-3
	freezeAim    = 50e-3
	forkAim      = 1.5
	restoreAim   = 250e-3
	manyAim      = 1. / 4  // of the layer's time, for many files
	oneBigAim    = 1. / 30 // for a big one
	chainReadAim = 1.25    // about once
)

// size is how much is kept.
type size struct {
	name  string
	scene states.Scene
	aim   float64 // of a busy container's, against the layer
	fast  bool    // restoreAim is for it
}

// sceneLimit keeps a run short on a slow machine.
const sceneLimit = 8 * time.Second

// fewestRounds is the divisor of a run that only shows that all of it works.
const fewestRounds = 20

// sizes are those of a run.
func (o options) sizes() []size {
	list := []size{
		{"10 x 1 KiB", states.Scene{Files: 10, Size: 1 << 10, Rounds: 8, Warm: true, Layers: 4}, 0, false},
		{"10,000 x 1 KiB", states.Scene{Files: 10_000, Size: 1 << 10, Rounds: 4, Warm: true, Layers: 3}, manyAim, true},
		{"1 GiB", states.Scene{Files: 1, Size: 1 << 30, Rounds: 2, Layers: 1}, oneBigAim, false},
	}
	for i := range list {
		list[i].scene.Limit = sceneLimit
		list[i].scene.Rounds = max(1, list[i].scene.Rounds/o.divisor)
		list[i].scene.Warm = list[i].scene.Warm && o.divisor < fewestRounds
		list[i].scene.Layers = min(list[i].scene.Layers, list[i].scene.Rounds)
	}
	switch {
	case o.divisor >= fewestRounds:
		return list[:1]
	case o.divisor > 1:
		return list[:2]
	}
	return list
}

// ground is where an engine keeps its state.
type ground struct {
	name, dir, store string
	loop             bool
}

func (b *bench) statesOnHost(ctx context.Context) ([]row, error) {
	return b.statesOn(ctx, ground{"host", "h", "plain", false})
}

func (b *bench) statesOnLoop(ctx context.Context) ([]row, error) {
	return b.statesOn(ctx, ground{"loop", "l", loopStore, true})
}

// statesOn runs this binary as the side that keeps states and gives it the
// scenes.
func (b *bench) statesOn(ctx context.Context, g ground) (rows []row, err error) {
	dir := filepath.Join(b.dir, g.dir)
	if err := os.Mkdir(dir, 0o711); err != nil {
		return nil, fmt.Errorf("measure states: %w", err)
	}
	at := dir
	if !g.loop {
		d, err := newDisk(ctx, dir)
		if err != nil {
			return nil, err
		}
		if d != nil {
			at = d.at
			defer func() { err = errors.Join(err, d.close()) }()
		}
	}
	defer func() { err = errors.Join(err, stopLeft(b.opts.moorage(), at)) }()
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this binary: %w", err)
	}
	bin, err := filepath.Abs(b.opts.Bin)
	if err != nil {
		return nil, fmt.Errorf("find the agent: %w", err)
	}
	c, err := client.Start(ctx, "states", self, statesArg, at, bin, g.store)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for _, s := range b.opts.sizes() {
		for _, data := range []bool{false, true} {
			s.scene.Data = data
			result, err := play(c, states.SceneTool, s.scene)
			if err != nil {
				return rows, err
			}
			rows = append(rows, sceneRows(g, s, result)...)
		}
	}
	chain := states.Chain{Length: b.rounds(500), Rounds: b.rounds(20)}
	result, err := play(c, states.ChainTool, chain)
	if err != nil {
		return rows, err
	}
	return append(rows, chainRows(g, chain, result)...), nil
}

// play has a tool of the side called and reads what it measured.
func play(c *client.Client, tool string, what any) (states.Result, error) {
	var args map[string]any
	b, err := json.Marshal(what)
	if err == nil {
		err = json.Unmarshal(b, &args)
	}
	if err != nil {
		return nil, fmt.Errorf("encode a scene: %w", err)
	}
	text, err := c.Call(tool, args)
	if err != nil {
		return nil, err
	}
	var result states.Result
	if err := json.Unmarshal([]byte(text), &result); err != nil {
		return nil, fmt.Errorf("read what %s measured: %w", tool, err)
	}
	return result, nil
}

// line is one row of a block: an op, the peer that it is compared with if it is
// not Moorage's, and an aim.
type line struct {
	who, op string
	peer    bool
	limit   float64 // 0: none
}

// block makes the rows of a contest from what was measured. The first is
// Moorage's, which peers are compared with.
func block(contest string, result states.Result, lines ...line) []row {
	var rows []row
	for _, l := range lines {
		s := samples{took: result[l.op]}
		if len(s.took) == 0 {
			continue
		}
		r := row{Contest: contest, Who: l.who, Unit: "s", Calls: len(s.took), P50: s.quantile(0.5).Seconds(), P95: s.quantile(0.95).Seconds()}
		if l.peer {
			r.Ratio = ratio(rows[0], r)
		}
		if l.limit > 0 {
			r = judge(r, !l.peer, []aim{{against: peerOf(l), limit: l.limit}})
		}
		rows = append(rows, r)
	}
	return rows
}

func peerOf(l line) string {
	if l.peer {
		return l.who
	}
	return ""
}

// sceneRows are the blocks of a scene.
func sceneRows(g ground, s size, r states.Result) []row {
	place := g.name
	if s.scene.Data {
		place += " /data"
	}
	name := func(op string) string { return op + ", " + place + ", " + s.name }
	quiet, freeze, restore := 0., 0., 0.
	if !s.scene.Data {
		quiet = quietAim
		if s.fast {
			restore = restoreAim
		}
	}
	if g.loop {
		freeze = freezeAim
	}
	rows := block(name("keep quiet"), r, line{moorageName, states.Quiet, false, quiet}, line{pausedName, states.Quiet + states.Paused, false, 0},
		line{againName, states.Again, false, 0})
	rows = append(rows, block(name("keep busy"), r, line{moorageName, states.Busy, false, 0}, line{pausedName, states.Busy + states.Paused, false, freeze},
		line{layerName, states.Layer, true, s.aim})...)
	rows = append(rows, block(name("fork"), r, line{moorageName, states.Fork, false, 0}, line{plainName, states.Create, true, forkAim})...)
	rows = append(rows, block(name("restore"), r, line{moorageName, states.Restore, false, restore})...)
	return append(rows, block(name("diff"), r, line{moorageName, states.DiffAll, false, 0}, line{oneName, states.DiffOne, false, 0})...)
}

// chainRows are the blocks of a chain.
func chainRows(g ground, c states.Chain, r states.Result) []row {
	var all time.Duration
	for _, d := range r[states.Take] {
		all += d
	}
	s := samples{took: r[states.Take]}
	r["all"], r["slowest"] = []time.Duration{all}, []time.Duration{s.quantile(1)}
	name := func(op string) string { return fmt.Sprintf("%s, %s, %d snapshots", op, g.name, c.Length) }
	rows := block(name("keep in a row"), r, line{moorageName, states.Take, false, 0}, line{"the slowest", "slowest", false, 0}, line{"all", "all", false, 0})
	rows = append(rows, block(name("read 4 KiB"), r, line{moorageName, states.Read, false, 0}, line{asFirst, states.Read + states.Without, true, chainReadAim})...)
	return append(rows, block(name("open 1,000 files"), r, line{moorageName, states.Open, false, 0}, line{asFirst, states.Open + states.Without, true, chainReadAim})...)
}
