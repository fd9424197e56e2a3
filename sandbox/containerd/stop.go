package containerd

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"moorage/sandbox"
	"moorage/sandbox/containerd/door"
)

// Stop ends every process: SIGTERM to the agent, then SIGKILL after grace, or as
// soon as ctx ends. See sandbox.Runtime.
func (r *Runtime) Stop(ctx context.Context, ref sandbox.Ref, grace time.Duration) error {
	ctx = r.namespaced(ctx)
	key := keyOf(r.instance, ref)
	s, err := r.acquire(ctx, key)
	if err != nil {
		return fmt.Errorf("stop %s: %w", ref, err)
	}
	defer r.release(key, s)
	if _, err := r.load(ctx, ref); err != nil {
		return err
	}
	if err := r.stop(ctx, s, key, grace); err != nil {
		return fmt.Errorf("stop %s: %w", ref, err)
	}
	return nil
}

func (r *Runtime) stop(ctx context.Context, s *slot, key string, grace time.Duration) error {
	defer r.closeDoor(s, fmt.Errorf("%w: it was stopped", sandbox.ErrNotRunning))
	if d := s.current(); grace > 0 && d != nil && d.IsOpen() {
		if err := r.terminate(ctx, d, key, grace); err != nil {
			r.log.Debug("ask task to end", "key", key, "err", err)
		}
	}
	return r.clear(context.WithoutCancel(ctx), key)
}

// terminate asks the agent to end, and waits at most grace for it.
func (r *Runtime) terminate(ctx context.Context, d *door.Door, key string, grace time.Duration) error {
	task, err := r.task(ctx, key)
	if err != nil {
		return err
	}
	// A frozen process gets no signal.
	if st, err := r.taskStatus(ctx, key); err == nil && (st == client.Paused || st == client.Pausing) {
		if err := r.thaw(ctx, key); err != nil {
			return err
		}
	}
	r.thawCgroups(key)
	if err := task.Kill(ctx, syscall.SIGTERM); err != nil {
		return err
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-d.Ended(): // by the goroutine that watches the task
	case <-t.C:
	case <-ctx.Done():
	}
	return nil
}

// closeDoor ends the container's door, if it has one. Those who wait at it get why.
func (r *Runtime) closeDoor(s *slot, why error) {
	if d := s.current(); d != nil {
		d.End(why)
		s.set(nil)
	}
}

// clear kills and removes the container's task, whatever state it is in, and
// returns when none is left, or after clearTimeout. A shim that dies meanwhile is
// cleared up by containerd, which takes a moment: until then its task cannot be
// removed. A shim that cannot do what it is told for a while, since its files
// are gone or its runc fails, is killed.
func (r *Runtime) clear(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, clearTimeout)
	defer cancel()
	force := time.AfterFunc(forceAfter, func() { r.killShim(key) })
	defer force.Stop()
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		task, err := r.task(ctx, key)
		if err == nil {
			if st, serr := r.taskStatus(ctx, key); serr == nil && (st == client.Paused || st == client.Pausing) {
				r.thaw(ctx, key)
			}
			_, err = task.Delete(ctx, client.WithProcessKill)
		}
		if errdefs.IsNotFound(err) {
			break
		}
		if cause := pause(ctx, wait); cause != nil {
			if err == nil {
				err = cause
			}
			return engineError("remove task", err)
		}
	}
	if r.hasCgroup(key) {
		r.purge(ctx, key)
	}
	return nil
}

// task finds the container's task without its record.
func (r *Runtime) task(ctx context.Context, key string) (client.Task, error) {
	c, err := r.client.LoadContainer(ctx, key)
	if err != nil {
		return nil, err
	}
	return c.Task(ctx, nil)
}
