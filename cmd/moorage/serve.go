package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"

	"moorage/cmd/moorage/daemon"
	"moorage/sandbox"
	"moorage/sandbox/containerd"
	"moorage/tools"
)

// Bounds of a log file: so many MiB, and so many old ones beside it.
const (
	logFileMB    = 10
	logFilesKept = 3
)

// gcPercent trades some MB of a small heap for less work on each call: at Go's
// default of 100 collecting is about a tenth of what a file call costs.
const gcPercent = 400

type serveCmd struct {
	serverFlags
	HTTP        string        `help:"Serve streamable HTTP at /mcp and SSE at /sse here, for bearers of a token." placeholder:"HOST:PORT" env:"MOORAGE_HTTP" name:"http"`
	AllowOrigin []string      `help:"Origin of web pages that may call, besides the server's own." placeholder:"ORIGIN" env:"MOORAGE_ALLOW_ORIGIN"`
	AllowHost   []string      `help:"Name under which the HTTP server may be called, besides loopback and its address." placeholder:"HOST" env:"MOORAGE_ALLOW_HOST"`
	IdleExit    time.Duration `help:"Leave when no client was connected for so long; 0 is never." default:"0" env:"MOORAGE_IDLE_EXIT"`
	Agent       string        `help:"The agent's binary (default: moorage-agent beside this binary)." type:"path" placeholder:"FILE" env:"MOORAGE_AGENT"`
	LogFile     string        `help:"Log here instead of on standard error; rotated at 10 MiB, 3 old ones kept." type:"path" placeholder:"FILE" env:"MOORAGE_LOG_FILE"`
}

// Run runs the server until it is told to end.
func (c *serveCmd) Run(ctx context.Context, d daemon.Dirs) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("serve: only root can run the server; run: sudo moorage serve --root %s --run %s", d.Root, d.Run)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if err := addSystemPath(); err != nil {
		return err
	}
	agent, shim, err := binaries(c.Agent)
	if err != nil {
		return err
	}
	log, closeLog := c.logger()
	defer closeLog()
	if c.LogFile != "" {
		if err := captureStderr(log); err != nil {
			return fmt.Errorf("send standard error to the log: %w", err)
		}
	}
	mounts := c.DataMount
	err = daemon.Run(ctx, daemon.Options{
		Dirs: d, Version: version, Containerd: c.Containerd, HTTP: c.HTTP,
		IdleExit: c.IdleExit, ShimPath: shim, Log: log, Store: c.Store,
		Engine: containerd.Options{
			Namespace: c.Namespace, DataRoot: c.DataRoot, DataMounts: mounts, Snapshotter: c.Snapshotter,
			OCIRuntime: c.OCIRuntime, AgentPath: agent, InsecureRegistries: c.InsecureRegistry,
			MaxDisk: int64(c.MaxDisk),
			Userns:  c.Userns, UsernsRange: c.UsernsRange,
		},
		Manager: sandbox.Options{
			DefaultImage: c.DefaultImage, Snapshotter: c.Snapshotter, NoAutoCreate: !c.AutoCreate,
			Limits:        sandbox.Limits{MemoryMB: c.MemoryMB, CPUs: c.CPUs, PIDs: c.PIDs},
			MaxContainers: c.MaxContainers, DataDir: mounts[0],
			MaxSnapshots: c.MaxSnapshots, MaxSnapshotBytes: int64(c.MaxSnapshotBytes),
		},
		Guard: tools.HTTPOptions{AllowedOrigins: c.AllowOrigin, AllowedHosts: c.AllowHost},
	})
	if err != nil && c.LogFile != "" {
		log.Error("server ended", "err", err) // nobody may read what main says
	}
	return err
}

// addSystemPath appends where runc and mount helpers are to PATH: an MCP client
// may start this process with less.
func addSystemPath() error {
	path := filepath.SplitList(os.Getenv("PATH"))
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		if !slices.Contains(path, dir) {
			path = append(path, dir)
		}
	}
	return os.Setenv("PATH", strings.Join(path, string(filepath.ListSeparator)))
}

func (c *serveCmd) logger() (*slog.Logger, func()) {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // the flag's enum allows nothing else
	var w io.Writer = os.Stderr
	done := func() {}
	if c.LogFile != "" {
		file := &lumberjack.Logger{Filename: c.LogFile, MaxSize: logFileMB, MaxBackups: logFilesKept}
		w, done = file, func() { file.Close() }
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})), done
}

// binaries finds the agent, and the shim: moorage-shim beside this binary, or
// this binary itself.
func binaries(agent string) (agentPath, shimPath string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", "", fmt.Errorf("find this binary: %w", err)
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", "", fmt.Errorf("find this binary: %w", err)
	}
	if agent == "" {
		agent = filepath.Join(filepath.Dir(self), "moorage-agent")
	}
	if _, err := os.Stat(agent); err != nil {
		return "", "", fmt.Errorf("find the agent's binary: %w; put moorage-agent beside moorage, or name it with --agent", err)
	}
	shimPath = filepath.Join(filepath.Dir(self), "moorage-shim")
	if _, err := os.Stat(shimPath); err != nil {
		shimPath = self
	}
	return agent, shimPath, nil
}
