package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/containers"

	"moorage/sandbox"
)

// labelJournal holds what a change of a container's root filesystem has begun to
// do; "" or absent when nothing is under way. It is written before the first step
// and removed after the last: who finds it finishes the change, or undoes it.
const labelJournal = "moorage/journal"

// What a journal can be about.
const (
	opCommit  = "commit"  // the active layer becomes a snapshot, a new one takes its place
	opRestore = "restore" // and the new one stands on another snapshot
)

// journal is a change that is under way.
type journal struct {
	Op   string `json:"op"`
	ID   string `json:"id"`   // of the snapshot that is made
	Old  string `json:"old"`  // key of the container's active layer before
	Next string `json:"next"` // and after

	Name    sandbox.SnapshotName `json:"name"`
	Origin  sandbox.Origin       `json:"origin"`
	Note    string               `json:"note,omitempty"`
	Parent  sandbox.SnapshotName `json:"parent,omitempty"`
	Created time.Time            `json:"created"`

	// Inode is that of the active layer's directory: where it is tells whether
	// the two directories have been exchanged. Of a commit.
	Inode uint64 `json:"inode,omitempty"`
	Stage string `json:"stage,omitempty"` // key of the layer that the directory is exchanged with

	// Of a restore.
	To        string `json:"to,omitempty"` // id of the snapshot to go back to
	DataBytes int64  `json:"data_bytes,omitempty"`
	DataFiles int64  `json:"data_files,omitempty"`
	Go        bool   `json:"go,omitempty"` // all is prepared: it is finished, not undone
}

// parseJournal reads a container's; nil if nothing is under way.
func parseJournal(c containers.Container) (*journal, error) {
	text := c.Labels[labelJournal]
	if text == "" {
		return nil, nil
	}
	var j journal
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return nil, fmt.Errorf("read journal of %s: %w", c.ID, err)
	}
	return &j, nil
}

// begin writes the journal; conclude takes it away. Both are durable when they
// return.
func (r *Runtime) begin(ctx context.Context, key string, j journal) error {
	b, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("encode journal: %w", err)
	}
	return r.setLabels(ctx, key, map[string]string{labelJournal: string(b)})
}

func (r *Runtime) conclude(ctx context.Context, key string) error {
	return r.setLabels(ctx, key, map[string]string{labelJournal: ""})
}

// setLabels changes some labels of a container at once.
func (r *Runtime) setLabels(ctx context.Context, key string, l map[string]string) error {
	paths := make([]string, 0, len(l))
	for k := range l {
		paths = append(paths, "labels."+k)
	}
	if _, err := r.client.ContainerService().Update(ctx, containers.Container{ID: key, Labels: l}, paths...); err != nil {
		return engineError("write record", err)
	}
	return nil
}
