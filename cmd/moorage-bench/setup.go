package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"moorage/cmd/moorage-bench/client"
)

// measure runs all parts, says which begins, and stops what it started. With an
// error it returns the rows that there are.
func measure(ctx context.Context, o options, dir string, begins func(part string)) (rows []row, err error) {
	b := &bench{opts: o, dir: dir}
	defer func() {
		clients := b.closeClients()
		if ctx.Err() != nil { // that ended the clients, and they say so
			err, clients = fmt.Errorf("measure: %w", context.Cause(ctx)), nil
		}
		err = errors.Join(err, clients, b.stopServers())
	}()
	if err := b.setUp(ctx); err != nil {
		return nil, err
	}
	parts, err := b.parts(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		if !strings.Contains(p.name, b.opts.Only) {
			continue
		}
		begins(p.name)
		more, err := p.run(ctx)
		rows = append(rows, more...)
		if err != nil {
			return rows, err
		}
	}
	return rows, b.lacking()
}

// setUp starts every server, and the containers and files that the contests use.
func (b *bench) setUp(ctx context.Context) (err error) {
	if b.floor, err = startFloor(ctx); err != nil {
		return err
	}
	if b.runc, err = newRunc(ctx, filepath.Join(b.dir, "runc")); err != nil {
		return err
	}
	if b.server, _, err = startServer(ctx, b.opts.moorage(), b.dir); err != nil {
		return err
	}
	if err := b.setUpOurs(ctx); err != nil {
		return err
	}
	if err := b.setUpReference(ctx); err != nil {
		return err
	}
	return b.startBig(ctx)
}

func (b *bench) setUpOurs(ctx context.Context) error {
	c, err := b.server.connect(ctx, benchBot)
	if err != nil {
		return err
	}
	b.ours = ours(c)
	tools, err := c.Tools()
	if err != nil {
		return err
	}
	b.lacks = map[string]bool{}
	for _, tool := range []string{editTool, grepTool, globTool} {
		b.lacks[tool] = !slices.Contains(tools, tool)
	}
	if b.lacks[editTool] {
		b.ours.edit = ""
	}
	if _, err := c.Call("create_container", map[string]any{}); err != nil {
		return err
	}
	if err := b.ours.prepare(b.opts.editFiles()); err != nil {
		return err
	}
	if err := b.makeTrees(ctx); err != nil {
		return err
	}
	b.creator, err = b.server.connect(ctx, "bench-create")
	return err
}

func (b *bench) setUpReference(ctx context.Context) (err error) {
	if b.reference, err = startReference(ctx, b.opts.Node, filepath.Join(b.dir, "reference"), b.dataDir()); err != nil {
		return err
	}
	if b.reference == nil {
		fmt.Fprintln(os.Stderr, "no reference server: Node with @modelcontextprotocol/server-filesystem is not at -node")
		return nil
	}
	return b.reference.prepare(b.opts.editFiles())
}

// lacking is the error of a server that lacks tools.
func (b *bench) lacking() error {
	var names []string
	for tool, lacks := range b.lacks {
		if lacks {
			names = append(names, tool)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return fmt.Errorf("measure: %s has no tool %s, so the contests of it are left out; build it from this source: make build",
		b.opts.moorage(), strings.Join(names, ", "))
}

// closeClients ends every MCP session that was started.
func (b *bench) closeClients() error {
	var errs []error
	for _, c := range []*client.Client{b.creator, b.ours.session(), b.reference.session(), b.big.session(), b.floor} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// stopServers stops the server and the containers that were started.
func (b *bench) stopServers() error {
	var errs []error
	if b.big != nil {
		errs = append(errs, stopLeft(b.opts.moorage(), b.big.dir))
	}
	if b.server != nil {
		errs = append(errs, b.server.stopAll())
	}
	if b.runc != nil {
		errs = append(errs, b.runc.close())
	}
	return errors.Join(errs...)
}
