// Package shim is the small process that containerd keeps beside each container.
//
// It is containerd's own shim for runc, run from a binary of this project, so
// that nothing but runc must be installed. One binary can be server and shim:
// main asks [Is] first, and calls [Run] when it is true. A slim binary that only
// calls Run saves about 1.5 MB of memory for each container.
//
// A shim is called in two ways. containerd calls it by its path to start, delete
// or ask a shim: then argv[0] ends in [Name], and the environment is bare. That
// call starts the lasting process from os.Executable(), the real path of the
// binary: then only the environment, [Env], and the first argument tell.
//
// The package keeps no state and starts nothing until Run.
package shim

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	ctrdshim "github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

const (
	// Name is the file name by which containerd calls a shim.
	Name = "containerd-shim-runc-v2"
	// Env is the environment variable, with its value, of a lasting shim.
	Env = envName + "=1"

	envName = "MOORAGE_SHIM"
	runtime = "io.containerd.runc.v2"
)

// Is reports whether this process was started to be a shim.
func Is() bool {
	if filepath.Base(os.Args[0]) == Name {
		return true
	}
	return os.Getenv(envName) == "1" && len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "-namespace")
}

// Run is the whole main function of a shim. It returns when the shim has ended,
// or exits with 1 after an error, which it writes to standard error.
func Run() {
	// RunShim loads every plugin that is registered: the server's must go.
	registry.Reset()
	registry.Register(&plugin.Registration{
		Type:     plugins.TTRPCPlugin,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin, plugins.InternalPlugin},
		InitFn:   newTaskService,
	})
	ctrdshim.RunShim(context.Background(), manager.NewShimManager(runtime))
}

func newTaskService(ic *plugin.InitContext) (any, error) {
	publisher, err := ic.GetByID(plugins.EventPlugin, "publisher")
	if err != nil {
		return nil, err
	}
	sd, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
	if err != nil {
		return nil, err
	}
	// At its end ic.Context has an error of its own kind, at which the watcher for
	// out-of-memory events (cgroup v1) spins and floods the log; Canceled ends it.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ic.Context))
	context.AfterFunc(ic.Context, cancel)
	return task.NewTaskService(ctx, publisher.(ctrdshim.Publisher), sd.(shutdown.Service))
}
