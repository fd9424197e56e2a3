package states

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"moorage/cmd/moorage/store"
	"moorage/sandbox"
	"moorage/sandbox/containerd"
	"moorage/sandbox/containerd/embed"
)

const (
	namespace      = "moorage"
	cleanupTimeout = 30 * time.Second
)

// engine is a Manager on a runtime on an embedded engine on a store.
type engine struct {
	*sandbox.Manager
	in      *embed.Embedded
	store   *store.Store
	made    []sandbox.Ref
	closers []func() error // the last first
}

// start opens an engine with its state in dir and the agent and the shim from
// bin, on a store as spec says.
func start(ctx context.Context, dir, bin string, spec store.Spec) (_ *engine, err error) {
	e := &engine{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start the engine: %w", err), e.close())
		}
	}()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	root, run := filepath.Join(dir, "root"), filepath.Join(dir, "run")
	if err := os.MkdirAll(root, 0o711); err != nil {
		return nil, err
	}
	if e.store, err = store.Open(root, spec, log); err != nil {
		return nil, err
	}
	e.closers = append(e.closers, e.store.Close)
	if spec.Kind != "" && e.store.Kind() != spec.Kind {
		return nil, fmt.Errorf("the store is %s, not %s", e.store.Kind(), spec.Kind)
	}
	at := e.store.Dir()
	if e.in, err = embed.Start(ctx, embed.Options{Root: at, Run: run, ShimPath: filepath.Join(bin, "moorage-shim"), Log: log}); err != nil {
		return nil, err
	}
	e.closers = append(e.closers, e.in.Close)
	rt, err := containerd.New(e.in.Client(), containerd.Options{
		Namespace: namespace, Root: at, Run: run, RuntimeName: e.in.RuntimeName(), AgentPath: filepath.Join(bin, "moorage-agent"), Log: log,
	})
	if err != nil {
		return nil, err
	}
	e.closers = append(e.closers, rt.Close)
	if err := rt.Open(ctx); err != nil {
		return nil, err
	}
	e.Manager = sandbox.NewManager(rt, sandbox.Options{Log: log, MaxSnapshots: -1, MaxSnapshotBytes: -1})
	e.closers = append(e.closers, e.Manager.Close)
	return e, nil
}

// close deletes what containers are left and closes what was opened.
func (e *engine) close() error {
	var errs []error
	for _, ref := range e.made {
		errs = append(errs, e.drop(ref))
	}
	for i := len(e.closers) - 1; i >= 0; i-- {
		errs = append(errs, e.closers[i]())
	}
	e.closers, e.made = nil, nil
	return errors.Join(errs...)
}

// drop deletes a container, its data, and its bot's snapshots; one that is gone
// is no error.
func (e *engine) drop(ref sandbox.Ref) error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	var errs []error
	if err := e.Delete(ctx, ref, true); err != nil && !errors.Is(err, sandbox.ErrNotFound) {
		errs = append(errs, err)
	}
	all, err := e.ListSnapshots(ctx, ref.Bot, "", "")
	for _, s := range all {
		_, err := e.DeleteSnapshot(ctx, ref.Bot, s.Name)
		errs = append(errs, err)
	}
	return errors.Join(append(errs, err)...)
}
