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
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestRatioToNothingIsNone(t *testing.T) {
	c := contest{peers: []peer{{name: "moorage"}, {name: "other"}}}
	if r := c.rows([]samples{sampled(1, 1), {}})[1]; r.Ratio != 0 || r.Met != nil {
		t.Errorf("%+v", r)
	}
}
