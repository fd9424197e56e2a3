package tools

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"moorage/sandbox"
)

func (s *Server) addSnapshots() {
	add(s, definition{
		name: "create_snapshot", long: true,
		description: "Keep root filesystem and data as they are, before a risky step. The container goes on running.",
	}, s.createSnapshot)
	add(s, definition{
		name:        "list_snapshots",
		description: "List your snapshots, oldest first.",
		hints:       hints{readOnly: true, idempotent: true},
	}, s.listSnapshots)
	s.addDiffing()
	add(s, definition{
		name: "restore_snapshot", long: true,
		description: "Put root filesystem and data back to a snapshot. Ends the container's processes; the state before is kept as a snapshot too.",
		hints:       hints{destructive: true},
	}, s.restoreSnapshot)
	add(s, definition{
		name: "delete_snapshot", long: true,
		description: "Delete a snapshot for good.",
		hints:       hints{destructive: true},
	}, s.deleteSnapshot)
}

// snapshotName reads a parameter that names a snapshot; "" stays "".
func snapshotName(param, s string) (sandbox.SnapshotName, error) {
	if s == "" {
		return "", nil
	}
	name, err := sandbox.ParseSnapshotName(s)
	if err != nil {
		return "", badArgument(param, s, "1 to 128 of A-Z a-z 0-9 . _ - that begin with a letter or digit")
	}
	return name, nil
}

// existingSnapshot is snapshotName of a parameter that must be given.
func existingSnapshot(param, s string) (sandbox.SnapshotName, error) {
	if s == "" {
		return "", badArgument(param, s, "the name of a snapshot, as list_snapshots shows it")
	}
	return snapshotName(param, s)
}

// optionalContainer checks a container id; "" stays "".
func (c *call) optionalContainer(id string) (sandbox.ContainerID, error) {
	c.in(id)
	if id == "" {
		return "", nil
	}
	return containerID(id)
}

type createSnapshotInput struct {
	ContainerID  string `json:"container_id,omitempty" doc:"Container, else the current one."`
	SnapshotName string `json:"snapshot_name,omitempty" doc:"Name (default container and time)."`
	Note         string `json:"note,omitempty" doc:"What it is for." max:"1000"`
}

type createSnapshotFacts struct {
	SnapshotName string    `json:"snapshot_name"`
	ContainerID  string    `json:"container_id"`
	Snapshotter  string    `json:"snapshotter" schema:"-"`
	CreatedAt    time.Time `json:"created_at" schema:"-"`
	SizeBytes    int64     `json:"size_bytes"`
	Files        int64     `json:"files"`
	PausedMS     float64   `json:"paused_ms"`
	AlsoPaused   []string  `json:"also_paused,omitempty" schema:"-"`
}

func (s *Server) createSnapshot(ctx context.Context, c *call, in createSnapshotInput) (r reply[createSnapshotFacts], err error) {
	id, err := c.optionalContainer(in.ContainerID)
	if err != nil {
		return r, err
	}
	name, err := snapshotName("snapshot_name", in.SnapshotName)
	if err != nil {
		return r, err
	}
	c.progress.elapse(CallTime, "taking the snapshot")
	t, err := s.manager.TakeSnapshot(ctx, c.bot, id, name, in.Note)
	if err != nil {
		return r, takenName(err)
	}
	sn := t.Snapshot
	c.in(string(sn.Spec.Ref.ID))
	r.facts = createSnapshotFacts{
		SnapshotName: string(sn.Name), ContainerID: string(sn.Spec.Ref.ID), Snapshotter: sn.Spec.Snapshotter,
		CreatedAt: sn.CreatedAt.UTC(), SizeBytes: sn.Size, Files: sn.Files, PausedMS: tenths(t.Paused), AlsoPaused: idStrings(t.Shared),
	}
	r.say(r.facts.text())
	return r, nil
}

// takenName adds what to do about a snapshot's name that is taken.
func takenName(err error) error {
	if errors.Is(err, sandbox.ErrAlreadyExists) {
		return &failure{code: alreadyExists, cause: hidePaths(err.Error()), hint: "Choose another snapshot_name, or remove that one with delete_snapshot", err: err}
	}
	return err
}

func (f *createSnapshotFacts) text() string {
	text := fmt.Sprintf("Snapshot %s of container %s is taken, root filesystem and data: %v in %s beyond what it stands on. ",
		f.SnapshotName, f.ContainerID, sandbox.Size(f.SizeBytes), count(f.Files, "file"))
	switch {
	case f.PausedMS == 0:
		text += "Nothing ran and nothing was paused."
	case len(f.AlsoPaused) == 0:
		text += fmt.Sprintf("The container was paused for %g ms.", f.PausedMS)
	default:
		text += fmt.Sprintf("The container was paused for %g ms, and so were those that share its data: %s.", f.PausedMS, strings.Join(f.AlsoPaused, ", "))
	}
	return text + fmt.Sprintf(" diff_snapshot shows what changes from now on, restore_snapshot goes back to it, create_container with from_snapshot %s forks it.", f.SnapshotName)
}

// tenths is a duration in ms, to the tenth, and never 0 if it is not.
func tenths(d time.Duration) float64 {
	if d > 0 {
		d = max(d.Round(100*time.Microsecond), 100*time.Microsecond)
	}
	return float64(d.Microseconds()) / 1000
}

func idStrings(ids []sandbox.ContainerID) []string {
	var s []string
	for _, id := range ids {
		s = append(s, string(id))
	}
	return s
}

type deleteSnapshotInput struct {
	SnapshotName string `json:"snapshot_name" doc:"Snapshot to delete."`
}

type deleteSnapshotFacts struct {
	SnapshotName string `json:"snapshot_name"`
	Deleted      bool   `json:"deleted"`
}

func (s *Server) deleteSnapshot(ctx context.Context, c *call, in deleteSnapshotInput) (r reply[deleteSnapshotFacts], err error) {
	name, err := existingSnapshot("snapshot_name", in.SnapshotName)
	if err != nil {
		return r, err
	}
	sn, err := s.manager.DeleteSnapshot(ctx, c.bot, name)
	if err != nil {
		return r, err
	}
	r.facts = deleteSnapshotFacts{in.SnapshotName, true}
	r.say(fmt.Sprintf("Snapshot %s is deleted; it had %v. What other snapshots or containers stand on is kept while they need it.", name, sandbox.Size(sn.Size)))
	return r, nil
}
