package containerd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"moorage/sandbox"
	"moorage/sandbox/containerd/door"
)

// Start runs the container's agent; see sandbox.Runtime.
func (r *Runtime) Start(ctx context.Context, ref sandbox.Ref) error {
	ctx = r.namespaced(ctx)
	key := keyOf(r.instance, ref)
	s, err := r.acquire(ctx, key)
	if err != nil {
		return err
	}
	defer r.release(key, s)
	c, err := r.load(ctx, ref)
	if err != nil {
		return err
	}
	running, err := r.resume(ctx, s, key)
	if err == nil && !running {
		err = r.start(ctx, s, c)
	}
	if err != nil {
		return err
	}
	return nil
}

// resume reports whether the task runs already; a paused one is let go on. A
// shim that does not answer is as one that is gone, but not a containerd that is
// away: its task may be in the best of health.
func (r *Runtime) resume(ctx context.Context, s *slot, key string) (bool, error) {
	if d := s.current(); d == nil || !d.IsOpen() {
		return false, nil
	}
	limit, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	st, err := r.taskStatus(limit, key)
	switch {
	case ctx.Err() != nil, errdefs.IsUnavailable(err):
		return false, engineError("ask for its state", err)
	case err != nil:
		return false, nil
	case st == client.Paused || st == client.Pausing:
		err = r.thaw(ctx, key)
		return err == nil, err
	default:
		r.thawCgroups(key)
		return st == client.Running, nil
	}
}

func (r *Runtime) thaw(ctx context.Context, key string) error {
	_, err := r.client.TaskService().Resume(ctx, &tasks.ResumeTaskRequest{ContainerID: key})
	return engineError("resume", errgrpc.ToNative(err))
}

// start makes a task where none runs. The slot is held. Once begun it is not
// given up when the caller leaves: a task half made is worse than one too many.
func (r *Runtime) start(ctx context.Context, s *slot, c containers.Container) (err error) {
	c, err = r.settled(ctx, s, c)
	if err != nil {
		return err
	}
	rec, err := decode(c)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	r.closeDoor(s, sandbox.ErrNotRunning)
	if err := r.clear(ctx, c.ID); err != nil {
		return err
	}
	if rec.ids, err = r.claim(rec.Spec.Ref.Bot, c.ID); err != nil {
		return err
	}
	if err := r.refresh(ctx, c, rec); err != nil {
		return err
	}
	if err := r.makeDirs(c.ID, rec); err != nil {
		return err
	}
	d, err := door.Open(filepath.Join(r.runDir(c.ID), socketName), r.log.With("bot", rec.Spec.Ref.Bot, "container", rec.Spec.Ref.ID))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			d.End(sandbox.ErrNotRunning)
			r.undo(ctx, "remove task", func(ctx context.Context) error { return r.clear(ctx, c.ID) })
		}
	}()
	return r.launch(ctx, s, d, c.ID, rec)
}

// launch makes the task and opens the door to it.
func (r *Runtime) launch(ctx context.Context, s *slot, d *door.Door, key string, rec record) error {
	task, err := r.makeTask(ctx, key, rec)
	if err != nil {
		return engineError("make task", err)
	}
	d.Admit(task.Pid())
	exit, err := task.Wait(r.ctx)
	if err != nil {
		return engineError("watch task", err)
	}
	if err := task.Start(ctx); err != nil {
		return engineError("start task", err)
	}
	if !r.watch(s, d, task, rec.Spec.Ref, exit) {
		return fmt.Errorf("%w: the server is closing", sandbox.ErrUnavailable)
	}
	return nil
}

// makeTask also gets over what is left of an earlier task whose shim or runc was
// killed, and over another instance that clears up at the same moment.
func (r *Runtime) makeTask(ctx context.Context, key string, rec record) (client.Task, error) {
	limit, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		task, err := r.newTask(ctx, key, rec)
		if err == nil || !passes(err) || pause(limit, wait) != nil {
			return task, err
		}
		r.purge(ctx, key)
	}
}

