package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"moorage/cmd/moorage/daemon"
	"moorage/cmd/moorage/store"
)

type doctorCmd struct {
	serverFlags
	Agent string `help:"The agent's binary (default: moorage-agent beside this binary)." type:"path" placeholder:"FILE" env:"MOORAGE_AGENT"`
}

// finding is what one check found.
type finding struct {
	what   string
	detail string
	advice string // what to do; "" when all is well
	warn   bool   // works, but not at its best: the exit code stays 0
}

func (f finding) print() {
	state := "ok  "
	if f.advice != "" {
		state = "FAIL"
		if f.warn {
			state = "warn"
		}
	}
	fmt.Printf("%s  %-15s %s\n", state, f.what, f.detail)
	if f.advice != "" {
		fmt.Printf("      %-15s -> %s\n", "", f.advice)
	}
}

// Run checks one thing after the other. The exit code is 1 if something would
// fail.
func (c *doctorCmd) Run(ctx context.Context, d daemon.Dirs) error {
	checks := []func() finding{
		checkKernel, checkCgroups, checkOverlay, checkSeccomp,
		func() finding { return checkRuntime(ctx, c.OCIRuntime) },
		func() finding { return checkAgent(c.Agent) },
		func() finding { return checkEngine(c.Containerd) },
		func() finding { return checkDir("root", d.Root) },
		func() finding { return checkDir("run", d.Run) },
		func() finding { return checkStore(d.Root, c.Store) },
		func() finding { return checkDisk(d.Root, c.Store, c.DataRoot, int64(c.MaxDisk)) },
		func() finding { return c.checkUserns(d) },
		func() finding { return checkLock(d) },
		func() finding { return checkBaseImage(c.DefaultImage) },
	}
	failed := false
	for _, check := range checks {
		f := check()
		f.print()
		failed = failed || f.advice != "" && !f.warn
	}
	var last finding
	if failed {
		last = finding{what: "container", detail: "not tried", advice: "mend what failed above, then run moorage doctor again"}
	} else {
		last = c.checkContainer(ctx, d)
	}
	last.print()
	if failed || last.advice != "" && !last.warn {
		return errQuiet
	}
	return nil
}

// checkContainer starts a container: in the server that runs, or else in a
// server of its own on directories of its own, which are removed.
func (c *doctorCmd) checkContainer(ctx context.Context, d daemon.Dirs) finding {
	f := finding{what: "container"}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if _, held, _ := daemon.FindHolder(d.Root); !held {
		if os.Geteuid() != 0 {
			f.detail, f.advice, f.warn = "not tried: no server runs and only root can start one", "run: sudo moorage doctor", true
			return f
		}
		own, remove, err := ownDirs()
		if err != nil {
			f.detail, f.advice = err.Error(), "make room in the temporary directory"
			return f
		}
		defer remove()
		d = own
		if err := spawn(ctx, d, c.ownArgs()); err != nil {
			f.detail, f.advice = err.Error(), "mend what it says"
			return f
		}
		defer stopServer(d)
	}
	err := daemon.NewAdmin(d, false).SelfTest(ctx, func(e daemon.Event) {
		f.detail = fmt.Sprintf("%s started and answered in %.0f ms", e.What, float64(e.Done)/1000)
	})
	if err != nil {
		f.detail, f.advice = err.Error(), "mend what it says; the server's log is "+d.Log()
	}
	return f
}

// ownArgs are the arguments of a server of its own, whose store is a small one.
func (c *doctorCmd) ownArgs() []string {
	flags := c.serverFlags
	if flags.Store.Kind == store.Loop {
		flags.Store.Size = store.MinSize
	}
	return flags.args()
}

// longestTemp is how long the name of the temporary directory may be for the
// sockets below it to have names that fit.
const longestTemp = 16

// ownDirs makes directories for a server that lives as long as this command.
func ownDirs() (daemon.Dirs, func(), error) {
	base := os.TempDir()
	if len(base) > longestTemp {
		base = "/tmp"
	}
	root, err := os.MkdirTemp(base, "moor")
	if err != nil {
		return daemon.Dirs{}, nil, err
	}
	// A container's root, an unprivileged user of the host, passes through it.
	if err := os.Chmod(root, 0o711); err != nil {
		return daemon.Dirs{}, nil, errors.Join(err, os.Remove(root))
	}
	d := daemon.Dirs{Root: filepath.Join(root, "root"), Run: filepath.Join(root, "run")}
	return d, func() { os.RemoveAll(root) }, nil
}

// spawn starts a server in the background and waits until it is ready.
func spawn(ctx context.Context, d daemon.Dirs, args []string) error {
	conn, err := daemon.DialOrStart(ctx, d, daemon.Handshake{Mode: daemon.ModeAdmin}, append(daemon.BackgroundArgs, args...))
	if err != nil {
		return err
	}
	return conn.Close()
}

// stopServer stops a server that this command started.
func stopServer(d daemon.Dirs) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if _, err := daemon.Stop(ctx, d, true); err != nil {
		fmt.Fprintln(os.Stderr, "moorage:", err)
	}
}
