package containerd

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	cg1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	cg2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"

	"moorage/sandbox"
	"moorage/sandbox/containerd/labels"
)

// load finds a container's record. A container of another instance, or with no
// label of ours, is as one that does not exist.
func (r *Runtime) load(ctx context.Context, ref sandbox.Ref) (containers.Container, error) {
	c, err := r.client.ContainerService().Get(ctx, keyOf(r.instance, ref))
	if err == nil && !r.owns(c, ref) {
		err = errdefs.ErrNotFound
	}
	if errdefs.IsNotFound(err) {
		return containers.Container{}, fmt.Errorf("container %s: %w", ref.ID, sandbox.ErrNotFound)
	}
	if err != nil {
		return containers.Container{}, engineError("find container "+ref.String(), err)
	}
	return c, nil
}

func (r *Runtime) owns(c containers.Container, ref sandbox.Ref) bool {
	return c.Labels[labelInstance] == r.instance &&
		c.Labels[labelBot] == string(ref.Bot) && c.Labels[labelContainer] == string(ref.ID)
}

// loadAll lists the records of one bot, or of all if bot is "".
func (r *Runtime) loadAll(ctx context.Context, bot sandbox.Bot) ([]containers.Container, error) {
	filter := fmt.Sprintf("labels.%q==%q", labelInstance, r.instance)
	if bot != "" {
		filter += fmt.Sprintf(",labels.%q==%q", labelBot, bot)
	}
	list, err := r.client.ContainerService().List(ctx, filter)
	if err != nil {
		return nil, engineError("list containers", err)
	}
	return list, nil
}

// Status returns the record of one container and its state.
func (r *Runtime) Status(ctx context.Context, ref sandbox.Ref) (sandbox.Status, error) {
	ctx = r.namespaced(ctx)
	c, err := r.load(ctx, ref)
	if err != nil {
		return sandbox.Status{}, err
	}
	return r.status(ctx, c)
}

// List returns the containers of one bot, or all of this instance if bot is "".
// One whose record cannot be read is left out and logged.
func (r *Runtime) List(ctx context.Context, bot sandbox.Bot) ([]sandbox.Status, error) {
	ctx = r.namespaced(ctx)
	all, err := r.loadAll(ctx, bot)
	if err != nil {
		return nil, err
	}
	list := make([]sandbox.Status, 0, len(all))
	for _, c := range all {
		st, err := r.status(ctx, c)
		if err != nil {
			r.log.Error("leave out a container", "key", c.ID, "err", err)
			continue
		}
		list = append(list, st)
	}
	return list, nil
}

func (r *Runtime) status(ctx context.Context, c containers.Container) (sandbox.Status, error) {
	rec, err := decode(c)
	if err != nil {
		return sandbox.Status{}, err
	}
	shown := map[string]string{}
	for k, v := range c.Labels {
		if !strings.HasPrefix(k, labels.Prefix) && k != labelInstance && k != labelIDs && k != labelJournal {
			shown[k] = v
		}
	}
	state := r.state(ctx, c.ID)
	return sandbox.Status{
		Spec: rec.Spec, State: state, SnapshotKey: rec.snapshot,
		Userns:    r.userns && state == sandbox.StateStopped || state != sandbox.StateStopped && !rec.ids.IsZero(),
		CreatedAt: rec.created, UpdatedAt: latest(rec.created, rec.updated),
		Labels: shown, DataMounts: append([]string(nil), r.opts.DataMounts...),
	}, nil
}

// state asks the shim only where a task is known to run: whoever else is stopped.
func (r *Runtime) state(ctx context.Context, key string) sandbox.State {
	if d := r.door(key); d == nil || !d.IsOpen() {
		return sandbox.StateStopped
	}
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	switch st, err := r.taskStatus(ctx, key); {
	case errdefs.IsNotFound(err) || err == nil && st == client.Stopped:
		return sandbox.StateStopped
	case err == nil && (st == client.Paused || st == client.Pausing):
		return sandbox.StatePaused
	default: // also when the shim does not answer: its end has not been seen
		return sandbox.StateRunning
	}
}

// Touch sets the record's UpdatedAt to now.
func (r *Runtime) Touch(ctx context.Context, ref sandbox.Ref) error {
	ctx = r.namespaced(ctx)
	c, err := r.load(ctx, ref)
	if err != nil {
		return err
	}
	c = containers.Container{ID: c.ID, Labels: map[string]string{labelUpdated: stamp(time.Now())}}
	if _, err := r.client.ContainerService().Update(ctx, c, "labels."+labelUpdated); err != nil {
		return engineError("touch container "+ref.String(), err)
	}
	return nil
}

// Usage measures a running container by its cgroup. Memory is without the page
// cache that the kernel would give back first.
func (r *Runtime) Usage(ctx context.Context, ref sandbox.Ref) (sandbox.Usage, error) {
	ctx = r.namespaced(ctx)
	c, err := r.load(ctx, ref)
	if err != nil {
		return sandbox.Usage{}, err
	}
	task, err := r.task(ctx, c.ID)
	if err != nil {
		return sandbox.Usage{}, notRunning("measure "+ref.String(), err)
	}
	metric, err := task.Metrics(ctx)
	if err != nil {
		return sandbox.Usage{}, notRunning("measure "+ref.String(), err)
	}
	stats, err := typeurl.UnmarshalAny(metric.Data)
	if err != nil {
		return sandbox.Usage{}, fmt.Errorf("measure %s: %w", ref, err)
	}
	u, err := usageOf(stats)
	u.PIDs = max(0, u.PIDs-threads(task.Pid()))
	return u, err
}

// threads is how many threads a process has: the agent's count in its cgroup, and
// are none of the bot's. 0 if it has ended.
func threads(pid uint32) int64 {
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0
	}
	return int64(len(all))
}

func usageOf(stats any) (sandbox.Usage, error) {
	switch m := stats.(type) {
	case *cg1.Metrics:
		return sandbox.Usage{
			MemoryBytes: less(m.GetMemory().GetUsage().GetUsage(), m.GetMemory().GetTotalInactiveFile()),
			PIDs:        int64(m.GetPids().GetCurrent()),
			CPUSeconds:  float64(m.GetCPU().GetUsage().GetTotal()) / 1e9,
		}, nil
	case *cg2.Metrics:
		return sandbox.Usage{
			MemoryBytes: less(m.GetMemory().GetUsage(), m.GetMemory().GetInactiveFile()),
			PIDs:        int64(m.GetPids().GetCurrent()),
			CPUSeconds:  float64(m.GetCPU().GetUsageUsec()) / 1e6,
		}, nil
	default:
		return sandbox.Usage{}, fmt.Errorf("measure: %w: metrics of type %T", sandbox.ErrUnsupported, stats)
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func less(total, part uint64) int64 {
	if part > total {
		return 0
	}
	return int64(total - part)
}
