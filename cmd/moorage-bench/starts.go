package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// create times a new container from the request to the first answer of its
// agent. The image is in the store; deleting it again is not timed.
func (b *bench) create(context.Context) (time.Duration, error) {
	b.created++
	id := fmt.Sprintf("bench-%d", b.created)
	begun := time.Now()
	if _, err := b.creator.Call("create_container", map[string]any{"container_id": id}); err != nil {
		return 0, err
	}
	if _, err := b.creator.Call("fs_stat", map[string]any{"container_id": id, "path": "/"}); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	_, err := b.creator.Call("delete_container", map[string]any{"container_id": id})
	return took, err
}

// starts measures servers on empty directories, from their start to ready, and
// their memory then.
func (b *bench) starts(ctx context.Context) ([]row, error) {
	times := max(3, b.rounds(12))
	var took, memory samples
	for i := range times {
		s, d, err := startServer(ctx, b.opts.moorage(), filepath.Join(b.dir, fmt.Sprint("start-", i)))
		if err != nil {
			return nil, err
		}
		bytes, err := s.rss()
		if stopErr := s.stop(); err == nil {
			err = stopErr
		}
		if err != nil {
			return nil, err
		}
		took.took, took.busy = append(took.took, d), took.busy+d
		memory.took = append(memory.took, time.Duration(bytes)) // only for its quantiles
	}
	start := row{
		Contest: "server start to ready", Who: moorageName, Unit: "s", Calls: times,
		P50: took.quantile(0.5).Seconds(), P95: took.quantile(0.95).Seconds(),
	}
	rss := row{
		Contest: "server RSS, no container", Who: moorageName, Unit: "B", Calls: times,
		P50: float64(memory.quantile(0.5)), P95: float64(memory.quantile(0.95)),
	}
	return []row{judge(start, true, []aim{{limit: startAim}}), judge(rss, true, []aim{{limit: rssAim}})}, nil
}
