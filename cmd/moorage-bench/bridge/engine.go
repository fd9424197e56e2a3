package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"moorage/sandbox"
	"moorage/sandbox/containerd"
	"moorage/sandbox/containerd/embed"
)

const (
	bot            = "bridge"
	container      = "bridge"
	cleanupTimeout = 10 * time.Second
)

// DataDir is where the container's data is on the host, for an engine in dir.
func DataDir(dir string) string { return filepath.Join(dir, "root/data/bots", bot) }

// engine is a runtime with one container that runs.
type engine struct {
	agent   sandbox.Agent
	manager *sandbox.Manager
	closers []func() error // the last first
}

// start opens an engine with its state in dir and the agent and the shim from
// bin, and makes its container.
func start(ctx context.Context, dir, bin string) (_ *engine, err error) {
	e := &engine{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start the bridge: %w", err), e.close())
		}
	}()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	root, run := filepath.Join(dir, "root"), filepath.Join(dir, "run")
	in, err := embed.Start(ctx, embed.Options{Root: root, Run: run, ShimPath: filepath.Join(bin, "moorage-shim"), Log: log})
	if err != nil {
		return nil, err
	}
	e.closers = append(e.closers, in.Close)
	rt, err := containerd.New(in.Client(), containerd.Options{
		Root: root, Run: run, RuntimeName: in.RuntimeName(), AgentPath: filepath.Join(bin, "moorage-agent"), Log: log,
	})
	if err != nil {
		return nil, err
	}
	e.closers = append(e.closers, rt.Close)
	if err := rt.Open(ctx); err != nil {
		return nil, err
	}
	e.manager = sandbox.NewManager(rt, sandbox.Options{Log: log})
	e.closers = append(e.closers, e.manager.Close)
	if _, err := e.manager.Create(ctx, sandbox.CreateRequest{Bot: bot, ID: container}, nil); err != nil {
		return nil, err
	}
	e.closers = append(e.closers, e.deleteContainer)
	e.agent, err = e.manager.Agent(ctx, bot, container)
	return e, err
}

func (e *engine) deleteContainer() error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	return e.manager.Delete(ctx, sandbox.Ref{Bot: bot, ID: container}, true)
}

// close deletes the container and closes what was opened.
func (e *engine) close() error {
	var errs []error
	for i := len(e.closers) - 1; i >= 0; i-- {
		errs = append(errs, e.closers[i]())
	}
	e.closers = nil
	return errors.Join(errs...)
}
