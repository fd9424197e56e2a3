package tools

import (
	"context"
	"fmt"
	"strings"
	"time"

	"moorage/sandbox"
)

// Bounds of list_snapshots.
const (
	snapshotsDefault = 100
	// snapshotFactBytes is the most JSON of the facts of a page, so that it fits
	// ResultMax beside the text.
	snapshotFactBytes = 400_000
)

type listSnapshotsInput struct {
	ContainerID string `json:"container_id,omitempty" doc:"Only of this container."`
	Snapshotter string `json:"snapshotter,omitempty" doc:"Only of this snapshotter."`
	Limit       int64  `json:"limit,omitempty" doc:"Most snapshots." min:"1" max:"1000" default:"100"`
	Offset      int64  `json:"offset,omitempty" doc:"Snapshots to skip." min:"0"`
}

type listSnapshotsFacts struct {
	Snapshotter string          `json:"snapshotter"`
	Snapshots   []snapshotFacts `json:"snapshots" schema:"-"`
	Total       int             `json:"total"`
	NextOffset  int64           `json:"next_offset,omitempty"`
}

type snapshotFacts struct {
	SnapshotName string            `json:"snapshot_name"`
	Parent       string            `json:"parent"`
	Kind         string            `json:"kind"`
	ContainerID  string            `json:"container_id"`
	Note         string            `json:"note"`
	CreatedAt    time.Time         `json:"created_at"`
	UpdatedAt    time.Time         `json:"updated_at"`
	SizeBytes    int64             `json:"size_bytes"`
	Labels       map[string]string `json:"labels"`
}

func (s *Server) listSnapshots(ctx context.Context, c *call, in listSnapshotsInput) (r reply[listSnapshotsFacts], err error) {
	id, err := c.optionalContainer(in.ContainerID)
	if err != nil {
		return r, err
	}
	all, err := s.manager.ListSnapshots(ctx, c.bot, id, in.Snapshotter)
	if err != nil {
		return r, err
	}
	from := min(in.Offset, int64(len(all)))
	limit := in.Limit
	if limit == 0 {
		limit = snapshotsDefault
	}
	text, rows := snapshotPage(all[from:], int(limit))
	r.facts = listSnapshotsFacts{Snapshotter: in.Snapshotter, Snapshots: rows, Total: len(all)}
	if in.Snapshotter == "" {
		r.facts.Snapshotter = s.manager.Snapshotter()
	}
	switch next := from + int64(len(rows)); {
	case len(all) == 0:
		text = "There is no such snapshot. create_snapshot takes one."
	case next < int64(len(all)):
		r.facts.NextOffset = next
		r.note("%d of %s; the rest: list_snapshots with offset %d", len(rows), count(int64(len(all)), "snapshot"), next)
	default:
		r.note("%d of %s", len(rows), count(int64(len(all)), "snapshot"))
	}
	r.say(text)
	return r, nil
}

// snapshotPage are the first snapshots as lines and as facts, as many as fit.
func snapshotPage(all []sandbox.Snapshot, limit int) (text string, rows []snapshotFacts) {
	rows = []snapshotFacts{}
	var b strings.Builder
	size := 0
	for _, sn := range all[:min(len(all), limit)] {
		f := factsOfSnapshot(sn)
		line := f.line(sn.Origin)
		size += len(mustJSON(f))
		if len(rows) > 0 && (b.Len()+len(line) > searchChars || size > snapshotFactBytes) {
			break
		}
		if len(rows) > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(line)
		rows = append(rows, f)
	}
	return b.String(), rows
}

func factsOfSnapshot(sn sandbox.Snapshot) snapshotFacts {
	labels := sn.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	return snapshotFacts{
		SnapshotName: string(sn.Name), Parent: string(sn.Parent), Kind: "committed", ContainerID: string(sn.Spec.Ref.ID), Note: sn.Note,
		CreatedAt: sn.CreatedAt.UTC(), UpdatedAt: sn.UpdatedAt.UTC(), SizeBytes: sn.Size, Labels: labels,
	}
}

// line is the snapshot for whoever reads text.
func (f *snapshotFacts) line(o sandbox.Origin) string {
	line := fmt.Sprintf("%s  of container %s  %v  created %s", f.SnapshotName, f.ContainerID, sandbox.Size(f.SizeBytes), stamp(f.CreatedAt))
	if f.Parent != "" {
		line += "  on " + f.Parent
	}
	switch o {
	case sandbox.OriginRestore:
		line += "  kept by a restore"
	case sandbox.OriginImport:
		line += "  imported"
	}
	if f.Note != "" {
		line += "  " + clean(f.Note, 300)
	}
	return line
}
