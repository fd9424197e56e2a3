package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// namedWhenFull is how many snapshots an error names that could be deleted.
const namedWhenFull = 5

// roomForSnapshot refuses a snapshot that the bot has already, or one more if
// it has as many or as large ones as it may. What a snapshot will take is known
// only when it is there, so the last one may go over the bytes.
func (m *Manager) roomForSnapshot(ctx context.Context, s Snapshots, bot Bot, name SnapshotName, what string) error {
	all, err := s.ListSnapshots(ctx, bot)
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	if i := slices.IndexFunc(all, func(sn Snapshot) bool { return sn.Name == name }); i >= 0 {
		return fmt.Errorf("%s: %w: there is a snapshot %s from %s", what, ErrAlreadyExists, name, all[i].CreatedAt.UTC().Format(time.RFC3339))
	}
	if full := m.opts.full(all); full != "" {
		return fmt.Errorf("%s: %w: %s", what, ErrLimit, full)
	}
	return nil
}

// full says in words that a bot's snapshots leave no room for another, and which
// to delete; "" if there is room.
func (o Options) full(all []Snapshot) string {
	var bytes int64
	for _, sn := range all {
		bytes += sn.Size
	}
	switch {
	case o.MaxSnapshots > 0 && len(all) >= o.MaxSnapshots:
		oldest := slices.SortedStableFunc(slices.Values(all), func(a, b Snapshot) int { return a.CreatedAt.Compare(b.CreatedAt) })
		return fmt.Sprintf("this bot has %d snapshots, at most %d are allowed; delete some first, the oldest are %s", len(all), o.MaxSnapshots, named(oldest))
	case o.MaxSnapshotBytes > 0 && bytes >= o.MaxSnapshotBytes:
		biggest := slices.SortedStableFunc(slices.Values(all), func(a, b Snapshot) int { return cmp.Compare(b.Size, a.Size) })
		return fmt.Sprintf("this bot's snapshots have %s, at most %s are allowed; delete some first, the biggest are %s", Size(bytes), Size(o.MaxSnapshotBytes), named(biggest))
	}
	return ""
}

// named lists the first of some snapshots, with sizes and dates.
func named(all []Snapshot) string {
	var b strings.Builder
	for i, sn := range all[:min(len(all), namedWhenFull)] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s (%s, %s)", sn.Name, Size(sn.Size), sn.CreatedAt.UTC().Format("2006-01-02 15:04:05"))
	}
	return b.String()
}
