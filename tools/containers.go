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
		description: "Delete a container for good. Your data under /data stays unless delete_data is true.",
		hints:       hints{destructive: true},
	}, s.deleteContainer)
}

type createInput struct {
	ContainerID string            `json:"container_id,omitempty" doc:"Name for it (default a new UUID)."`
	Image       string            `json:"image,omitempty" doc:"Image, such as python:3.13-slim."`
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
}

func (s *Server) createContainer(ctx context.Context, c *call, in createInput) (r reply[createFacts], err error) {
	c.in(in.ContainerID)
	if in.ContainerID != "" {
		if _, err := containerID(in.ContainerID); err != nil {
			return r, err
		}
	}
	done, err := s.manager.Create(ctx, sandbox.CreateRequest{
		Bot: c.bot, ID: sandbox.ContainerID(in.ContainerID), Image: in.Image, Snapshotter: in.Snapshotter,
		Env: in.Env, Limits: sandbox.Limits(in.Limits),
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
	}
	verb := "is there already"
	if done.Created {
		verb = "is made"
	}
	r.say(fmt.Sprintf("Container %s %s and %s, from image %s. Your data is at %s and outlives it.",
		id, verb, st.State, st.Spec.Image, strings.Join(st.DataMounts, " and ")))
	return r, nil
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
		Labels: st.Labels, Limits: limitFacts(st.Spec.Limits),
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
	if err := s.manager.Delete(ctx, sandbox.Ref{Bot: c.bot, ID: id}, in.DeleteData); err != nil {
		return r, err
	}
	r.facts = deleteFacts{in.ContainerID, true, in.DeleteData}
	data := "your data under /data stays"
	if in.DeleteData {
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
