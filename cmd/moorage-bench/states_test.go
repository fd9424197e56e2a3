package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"moorage/cmd/moorage-bench/client"
	"moorage/cmd/moorage-bench/states"
)

// TestStatesAreMeasured plays small scenes on both stores. Nothing is left of the
// file systems, also when the side that uses them is killed.
func TestStatesAreMeasured(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("", "mb.") // short, for sockets
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{opts: options{divisor: fewestRounds, Bin: need(t, "MOORAGE_TEST_BIN")}, dir: dir}
	for name, measure := range map[string]part{"host": {run: b.statesOnHost}, "loop": {run: b.statesOnLoop}} {
		rows, err := measure.run(t.Context())
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		seen := map[string]bool{}
		for _, r := range rows {
			seen[strings.SplitN(r.Contest, ",", 2)[0]+": "+r.Who] = true
			if r.Calls == 0 || r.P50 <= 0 || !strings.Contains(r.Contest, name) {
				t.Errorf("%s: row %+v", name, r)
			}
		}
		for _, want := range []string{
			"keep quiet: " + moorageName, "keep quiet: " + againName, "keep busy: " + layerName, "keep busy: " + pausedName,
			"fork: " + plainName, "restore: " + moorageName, "diff: " + oneName, "keep in a row: the slowest", "read 4 KiB: " + asFirst,
		} {
			if !seen[want] {
				t.Errorf("%s: no row of %s", name, want)
			}
		}
	}
	if err := removeDir(dir); err != nil {
		t.Error(err)
	}
}

// TestKilledStatesLeaveNothing kills the side in the middle of a scene.
func TestKilledStatesLeaveNothing(t *testing.T) {
	needRoot(t)
	bin := need(t, "MOORAGE_TEST_BIN")
	dir, err := os.MkdirTemp("", "mb.")
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Start(t.Context(), "states", os.Args[0], statesArg, dir, bin, "loop:300MiB")
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(time.Second, c.Kill) // it takes longer
	if _, err := play(c, states.SceneTool, states.Scene{Files: 10, Size: 100, Rounds: 1000}); err == nil {
		t.Error("no error")
	}
	_ = c.Close() // that it was killed is no news
	if err := stopLeft(filepath.Join(bin, "moorage"), dir); err != nil {
		t.Error(err)
	}
	if err := removeDir(dir); err != nil {
		t.Error(err)
	}
}
