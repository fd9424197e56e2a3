package daemon

import (
	"context"
	"errors"
	"fmt"

	"moorage/sandbox/containerd"
	"moorage/sandbox/containerd/embed"
)

// engine is the runtime, and how to close it and what is below it.
type engine struct {
	name    string // "embedded", or the address of a system's containerd
	runtime *containerd.Runtime
	close   func()
}

// checkRun refuses a directory whose sockets could have no address, before
// anything is made in it.
func checkRun(o Options) error {
	most := containerd.RunMax
	if o.Containerd == "" {
		most = min(most, embed.RunMax)
	}
	if len(o.Dirs.Run) > most {
		return fmt.Errorf("--run %s has %d bytes: at most %d, so that the sockets below it fit", o.Dirs.Run, len(o.Dirs.Run), most)
	}
	return nil
}

// openEngine opens the runtime on the embedded containerd or on a system's. All
// that is durable of both is in root: records and what they tell of stay together.
func openEngine(ctx context.Context, o Options, root string) (*engine, error) {
	e := &engine{name: "embedded"}
	o.Engine.Root, o.Engine.Run, o.Engine.Log = root, o.Dirs.Run, o.Log
	if o.Containerd != "" {
		e.name = o.Containerd
		client, err := containerd.Dial(o.Containerd)
		if err != nil {
			return nil, err
		}
		e.runtime, err = containerd.New(client, o.Engine)
		return e.open(ctx, o, err, client.Close)
	}
	in, err := embed.Start(ctx, embed.Options{Root: root, Run: o.Dirs.Run, ShimPath: o.ShimPath, Log: o.Log})
	if err != nil {
		return nil, err
	}
	o.Engine.RuntimeName = in.RuntimeName()
	e.runtime, err = containerd.New(in.Client(), o.Engine)
	return e.open(ctx, o, err, in.Close)
}

// open opens a runtime that was made, or not, above something to be closed.
func (e *engine) open(ctx context.Context, o Options, err error, below func() error) (*engine, error) {
	if err != nil {
		return nil, errors.Join(err, below())
	}
	if err := e.runtime.Open(ctx); err != nil {
		return nil, errors.Join(err, e.runtime.Close(), below())
	}
	e.close = func() {
		if err := errors.Join(e.runtime.Close(), below()); err != nil {
			o.Log.Error("close engine", "err", err)
		}
	}
	return e, nil
}
