package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"moorage/cmd/moorage-bench/bridge"
	"moorage/cmd/moorage-bench/floor"
	"moorage/cmd/moorage-bench/states"
)

// Arguments that make this binary a side of a contest: the floor, or with those
// of [bridge.Serve] the bridge, with those of [states.Serve] what keeps states.
const (
	floorArg  = "floor"
	bridgeArg = "bridge"
	statesArg = "states"
)

// runLimit bounds a run; cleaning up comes after it.
const runLimit = 9 * time.Minute

// options are the flags.
type options struct {
	divisor  int // rounds are a part of their full number
	Inflight int
	Only     string // parts whose name has it
	JSON     string
	Bin      string // directory of moorage and moorage-agent
	Node     string // directory whose bin holds node and the reference server
}

func (o options) moorage() string { return filepath.Join(o.Bin, "moorage") }

func main() {
	if side := sideOf(os.Args[1:]); side != nil {
		exit(side())
	}
	o, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2) // the flag package has said why
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, o))
}

// sideOf is what this binary does as a side of a contest, in a process of its
// own; nil if the arguments do not ask for that.
func sideOf(args []string) func() error {
	switch {
	case len(args) == 1 && args[0] == floorArg:
		return floor.Serve
	case len(args) == 3 && args[0] == bridgeArg:
		return func() error { return bridge.Serve(args[1], args[2]) }
	case len(args) == 4 && args[0] == statesArg:
		return func() error { return states.Serve(args[1], args[2], args[3]) }
	}
	return nil
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "moorage-bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parseFlags(args []string) (options, error) {
	o := options{divisor: 1}
	self, err := os.Executable()
	if err != nil {
		return o, err
	}
	f := flag.NewFlagSet("moorage-bench", flag.ContinueOnError)
	f.BoolFunc("short", "a quarter of the rounds", func(string) error { o.divisor = 4; return nil })
	f.IntVar(&o.Inflight, "inflight", 16, "file calls in flight in the second set of contests; 0 leaves it out")
	f.StringVar(&o.Only, "only", "", "measure only the parts whose names have this `text` in them")
	f.StringVar(&o.JSON, "json", "", "write the table as JSON into this `file` too")
	f.StringVar(&o.Bin, "bin", filepath.Dir(self), "the `directory` of moorage and moorage-agent")
	f.StringVar(&o.Node, "node", os.Getenv("MOORAGE_TEST_NODE"), "the `directory` whose bin holds node and mcp-server-filesystem")
	err = f.Parse(args)
	if err == nil && (f.NArg() > 0 || o.Inflight < 0 || o.Inflight > 64) {
		fmt.Fprintln(os.Stderr, "moorage-bench: it takes no arguments, and -inflight is 0 to 64")
		err = errors.New("bad arguments")
	}
	return o, err
}

// run measures everything below a directory of its own and prints the table.
func run(ctx context.Context, o options) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("only root can start containers; run: sudo make bench")
	}
	if _, err := exec.LookPath(o.moorage()); err != nil {
		return fmt.Errorf("find moorage: %w; run: make build", err)
	}
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	// Short, because the paths of sockets are below it.
	dir, err := os.MkdirTemp("/tmp", "mb.")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeDir(dir)) }()
	if err := os.Chmod(dir, 0o711); err != nil {
		return err
	}
	rows, err := measure(ctx, o, dir, func(part string) { fmt.Fprintln(os.Stderr, "measuring", part) })
	return errors.Join(err, report(o, rows))
}

// report tells what was measured, also when not all could be.
func report(o options, rows []row) error {
	if len(rows) == 0 {
		return nil
	}
	if err := printTable(os.Stdout, rows); err != nil {
		return err
	}
	fmt.Printf("\n%s\n", dockerNote)
	if o.JSON != "" {
		return writeJSON(o.JSON, rows)
	}
	return nil
}

// removeDir removes the run's directory unless something is mounted below it:
// through a mount it would remove what is not this run's.
func removeDir(dir string) error {
	mounted, err := mountedBelow(dir)
	if err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	if mounted {
		return fmt.Errorf("clean up: something is still mounted below %s, which is left as it is", dir)
	}
	return os.RemoveAll(dir)
}

func mountedBelow(dir string) (bool, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	return strings.Contains(string(mounts), " "+dir+"/"), err
}
