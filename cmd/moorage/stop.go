package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"moorage/cmd/moorage/daemon"
	"moorage/cmd/moorage/store"
)

// stopTimeout is how long a server and its containers may take to end.
const stopTimeout = time.Minute

type stopCmd struct {
	Containers bool `help:"Stop all running containers first. Their files stay."`
}

// Run stops the server of these directories and waits for its end.
func (c *stopCmd) Run(ctx context.Context, d daemon.Dirs) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := c.startForContainers(ctx, d); err != nil {
		return err
	}
	s, err := daemon.Stop(ctx, d, c.Containers)
	if err != nil {
		return err
	}
	if s.PID == 0 {
		fmt.Printf("no server runs on %s\n", d.Root)
		return nil
	}
	if c.Containers {
		fmt.Printf("stopped %d containers\n", s.Containers)
	}
	fmt.Printf("stopped the server, pid %d\n", s.PID)
	return nil
}

// startForContainers starts a server to be stopped, if there is none and an
// earlier one has left containers that may run, or its store mounted for them.
func (c *stopCmd) startForContainers(ctx context.Context, d daemon.Dirs) error {
	if _, held, err := daemon.FindHolder(d.Root); !c.Containers || held || err != nil {
		return err
	}
	on, err := store.Mounted(d.Root)
	if err != nil {
		return err
	}
	tasks, _ := filepath.Glob(filepath.Join(d.Run, "runc", "*", "m-*")) // of the OCI runtime
	if !on && len(tasks) == 0 {
		return nil
	}
	return spawn(ctx, d, nil)
}
