package tools

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"moorage/sandbox"
)

type restoreInput struct {
	SnapshotName string `json:"snapshot_name" doc:"Snapshot to go back to."`
	ContainerID  string `json:"container_id,omitempty" doc:"Container, else the one it was taken of."`
}

type restoreFacts struct {
	SnapshotName   string   `json:"snapshot_name"`
	ContainerID    string   `json:"container_id"`
	BeforeSnapshot string   `json:"before_snapshot"`
	Stopped        []string `json:"stopped" schema:"-"`
	Started        []string `json:"started_again" schema:"-"`
}

func (s *Server) restoreSnapshot(ctx context.Context, c *call, in restoreInput) (r reply[restoreFacts], err error) {
	name, err := existingSnapshot("snapshot_name", in.SnapshotName)
	if err != nil {
		return r, err
	}
	id, err := c.optionalContainer(in.ContainerID)
	if err != nil {
		return r, err
	}
	c.progress.elapse(CallTime, "restoring the snapshot")
	done, err := s.manager.Restore(ctx, c.bot, name, id)
	if err != nil {
		return r, withoutContainer(err, name, in.ContainerID, "create_container with from_snapshot makes one of it; container_id names another to put back")
	}
	c.in(string(done.Ref.ID))
	r.facts = restoreFacts{
		SnapshotName: in.SnapshotName, ContainerID: string(done.Ref.ID), BeforeSnapshot: string(done.Before.Name),
		Stopped: orEmpty(idStrings(done.Stopped)), Started: orEmpty(idStrings(done.Started)),
	}
	r.say(r.facts.text())
	return r, nil
}

// withoutContainer words that the container that a snapshot was taken of, which
// is meant if none is named, is gone.
func withoutContainer(err error, name sandbox.SnapshotName, id, hint string) error {
	if id != "" || !errors.Is(err, sandbox.ErrNotFound) || errors.Is(err, sandbox.ErrNoSnapshot) {
		return err
	}
	return &failure{code: notFound, cause: fmt.Sprintf("the container that snapshot %s was taken of does not exist any more", name), hint: hint, err: err}
}

func (f *restoreFacts) text() string {
	text := fmt.Sprintf("Container %s is back at snapshot %s, root filesystem and data. The state before is kept as snapshot %s: restore_snapshot of that undoes this.",
		f.ContainerID, f.SnapshotName, f.BeforeSnapshot)
	if len(f.Stopped) == 0 {
		return text + " No process ran."
	}
	text += " Stopped for it, with all processes: " + strings.Join(f.Stopped, ", ")
	switch {
	case len(f.Stopped) == len(f.Started):
		text += "; started again."
	case len(f.Started) == 0:
		text += "; the next call starts it again."
	default:
		text += "; started again: " + strings.Join(f.Started, ", ") + ", the others by the next call."
	}
	if len(f.Stopped) > 1 {
		text += " They share the data."
	}
	return text
}
