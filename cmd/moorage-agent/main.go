package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"moorage/fsbridge"
	"moorage/fsbridge/agent"
)

const usage = `usage: moorage-agent [--socket PATH] [--spool DIR]

Runs as PID 1 of a container of Moorage.

  --socket PATH  the server's socket (default ` + defaultSocket + `)
  --spool DIR    where the output of commands is kept (default ` + defaultSpool + `)
`

const (
	defaultSocket = "/.moorage/run/agent.sock"
	defaultSpool  = "/.moorage/spool"
)

func main() {
	a, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "moorage-agent: %v\n%s", err, usage)
		os.Exit(2)
	}
	if a.help {
		io.WriteString(os.Stdout, usage)
		return
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err = agent.Run(context.Background(), a.socket, agent.Options{
		Spool: a.spool,
		Build: build(),
		Init:  os.Getpid() == 1,
		Log:   log,
	})
	if err != nil {
		log.Error("agent ended", "err", err)
		os.Exit(1)
	}
}

// arguments are what the command line says. Package flag is left out for the
// sake of size.
type arguments struct {
	socket, spool string
	help          bool
}

func parse(args []string) (arguments, error) {
	a := arguments{socket: defaultSocket, spool: defaultSpool}
	for len(args) > 0 {
		var into *string
		switch args[0] {
		case "--socket":
			into = &a.socket
		case "--spool":
			into = &a.spool
		case "--help", "-h":
			a.help = true
			return a, nil
		default:
			return a, fmt.Errorf("unknown argument %q", args[0])
		}
		if len(args) < 2 || args[1] == "" {
			return a, fmt.Errorf("%s needs a value", args[0])
		}
		*into, args = args[1], args[2:]
	}
	return a, nil
}

// build is the content hash of this program, "devel" where it cannot be read.
func build() string {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return "devel"
	}
	defer f.Close()
	id, err := fsbridge.BuildOf(f)
	if err != nil {
		return "devel"
	}
	return id
}
