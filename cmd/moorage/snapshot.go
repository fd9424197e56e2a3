package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"moorage/cmd/moorage/daemon"
	"moorage/sandbox"
)

type snapshotCmd struct {
	List   snapshotListCmd   `cmd:"" help:"List a bot's snapshots, oldest first."`
	Export snapshotExportCmd `cmd:"" help:"Write a snapshot, root filesystem and data, as an OCI image tar that docker load takes too."`
	Import snapshotImportCmd `cmd:"" help:"Make a snapshot of a tar that export wrote, or of any OCI image tar."`
	Delete snapshotDeleteCmd `cmd:"" help:"Delete a snapshot that no container was forked from."`
}

type botFlag struct {
	Bot string `help:"Whose snapshots." default:"default" env:"MOORAGE_BOT" placeholder:"NAME"`
}

type snapshotListCmd struct{ botFlag }

// Run lists them.
func (c *snapshotListCmd) Run(ctx context.Context, d daemon.Dirs) error {
	bot, err := sandbox.ParseBot(c.Bot)
	if err != nil {
		return err
	}
	all, err := daemon.NewAdmin(d, true).Snapshots(ctx, bot)
	if err != nil {
		return fmt.Errorf("list snapshots of bot %s: %w", bot, err)
	}
	if len(all) == 0 {
		fmt.Printf("bot %s has no snapshots\n", bot)
		return nil
	}
	return printSnapshots(all)
}

type snapshotExportCmd struct {
	botFlag
	Name string `arg:"" help:"Snapshot, as moorage snapshot list shows it."`
	File string `arg:"" help:"The tar to write; it is there whole or not at all. - is standard output."`
}

// Run writes the file.
func (c *snapshotExportCmd) Run(ctx context.Context, d daemon.Dirs) error {
	bot, name, err := c.parse(c.Name)
	if err != nil {
		return err
	}
	bar, done := newBar(-1, "exporting")
	export := func(w io.Writer) error {
		return daemon.NewAdmin(d, true).ExportSnapshot(ctx, bot, name, io.MultiWriter(w, bar))
	}
	if c.File == "-" {
		if term.IsTerminal(int(os.Stdout.Fd())) {
			err = errors.New("standard output is a terminal; name a file, or send it on by a pipe")
		} else {
			err = export(os.Stdout)
		}
	} else {
		err = writeWhole(c.File, export)
	}
	done()
	if err != nil {
		return fmt.Errorf("export snapshot %s of bot %s: %w", name, bot, err)
	}
	return nil
}

type snapshotImportCmd struct {
	botFlag
	File string `arg:"" help:"The tar; - is standard input."`
	Name string `arg:"" optional:"" help:"Name for the snapshot (default: that of the file without .tar, or import and the time)."`
}

// Run sends the file to the server.
func (c *snapshotImportCmd) Run(ctx context.Context, d daemon.Dirs) error {
	if c.Name == "" {
		c.Name = importName(c.File, time.Now())
	}
	bot, name, err := c.parse(c.Name)
	if err != nil {
		return err
	}
	f := os.Stdin
	if c.File != "-" {
		if f, err = os.Open(c.File); err != nil {
			return fmt.Errorf("import snapshot: %w", err)
		}
		defer f.Close()
	}
	bar, done := fileBar(f, "importing")
	sn, err := daemon.NewAdmin(d, true).ImportSnapshot(ctx, bot, name, io.TeeReader(f, bar))
	done()
	if err != nil {
		return fmt.Errorf("import %s for bot %s: %w", c.File, bot, err)
	}
	return printSnapshots([]sandbox.Snapshot{sn})
}

// importName is the name of a snapshot for whose file none was given.
func importName(file string, now time.Time) string {
	base := filepath.Base(file)
	for _, end := range []string{".gz", ".tgz", ".tar"} {
		base = strings.TrimSuffix(base, end)
	}
	if _, err := sandbox.ParseSnapshotName(base); err != nil {
		return string(sandbox.DefaultSnapshotName("import", now))
	}
	return base
}

type snapshotDeleteCmd struct {
	botFlag
	Name string `arg:"" help:"Snapshot, as moorage snapshot list shows it."`
}

// Run deletes it.
func (c *snapshotDeleteCmd) Run(ctx context.Context, d daemon.Dirs) error {
	bot, name, err := c.parse(c.Name)
	if err != nil {
		return err
	}
	sn, err := daemon.NewAdmin(d, true).DeleteSnapshot(ctx, bot, name)
	if err != nil {
		return fmt.Errorf("delete snapshot of bot %s: %w", bot, err)
	}
	fmt.Printf("deleted snapshot %s of bot %s, %v\n", sn.Name, bot, sandbox.Size(sn.Size))
	return nil
}

func (f botFlag) parse(name string) (sandbox.Bot, sandbox.SnapshotName, error) {
	bot, err := sandbox.ParseBot(f.Bot)
	if err != nil {
		return "", "", err
	}
	parsed, err := sandbox.ParseSnapshotName(name)
	return bot, parsed, err
}

func printSnapshots(all []sandbox.Snapshot) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tCONTAINER\tCREATED\tSIZE\tORIGIN\tNOTE")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%s\t%s\n", s.Name, s.Spec.Ref.ID, s.CreatedAt.Local().Format("2006-01-02 15:04:05"), sandbox.Size(s.Size), s.Origin, oneLine(s.Note))
	}
	return w.Flush()
}

// oneLine is a bot's text, made harmless on a terminal.
func oneLine(s string) string {
	q := fmt.Sprintf("%+.80q", s)
	return q[1 : len(q)-1]
}
