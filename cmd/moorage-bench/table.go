package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// aim is a limit on Moorage's own p50 or rate or, with against, on its ratio to a
// peer. What is per second is an aim from below.
type aim struct {
	against string  // a peer's name; "" for Moorage itself
	rate    bool    // without against: of what is done per second, not the p50
	limit   float64 // seconds, bytes, calls or bytes a second, or a ratio
	source  string  // what the limit comes from, if that is not plain
}

// row is one line of the table, and of the JSON.
type row struct {
	Contest   string  `json:"contest"`
	Who       string  `json:"who"`
	Unit      string  `json:"unit"` // of p50 and p95: "s", "B", or "n" for a number
	P50       float64 `json:"p50"`
	P95       float64 `json:"p95"`
	PerSecond float64 `json:"per_second,omitempty"` // calls
	BytesRate float64 `json:"bytes_per_second,omitempty"`
	Calls     int     `json:"calls"`
	Ratio     float64 `json:"ratio,omitempty"` // Moorage's p50, or what it does per second, to this peer's
	ByRate    bool    `json:"by_rate,omitempty"`
	Aim       float64 `json:"aim,omitempty"`
	AimOfRate bool    `json:"aim_of_rate,omitempty"` // the aim is of what is done per second: at least that
	Source    string  `json:"source,omitempty"`
	Met       *bool   `json:"met,omitempty"`
}

// rows makes the lines of a contest from its samples.
func (c contest) rows(all []samples) []row {
	rows := make([]row, len(all))
	for i := range all {
		s := &all[i]
		r := row{
			Contest: c.name, Who: c.peers[i].name, Unit: "s", ByRate: c.byRate, Calls: len(s.took),
			P50: s.quantile(0.5).Seconds(), P95: s.quantile(0.95).Seconds(), PerSecond: s.perSecond(),
			BytesRate: s.perSecond() * float64(c.bytes),
		}
		if i > 0 {
			r.Ratio = ratio(rows[0], r)
		}
		rows[i] = judge(r, i == 0, c.aims)
	}
	return rows
}

// ratio compares Moorage's row with a peer's; 0 if that measured nothing.
func ratio(ours, theirs row) float64 {
	a, b := ours.P50, theirs.P50
	if ours.ByRate {
		a, b = ours.PerSecond, theirs.PerSecond
	}
	if b == 0 {
		return 0
	}
	return a / b
}

// judge puts the aim that is for a row, if there is one, into it.
func judge(r row, ours bool, aims []aim) row {
	for _, a := range aims {
		value, least := r.Ratio, r.ByRate
		if ours {
			value, least = r.own(a.rate), a.rate
		}
		if a.against == r.Who || ours && a.against == "" {
			met := value <= a.limit
			if least {
				met = value >= a.limit
			}
			r.Aim, r.AimOfRate, r.Source, r.Met = a.limit, least, a.source, &met
		}
	}
	return r
}

// own is what an aim of Moorage itself is about.
func (r row) own(rate bool) float64 {
	switch {
	case !rate:
		return r.P50
	case r.BytesRate > 0:
		return r.BytesRate
	}
	return r.PerSecond
}

// columns is the form of a line: contest, peer, p50, p95, calls/s, ratio, aim,
// verdict.
const columns = "%-39s %-29s %11s %11s %9s %16s  %-12s %s"

// printTable writes rows for people, one block a contest.
func printTable(w io.Writer, rows []row) error {
	var t strings.Builder
	line := func(cells ...any) {
		t.WriteString(strings.TrimRight(fmt.Sprintf(columns, cells...), " ") + "\n")
	}
	line("contest", "", "p50", "p95", "calls/s", "moorage is", "aim", "")
	last := ""
	for _, r := range rows {
		name := r.Contest
		if name == last {
			name = ""
		}
		last = r.Contest
		line(name, r.Who, quantity(r.P50, r.Unit), quantity(r.P95, r.Unit), r.rateText(r.own(true)), r.ratioText(), r.aimText(), r.verdict())
	}
	_, err := io.WriteString(w, t.String())
	return err
}

func quantity(v float64, unit string) string {
	switch unit {
	case "B":
		return fmt.Sprintf("%.1f MB", v/1e6)
	case "n":
		return fmt.Sprintf("%.0f", v)
	}
	d := time.Duration(v * float64(time.Second))
	if d < time.Millisecond {
		return fmt.Sprintf("%.0f µs", float64(d)/1e3)
	}
	return fmt.Sprintf("%.2f ms", float64(d)/1e6)
}

// rateText is v, calls or bytes a second.
func (r row) rateText(v float64) string {
	switch {
	case v == 0:
		return ""
	case r.BytesRate > 0:
		return fmt.Sprintf("%.0f MB/s", v/1e6)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func (r row) ratioText() string {
	switch {
	case r.Ratio == 0:
		return ""
	case r.BytesRate > 0:
		return fmt.Sprintf("%.2f x MB/s", r.Ratio)
	case r.ByRate:
		return fmt.Sprintf("%.2f x calls/s", r.Ratio)
	}
	return times(r.Ratio) + " time"
}

// times is a ratio; a small one with more digits.
func times(v float64) string {
	if v < 0.1 {
		return fmt.Sprintf("%.4f x", v)
	}
	return fmt.Sprintf("%.2f x", v)
}

func (r row) aimText() string {
	switch {
	case r.Met == nil:
		return ""
	case r.Ratio == 0 && r.AimOfRate:
		return ">= " + r.rateText(r.Aim)
	case r.Ratio == 0:
		return "<= " + quantity(r.Aim, r.Unit)
	case r.AimOfRate:
		return fmt.Sprintf(">= %.2f x", r.Aim)
	}
	return "<= " + times(r.Aim)
}

func (r row) verdict() string {
	switch {
	case r.Met == nil:
		return ""
	case *r.Met:
		return "met"
	}
	return "missed"
}

// writeJSON stores the rows in a file.
func writeJSON(path string, rows []row) error {
	b, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return fmt.Errorf("encode rows: %w", err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	return nil
}
