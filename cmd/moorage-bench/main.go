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

	"moorage/cmd/moorage-bench/client"
	"moorage/cmd/moorage-bench/floor"
)

// floorArg, as the only argument, makes this binary the floor's server.
const floorArg = "floor"

// runLimit bounds a run; cleaning up comes after it.
const runLimit = 110 * time.Second

// options are the flags.
type options struct {
	divisor  int // rounds are a part of their full number
	Inflight int
	JSON     string
	Bin      string // directory of moorage and moorage-agent
	Node     string // directory whose bin holds node and the reference server
}

func (o options) moorage() string { return filepath.Join(o.Bin, "moorage") }

func main() {
	if len(os.Args) == 2 && os.Args[1] == floorArg {
		exit(floor.Serve())
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
	rows, err := measure(ctx, o, dir)
	if err != nil {
		return err
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

// measure runs all contests, says on standard error which is on, and stops what
// it started.
func measure(ctx context.Context, o options, dir string) (rows []row, err error) {
	b := &bench{opts: o, dir: dir}
	defer func() {
		clients := b.closeClients()
		if ctx.Err() != nil { // that killed the clients, and they say so
			err, clients = fmt.Errorf("measure: %w", context.Cause(ctx)), nil
		}
		err = errors.Join(err, clients, b.stopServers())
	}()
	progress := func(what string) { fmt.Fprintln(os.Stderr, "measuring", what) }
	if err := b.setUp(ctx); err != nil {
		return nil, err
	}
	for _, c := range b.contests() {
		progress(c.name)
		all, err := c.run(ctx)
		if err != nil {
			return nil, err
		}
		rows = append(rows, c.rows(all)...)
	}
	progress("server start")
	last, err := starts(ctx, o, dir, max(3, b.rounds(12)))
	return append(rows, last...), err
}

// setUp starts every server and the containers that the contests use.
func (b *bench) setUp(ctx context.Context) (err error) {
	if b.floor, err = startFloor(ctx); err != nil {
		return err
	}
	if b.runc, err = newRunc(ctx, filepath.Join(b.dir, "runc")); err != nil {
		return err
	}
	if b.reference, err = startReference(ctx, b.opts.Node, filepath.Join(b.dir, "reference")); err != nil {
		return err
	}
	if b.reference == nil {
		fmt.Fprintln(os.Stderr, "no reference server: Node with @modelcontextprotocol/server-filesystem is not at -node")
	} else if err := b.reference.prepare(); err != nil {
		return err
	}
	if b.server, _, err = startServer(ctx, b.opts.moorage(), b.dir); err != nil {
		return err
	}
	c, err := b.server.connect(ctx, "bench")
	if err != nil {
		return err
	}
	b.ours = ours(c)
	if _, err := c.Call("create_container", map[string]any{}); err != nil {
		return err
	}
	if err := b.ours.prepare(); err != nil {
		return err
	}
	b.creator, err = b.server.connect(ctx, "bench-create")
	return err
}

// closeClients ends every MCP session that was started.
func (b *bench) closeClients() error {
	var errs []error
	for _, c := range []*client.Client{b.creator, b.ours.session(), b.reference.session(), b.floor} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// stopServers stops the server and the containers that were started.
func (b *bench) stopServers() error {
	var errs []error
	if b.server != nil {
		errs = append(errs, b.server.stopAll())
	}
	if b.runc != nil {
		errs = append(errs, b.runc.close())
	}
	return errors.Join(errs...)
}
