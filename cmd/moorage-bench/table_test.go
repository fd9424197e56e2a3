package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sampled(d time.Duration, calls int) samples {
	s := samples{busy: d * time.Duration(calls)}
	for range calls {
		s.took = append(s.took, d)
	}
	return s
}

func TestTable(t *testing.T) {
	peers := []peer{{name: "moorage"}, {name: "other"}, {name: "floor"}}
	all := []samples{sampled(90*time.Microsecond, 10), sampled(450*time.Microsecond, 10), sampled(40*time.Microsecond, 10)}
	read := contest{name: "read", peers: peers, aims: []aim{{against: "other", limit: 1. / 3}, {against: "floor", limit: 2}}}
	many := contest{name: "read, 16 in flight", peers: peers[:2], byRate: true, aims: []aim{{against: "other", limit: 3}}}
	create := contest{name: "create", peers: peers[:1], aims: []aim{{limit: 0.0555}}}
	rows := append(read.rows(all), many.rows(all[:2])...)
	rows = append(rows, create.rows([]samples{sampled(60*time.Millisecond, 1)})...)
	rows = append(rows, judge(row{Contest: "memory", Who: "moorage", Unit: "B", P50: 5e7, P95: 6e7}, true, []aim{{limit: 8e7}}))
	big := contest{name: "big", peers: peers[:2], byRate: true, bytes: 1e8, aims: []aim{{limit: 200e6, rate: true}}}
	rows = append(rows, big.rows([]samples{sampled(250*time.Millisecond, 2), sampled(time.Second, 2)})...)
	rows = append(rows, judge(row{Contest: "load", Who: "moorage", Unit: "s", P50: 2e-3, P95: 3e-3, PerSecond: 884}, true, []aim{{limit: 990, rate: true}}))
	rows = append(rows, judge(row{Contest: "load", Who: "errors", Unit: "n"}, true, []aim{{limit: 0}}))
	var out strings.Builder
	if err := printTable(&out, rows); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"contest p50 p95 calls/s moorage is aim",
		"read moorage 90 µs 90 µs 11111",
		"other 450 µs 450 µs 2222 0.20 x time <= 0.33 x met",
		"floor 40 µs 40 µs 25000 2.25 x time <= 2.00 x missed",
		"read, 16 in flight moorage 90 µs 90 µs 11111",
		"other 450 µs 450 µs 2222 5.00 x calls/s >= 3.00 x met",
		"create moorage 60.00 ms 60.00 ms 16.7 <= 55.50 ms missed",
		"memory moorage 50.0 MB 60.0 MB <= 80.0 MB met",
		"big moorage 250.00 ms 250.00 ms 400 MB/s >= 200 MB/s met",
		"other 1000.00 ms 1000.00 ms 100 MB/s 4.00 x MB/s",
		"load moorage 2.00 ms 3.00 ms 884 >= 990 missed",
		"errors 0 0 <= 0 met",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTableFits(t *testing.T) {
	yes := true
	widest := row{
		Contest: "fs_write 4 KiB, 16 in flight", Who: "server-filesystem, no sandbox", Unit: "s", P50: 99.99999, P95: 99.99999,
		PerSecond: 1e8, Ratio: 9999.99, ByRate: true, Aim: 3, AimOfRate: true, Met: &yes,
	}
	var out strings.Builder
	if err := printTable(&out, []row{widest}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if len(line) > 160 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
}

func TestRatioToNothingIsNone(t *testing.T) {
	c := contest{peers: []peer{{name: "moorage"}, {name: "other"}}}
	if r := c.rows([]samples{sampled(1, 1), {}})[1]; r.Ratio != 0 || r.Met != nil {
		t.Errorf("%+v", r)
	}
}
