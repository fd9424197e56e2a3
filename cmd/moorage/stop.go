package main

import (
	"context"
	"fmt"
	"time"

	"moorage/cmd/moorage/daemon"
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
