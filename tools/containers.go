package tools

import (
	"context"
	"fmt"
	"strings"
	"time"

	"moorage/sandbox"
)

// stopGrace is how many seconds a container may take to stop when the caller
// does not say. The schema's maximum is such that the call fits CallTime.
const stopGrace = 10

func (s *Server) addContainers() {
	add(s, definition{
		name: "create_container", long: true,
		description: "Make and start a container from an OCI image; it becomes the current one, which calls without container_id use. The same id and request again returns it as it is. Other tools make a default container by themselves if you have none.",
		hints:       hints{idempotent: true, openWorld: true},
	}, s.createContainer)
	add(s, definition{
		name:        "list_containers",
		description: "List your containers: image, state, limits, usage, which is current.",
		hints:       hints{readOnly: true, idempotent: true},
	}, s.listContainers)
	add(s, definition{
		name: "stop_container", long: true,
		description: "End all processes of a container. Files stay; a later call that needs it starts it.",
		hints:       hints{destructive: true, idempotent: true},
	}, s.stopContainer)
	add(s, definition{
		name: "delete_container", long: true,
		description: "Delete a container for good. Your data under /data stays unless delete_data is true; a fork's copy goes.",
		hints:       hints{destructive: true},
	}, s.deleteContainer)
}

type createInput struct {
	ContainerID string            `json:"container_id,omitempty" doc:"Name for it (default a new UUID)."`
	Image       string            `json:"image,omitempty" doc:"Image, such as python:3.13-slim."`
	From        string            `json:"from_snapshot,omitempty" doc:"Fork this snapshot; its data is copied and deleted with the container."`
	Snapshotter string            `json:"snapshotter,omitempty" doc:"Snapshotter for its root filesystem."`
	Env         map[string]string `json:"env,omitempty" doc:"Environment variables."`
	Limits      createLimits      `json:"limits,omitempty" doc:"The most it may use."`
}

type createLimits struct {
	MemoryMB int64   `json:"memory_mb,omitempty" doc:"Memory in MiB." min:"16"`
	CPUs     float64 `json:"cpus,omitempty" doc:"CPUs, such as 0.5." min:"0.01"`
	PIDs     int64   `json:"pids,omitempty" doc:"Processes and threads." min:"16"`
}

type createFacts struct {
	ContainerID string   `json:"container_id"`
	Image       string   `json:"image"`
	Snapshotter string   `json:"snapshotter"`
	Created     bool     `json:"created"`
	Started     bool     `json:"started"`
	State       string   `json:"state"`
	DataMounts  []string `json:"data_mounts"`
	Data        string   `json:"data" schema:"-"`
	From        string   `json:"from_snapshot,omitempty" schema:"-"`
}

func (s *Server) createContainer(ctx context.Context, c *call, in createInput) (r reply[createFacts], err error) {
	c.in(in.ContainerID)
	if in.ContainerID != "" {
		if _, err := containerID(in.ContainerID); err != nil {
			return r, err
		}
	}
	from, err := snapshotName("from_snapshot", in.From)
	if err != nil {
		return r, err
	}
	if from != "" {
		c.progress.elapse(CallTime, "copying the snapshot")
	}
	done, err := s.manager.Create(ctx, sandbox.CreateRequest{
		Bot: c.bot, ID: sandbox.ContainerID(in.ContainerID), Image: in.Image, Snapshotter: in.Snapshotter,
		Env: in.Env, Limits: sandbox.Limits(in.Limits), FromSnapshot: from,
	}, func(done, total int64, what string) { c.progress.set(float64(done), float64(total), what) })
	if err != nil {
		return r, err
	}
	st := done.Status
	id := string(st.Spec.Ref.ID)
	c.in(id)
	r.facts = createFacts{
		ContainerID: id, Image: st.Spec.Image, Snapshotter: st.Spec.Snapshotter,
		Created: done.Created, Started: done.Started, State: string(st.State), DataMounts: orEmpty(st.DataMounts),
		Data: dataOf(st.Spec), From: string(st.Spec.FromSnapshot),
	}
	r.say(r.facts.text())
	if !st.Userns {
		r.note("root in it is root of the host, with few capabilities: this server has no user namespaces")
	}
	return r, nil
}

// Whose data a container has.
const (
	dataShared = "shared" // the bot's, with all its containers but forks
	dataOwn    = "own"    // a fork's
)

func dataOf(spec sandbox.Spec) string {
	if spec.OwnData {
		return dataOwn
	}
	return dataShared
}

func (f *createFacts) text() string {
	verb := "is there already"
	if f.Created {
		verb = "is made"
	}
	text := fmt.Sprintf("Container %s %s and %s, from image %s", f.ContainerID, verb, f.State, f.Image)
	mounts := strings.Join(f.DataMounts, " and ")
	if f.Data == dataOwn {
		return text + fmt.Sprintf(", forked from snapshot %s. At %s it has a copy of the snapshot's data of its own, which your other containers do not see; it is deleted with the container.", f.From, mounts)
	}
	return text + fmt.Sprintf(". Your data is at %s and outlives it.", mounts)
}

type listContainersInput struct {
	ContainerID string `json:"container_id,omitempty" doc:"Only this one."`
}

type listContainersFacts struct {
	Containers []containerFacts `json:"containers"`
}

type containerFacts struct {
	ContainerID string            `json:"container_id"`
	Image       string            `json:"image"`
	Snapshotter string            `json:"snapshotter"`
	SnapshotKey string            `json:"snapshot_key"`
	State       string            `json:"state"`
	Current     bool              `json:"current"`
	CreatedAt   time.Time         `json:"created_at"`
	UpdatedAt   time.Time         `json:"updated_at"`
	Labels      map[string]string `json:"labels"`
	Data        string            `json:"data" schema:"-"`
	From        string            `json:"from_snapshot,omitempty" schema:"-"`
	Limits      limitFacts        `json:"limits"`
	Usage       *usageFacts       `json:"usage,omitempty"`
}

