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
		if stopped := stoppedFor(idStrings(done.Stopped), idStrings(done.Started)); stopped != "" && !errors.Is(err, sandbox.ErrPending) {
			c.notice(stopped)
		}
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
	return text + " " + stoppedFor(f.Stopped, f.Started) + "."
}

// stoppedFor says which containers a restore has stopped and, also when it failed,
// started again; "" if none.
func stoppedFor(stopped, started []string) string {
	if len(stopped) == 0 {
		return ""
	}
	text := "Stopped for it, with all processes: " + strings.Join(stopped, ", ")
	switch {
	case len(stopped) == len(started):
		text += "; started again"
	case len(started) == 0:
		text += "; the next call starts it again"
	default:
		text += "; started again: " + strings.Join(started, ", ") + ", the others by the next call"
	}
	if len(stopped) > 1 {
		text += ". They share the data"
	}
	return text
}
