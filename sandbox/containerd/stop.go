package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"moorage/sandbox"
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
	if d := s.current(); grace > 0 && d != nil && d.isOpen() {
		if err := r.terminate(ctx, d, key, grace); err != nil {
			r.log.Debug("ask task to end", "key", key, "err", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
	defer cancel()
	return r.clear(ctx, key)
}

// terminate asks the agent to end, and waits at most grace for it.
func (r *Runtime) terminate(ctx context.Context, d *door, key string, grace time.Duration) error {
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
	if err := task.Kill(ctx, syscall.SIGTERM); err != nil {
		return err
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-d.ended: // by the goroutine that watches the task
	case <-t.C:
	case <-ctx.Done():
	}
	return nil
}

// closeDoor ends the container's door, if it has one. Those who wait at it get why.
func (r *Runtime) closeDoor(s *slot, why error) {
	if d := s.current(); d != nil {
		d.end(why)
		s.set(nil)
	}
}

// clear kills and removes the container's task, whatever state it is in, and
// returns when none is left. A shim that dies meanwhile is cleared up by
// containerd, which takes a moment: until then its task cannot be removed.
func (r *Runtime) clear(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
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

// purge removes what containerd no longer knows of a task: processes and cgroups
// of it, and runc's record.
func (r *Runtime) purge(ctx context.Context, key string) {
	r.killCgroup(ctx, key)
	state := filepath.Join(r.runcRoot(), r.opts.Namespace, key)
	if _, err := os.Stat(state); err == nil {
		cmd := exec.CommandContext(ctx, r.opts.OCIRuntime, "--root", filepath.Dir(state), "delete", "--force", key)
		if out, err := cmd.CombinedOutput(); err != nil {
			r.log.Warn("remove left task", "key", key, "err", err, "output", string(out[:min(len(out), 400)]))
		}
		if err := os.RemoveAll(state); err != nil {
			r.log.Warn("remove left task", "key", key, "err", err)
		}
	}
	for _, dir := range r.cgroupDirs(key) {
		removeCgroup(dir)
	}
}

// task finds the container's task without its record.
func (r *Runtime) task(ctx context.Context, key string) (client.Task, error) {
	c, err := r.client.LoadContainer(ctx, key)
	if err != nil {
		return nil, err
	}
	return c.Task(ctx, nil)
}

// Delete removes a container; see sandbox.Runtime. What of it is gone already is
// no error, so a delete that was cut short can be repeated.
func (r *Runtime) Delete(ctx context.Context, ref sandbox.Ref, data bool) error {
	ctx = r.namespaced(ctx)
	key := keyOf(r.instance, ref)
	s, err := r.acquire(ctx, key)
	if err != nil {
		return fmt.Errorf("delete %s: %w", ref, err)
	}
	defer r.release(key, s)
	c, err := r.load(ctx, ref)
	if err != nil {
		return err
	}
	if err := r.stop(ctx, s, key, 0); err != nil {
		return fmt.Errorf("delete %s: %w", ref, err)
	}
	if data {
		if err := r.deleteData(ctx, ref.Bot); err != nil {
			return fmt.Errorf("delete %s: %w", ref, err)
		}
	}
	if err := r.client.ContainerService().Delete(ctx, key); err != nil && !errdefs.IsNotFound(err) {
		return engineError("delete "+ref.String(), err)
	}
	sn := r.client.SnapshotService(orDefault(c.Snapshotter, r.opts.Snapshotter))
	if err := sn.Remove(ctx, c.Labels[labelSnapshot]); err != nil && !errdefs.IsNotFound(err) {
		return engineError("delete "+ref.String()+": remove root filesystem", err)
	}
	return r.removeDirs(key)
}

func (r *Runtime) removeDirs(key string) error {
	if err := errors.Join(os.RemoveAll(r.runDir(key)), os.RemoveAll(r.spoolDir(key))); err != nil {
		return fmt.Errorf("remove directories: %w", err)
	}
	return nil
}

// deleteData empties the bot's data. The directory itself goes only with the
// bot's last container: others have it mounted.
func (r *Runtime) deleteData(ctx context.Context, bot sandbox.Bot) error {
	dir := r.dataDir(bot)
	if err := removeOthers(dir, nil); err != nil {
		return err
	}
	if all, err := r.loadAll(ctx, bot); err != nil || len(all) > 1 {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove data: %w", err)
	}
	return nil
}