type limitFacts struct {
	MemoryMB int64   `json:"memory_mb"`
	CPUs     float64 `json:"cpus"`
	PIDs     int64   `json:"pids"`
}

type usageFacts struct {
	MemoryBytes int64   `json:"memory_bytes"`
	PIDs        int64   `json:"pids"`
	CPUSeconds  float64 `json:"cpu_seconds"`
}

func (s *Server) listContainers(ctx context.Context, c *call, in listContainersInput) (r reply[listContainersFacts], err error) {
	c.in(in.ContainerID)
	if in.ContainerID != "" {
		if _, err := containerID(in.ContainerID); err != nil {
			return r, err
		}
	}
	all, err := s.manager.List(ctx, c.bot, sandbox.ContainerID(in.ContainerID))
	if err != nil {
		return r, err
	}
	r.facts.Containers = make([]containerFacts, 0, len(all))
	lines := make([]string, 0, len(all))
	for _, l := range all {
		f := factsOf(l)
		r.facts.Containers = append(r.facts.Containers, f)
		lines = append(lines, f.line())
	}
	if len(all) == 0 {
		lines = append(lines, "You have no container. Any tool makes one, or create_container.")
	}
	r.say(strings.Join(lines, "\n"))
	return r, nil
}

func factsOf(l sandbox.Listed) containerFacts {
	st := l.Status
	f := containerFacts{
		ContainerID: string(st.Spec.Ref.ID), Image: st.Spec.Image, Snapshotter: st.Spec.Snapshotter,
		SnapshotKey: st.SnapshotKey, State: string(st.State), Current: l.Current,
		CreatedAt: st.CreatedAt.UTC(), UpdatedAt: st.UpdatedAt.UTC(),
		Labels: st.Labels, Data: dataOf(st.Spec), From: string(st.Spec.FromSnapshot), Limits: limitFacts(st.Spec.Limits),
	}
	if f.Labels == nil {
		f.Labels = map[string]string{}
	}
	if l.Usage != nil {
		f.Usage = (*usageFacts)(l.Usage)
	}
	return f
}

// line is the container for whoever reads text.
func (f *containerFacts) line() string {
	line := fmt.Sprintf("%s  %s  image %s (%s)  created %s  updated %s  limits %d MiB, %g CPUs, %d processes",
		f.ContainerID, f.State, f.Image, f.Snapshotter, stamp(f.CreatedAt), stamp(f.UpdatedAt), f.Limits.MemoryMB, f.Limits.CPUs, f.Limits.PIDs)
	if f.Usage != nil {
		line += fmt.Sprintf("  uses %d MiB, %d processes", f.Usage.MemoryBytes>>20, f.Usage.PIDs)
	}
	if f.From != "" {
		line += "  forked from snapshot " + f.From
	}
	if f.Data == dataOwn {
		line += "  data of its own"
	}
	if f.Current {
		line += "  current"
	}
	return line
}

type stopInput struct {
	ContainerID  string `json:"container_id" doc:"Container to stop."`
	GraceSeconds *int64 `json:"grace_seconds,omitempty" doc:"From SIGTERM to SIGKILL." min:"0" max:"30" default:"10"`
}

type stopFacts struct {
	ContainerID string `json:"container_id"`
	State       string `json:"state"`
	WasRunning  bool   `json:"was_running"`
}

func (s *Server) stopContainer(ctx context.Context, c *call, in stopInput) (r reply[stopFacts], err error) {
	c.in(in.ContainerID)
	id, err := containerID(in.ContainerID)
	if err != nil {
		return r, err
	}
	grace := int64(stopGrace)
	if in.GraceSeconds != nil {
		grace = *in.GraceSeconds
	}
	was, err := s.manager.Stop(ctx, sandbox.Ref{Bot: c.bot, ID: id}, time.Duration(grace)*time.Second)
	if err != nil {
		return r, err
	}
	r.facts = stopFacts{in.ContainerID, string(sandbox.StateStopped), was}
	if !was {
		r.say("Container " + in.ContainerID + " was stopped already.")
		return r, nil
	}
	r.say("Container " + in.ContainerID + " is stopped; its files stay. A call that needs it starts it.")
	return r, nil
}

type deleteInput struct {
	ContainerID string `json:"container_id" doc:"Container to delete."`
	DeleteData  bool   `json:"delete_data,omitempty" doc:"Delete your data too."`
}

type deleteFacts struct {
	ContainerID string `json:"container_id"`
	Deleted     bool   `json:"deleted"`
	DataDeleted bool   `json:"data_deleted"`
}

func (s *Server) deleteContainer(ctx context.Context, c *call, in deleteInput) (r reply[deleteFacts], err error) {
	c.in(in.ContainerID)
	id, err := containerID(in.ContainerID)
	if err != nil {
		return r, err
	}
	ref := sandbox.Ref{Bot: c.bot, ID: id}
	st, err := s.manager.Status(ctx, ref)
	if err != nil {
		return r, err
	}
	if err := s.manager.Delete(ctx, ref, in.DeleteData); err != nil {
		return r, err
	}
	r.facts = deleteFacts{in.ContainerID, true, in.DeleteData || st.Spec.OwnData}
	data := "your data under /data stays"
	switch {
	case st.Spec.OwnData:
		data = "with it its own copy of the data; what your other containers share under /data stays"
	case in.DeleteData:
		data = "your data under /data too"
	}
	r.say("Container " + in.ContainerID + " is deleted; " + data + ".")
	return r, nil
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
