// Moorage gives every bot its own container and drives it over MCP.
//
// This binary is all of it: what an MCP client starts (stdio), the server
// (serve), what an operator needs (doctor, image, snapshot, token, stop), and, under
// another name, the shim of its embedded containerd.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"moorage/sandbox/containerd/embed/shim"
)

// version is set by the Makefile.
var version = "devel"

// cli are the commands.
type cli struct {
	dirFlags
	Config kong.ConfigFlag `help:"TOML file with flags (\"default-image\" is a key like any)." placeholder:"FILE" env:"MOORAGE_CONFIG"`

	Stdio    stdioCmd    `cmd:"" help:"Serve one MCP client on standard input and output. Starts the server if none runs."`
	Serve    serveCmd    `cmd:"" help:"Run the server."`
	Stop     stopCmd     `cmd:"" help:"Stop the server. Containers go on unless --containers is given."`
	Doctor   doctorCmd   `cmd:"" help:"Check what Moorage needs: a line each, and what to do."`
	Image    imageCmd    `cmd:"" help:"Import, pull and list images."`
	Snapshot snapshotCmd `cmd:"" help:"List, export, import and delete snapshots."`
	Token    tokenCmd    `cmd:"" help:"Add, list and revoke bearer tokens for HTTP."`
	Demo     demoCmd     `cmd:"" help:"Run a real MCP session in directories of its own, show it, and leave nothing behind."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

// errQuiet ends the program with exit code 1 after everything has been said.
var errQuiet = errors.New("")

func main() {
	if shim.Is() {
		shim.Run()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var c cli
	parser, err := kong.New(&c,
		kong.Name("moorage"),
		kong.Description("A container for every bot, driven over MCP."),
		kong.Configuration(tomlResolver),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		panic(err) // a mistake in the tags above
	}
	if len(os.Args) == 1 {
		os.Args = append(os.Args, "--help")
	}
	k, err := parser.Parse(os.Args[1:])
	if err != nil {
		failUsage(err)
	}
	if err := k.Run(c.dirs()); err != nil {
		if !errors.Is(err, errQuiet) {
			fmt.Fprintln(os.Stderr, "moorage:", err)
		}
		stop()
		os.Exit(1)
	}
}

// failUsage answers wrong arguments on standard error: standard output may be an
// MCP client's.
func failUsage(err error) {
	command := "moorage"
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context.Selected() != nil {
		command = p.Context.Selected().FullPath()
	}
	fmt.Fprintf(os.Stderr, "moorage: %v\nRun `%s --help` for what is allowed.\n", err, command)
	os.Exit(2)
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run() error {
	_, err := fmt.Println("moorage", version)
	return err
}
