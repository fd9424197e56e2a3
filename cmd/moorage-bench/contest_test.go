package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	var s samples
	if s.quantile(0.5) != 0 || s.perSecond() != 0 {
		t.Error("samples of nothing are not 0")
	}
	for i := 100; i > 0; i-- {
		s.took = append(s.took, time.Duration(i))
	}
	s.busy = 2 * time.Second
	if p50, p95 := s.quantile(0.5), s.quantile(0.95); p50 != 51 || p95 != 95 {
		t.Errorf("p50 %d, p95 %d", p50, p95)
	}
	if s.perSecond() != 50 {
		t.Errorf("%f calls/s", s.perSecond())
	}
}

func TestPeersTakeTurnsAndTheFirstRoundIsNotCounted(t *testing.T) {
	var order strings.Builder
	named := func(name string, d time.Duration) peer {
		return timed(name, func(context.Context) (time.Duration, error) {
			order.WriteString(name)
			return d, nil
		})
	}
	c := contest{name: "c", rounds: 2, peers: []peer{named("a", 2), named("b", 4)}}
	all, err := c.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if order.String() != "abbaab" {
		t.Errorf("order %s", order.String())
	}
	if len(all[0].took) != 2 || len(all[1].took) != 2 || all[1].busy != 8 {
		t.Errorf("samples %v", all)
	}
}

func TestFailureNamesContestAndPeer(t *testing.T) {
	cause := errors.New("cause")
	c := contest{name: "read", rounds: 1, peers: []peer{timed("them", func(context.Context) (time.Duration, error) { return 0, cause })}}
	if _, err := c.run(t.Context()); !errors.Is(err, cause) || err.Error() != "read by them: cause" {
		t.Errorf("got %v", err)
	}
}

func TestContestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := contest{rounds: 1 << 20, slice: time.Hour, peers: []peer{timed("them", func(context.Context) (time.Duration, error) {
		cancel()
		return 1, nil
	})}}
	if _, err := c.run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
