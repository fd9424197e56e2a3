package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"moorage/cmd/moorage-bench/client"
	"moorage/cmd/moorage-bench/floor"
)

// floorStarters call a tool of floors, n of them.
func floorStarters(t *testing.T, n int, tool string) []*starter {
	t.Helper()
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	starters := make([]*starter, n)
	for i := range starters {
		c, err := startFloor(context.WithoutCancel(t.Context())) // Close ends it
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		starters[i] = newStarter(c, client.Tool(tool, map[string]any{}))
	}
	return starters
}

func TestOfferMakesAllCallsInItsTime(t *testing.T) {
	begun := time.Now()
	done, failed, err := offer(t.Context(), floorStarters(t, 3, floor.Tool), 20, 1)
	if err != nil || len(failed) > 0 || len(done.took) != 60 {
		t.Fatalf("%d calls, failed %v, %v", len(done.took), failed, err)
	}
	if took := time.Since(begun); done.busy < time.Second || done.busy > took {
		t.Errorf("busy for %s in %s", done.busy, took)
	}
	for _, d := range done.took {
		if d <= 0 {
			t.Errorf("a call took %s", d)
		}
	}
}

func TestOfferTellsCallsThatFailed(t *testing.T) {
	done, failed, err := offer(t.Context(), floorStarters(t, 1, "no_such_tool"), 20, 1)
	if err != nil || len(done.took) > 0 || len(failed) != 20 || !errors.Is(failed[0], client.ErrAnswer) {
		t.Fatalf("%d calls, %d failed, %v", len(done.took), len(failed), err)
	}
	rows := loadRows(done, len(failed))
	if *rows[0].Met || *rows[1].Met || rows[1].P50 != 20 {
		t.Errorf("%+v", rows)
	}
}

func TestOfferWithoutItsServerIsAnError(t *testing.T) {
	starters := floorStarters(t, 2, floor.Tool)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := client.Start(ctx, "broken", "/bin/sh", "-c", `read line; echo '{"jsonrpc":"2.0","id":1,"result":{}}'; read line; exit 3`)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = c.Close() })
	starters = append(starters, newStarter(c, nothing()))
	if _, _, err := offer(t.Context(), starters, 20, 1); err == nil {
		t.Error("no error")
	}
}

func TestLoadIsMetByItsRateAndWithoutErrors(t *testing.T) {
	s := sampled(time.Millisecond, loadContainers*loadRate)
	s.busy = time.Second
	rows := loadRows(s, 0)
	if !*rows[0].Met || !*rows[1].Met {
		t.Errorf("%+v", rows)
	}
	s.busy = 1011 * time.Millisecond
	if rows := loadRows(s, 0); *rows[0].Met {
		t.Errorf("%+v", rows[0])
	}
}