// passes reports whether an error goes away when one waits, or purges. containerd
// takes a moment to notice that a shim is gone, and says meanwhile that there is
// no task, and that there is one already. The parent of all instances' cgroups
// is removed by the last one that closes, which may be between two of the steps
// by which runc makes ours.
func passes(err error) bool {
	text := err.Error()
	return errdefs.IsAlreadyExists(err) || strings.Contains(text, "already exists") || strings.Contains(text, "file exists") ||
		strings.Contains(text, "cgroup") && strings.Contains(text, "no such file or directory")
}

func (r *Runtime) newTask(ctx context.Context, key string, rec record) (_ client.Task, err error) {
	c, err := r.client.LoadContainer(ctx, key)
	if err != nil {
		return nil, err
	}
	mounts, err := r.stage(ctx, key, rec)
	if err != nil {
		return nil, err
	}
	defer func() {
		if uerr := r.unstage(key); uerr != nil {
			err = errors.Join(err, uerr)
		}
	}()
	opts := []client.NewTaskOpts{client.WithRootFS(mounts), r.runcOptions()}
	if filepath.IsAbs(r.opts.RuntimeName) {
		opts = append(opts, client.WithRuntimePath(r.opts.RuntimeName))
	}
	return c.NewTask(ctx, cio.NullIO, opts...)
}

// runcOptions go with each task and not with the record, so that they are
// today's.
func (r *Runtime) runcOptions() client.NewTaskOpts {
	return func(_ context.Context, _ *client.Client, info *client.TaskInfo) error {
		info.Options = &options.Options{BinaryName: r.opts.OCIRuntime, Root: r.runcRoot()}
		return nil
	}
}

func (r *Runtime) makeDirs(key string, rec record) error {
	if err := makeDir(r.runDir(key), 0o755); err != nil {
		return err
	}
	if err := makeDir(r.spoolDir(key), 0o700); err != nil {
		return err
	}
	if err := r.makeData(key, rec); err != nil {
		return err
	}
	return r.limitDisk(rec.Spec.Ref.Bot, r.dataDirOf(key, rec))
}

// watch waits for the task's end in a goroutine of its own. It reports false,
// and watches nothing, when the Runtime is closing.
func (r *Runtime) watch(s *slot, d *door.Door, task client.Task, ref sandbox.Ref, exit <-chan client.ExitStatus) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	s.set(d)
	r.work.Go(func() { r.waitEnd(s, d, task, ref, exit) })
	return true
}

// waitEnd closes the door when the task has ended, and clears up after it. When
// containerd itself goes away, it waits for its return.
func (r *Runtime) waitEnd(s *slot, d *door.Door, task client.Task, ref sandbox.Ref, exit <-chan client.ExitStatus) {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		var status client.ExitStatus
		select {
		case status = <-exit:
		case <-d.Ended():
			return
		}
		switch {
		case r.ctx.Err() != nil:
			return
		case status.Error() == nil:
			r.ended(s, d, ref, task.ID(), fmt.Sprintf("it ended with status %d", status.ExitCode()))
			return
		case r.isGone(task.ID()):
			r.ended(s, d, ref, task.ID(), "it was killed, or its shim was")
			return
		}
		if pause(r.ctx, wait) != nil {
			return
		}
		var err error
		if exit, err = task.Wait(r.ctx); err != nil {
			return
		}
	}
}

// isGone reports whether containerd says that the task does not run.
func (r *Runtime) isGone(key string) bool {
	ctx, cancel := context.WithTimeout(r.ctx, stateTimeout)
	defer cancel()
	st, err := r.taskStatus(ctx, key)
	return errdefs.IsNotFound(err) || err == nil && (st == client.Stopped || st == client.Unknown)
}

// ended is the end of a task that nobody asked for.
func (r *Runtime) ended(s *slot, d *door.Door, ref sandbox.Ref, key, how string) {
	d.End(fmt.Errorf("%w: %s", sandbox.ErrNotRunning, how))
	r.log.Info("container ended", "bot", ref.Bot, "container", ref.ID, "how", how)
	select {
	case s.sem <- struct{}{}:
	case <-r.ctx.Done():
		return
	}
	defer func() { <-s.sem }()
	if s.current() == d {
		r.undo(r.ctx, "remove task", func(ctx context.Context) error { return r.clear(ctx, key) })
	}
}
