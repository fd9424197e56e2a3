package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"moorage/cmd/moorage/daemon"
	"moorage/sandbox"
)

type imageCmd struct {
	Import imageImportCmd `cmd:"" help:"Import an image tar: OCI layout or docker save, gzip allowed."`
	List   imageListCmd   `cmd:"" help:"List the images in the store."`
	Pull   imagePullCmd   `cmd:"" help:"Pull an image from its registry."`
}

type imageImportCmd struct {
	File string `arg:"" help:"The tar; - is standard input."`
	Name string `help:"Name for an image whose tar has none." placeholder:"REF"`
}

// Run sends the file to the server.
func (c *imageImportCmd) Run(ctx context.Context, d daemon.Dirs) error {
	f := os.Stdin
	if c.File != "-" {
		var err error
		if f, err = os.Open(c.File); err != nil {
			return fmt.Errorf("import image: %w", err)
		}
		defer f.Close()
	}
	bar, done := fileBar(f, "importing")
	images, err := daemon.NewAdmin(d, true).Import(ctx, io.TeeReader(f, bar), c.Name)
	done()
	if err != nil {
		return fmt.Errorf("import %s: %w", c.File, err)
	}
	return printImages(images)
}

// fileBar is a progress bar for reading a file.
func fileBar(f *os.File, what string) (io.Writer, func()) {
	size := int64(-1)
	if fi, err := f.Stat(); err == nil && fi.Mode().IsRegular() {
		size = fi.Size()
	}
	return newBar(size, what)
}

type imageListCmd struct{}

// Run lists the store.
func (c *imageListCmd) Run(ctx context.Context, d daemon.Dirs) error {
	images, err := daemon.NewAdmin(d, true).Images(ctx)
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	if len(images) == 0 {
		fmt.Println("no images yet; the built-in one is made on first use")
		return nil
	}
	return printImages(images)
}

type imagePullCmd struct {
	Ref string `arg:"" help:"For example docker.io/library/debian:12."`
}

// Run has the server pull, and shows how far it is.
func (c *imagePullCmd) Run(ctx context.Context, d daemon.Dirs) error {
	bar, done := newBar(-1, "pulling")
	images, err := daemon.NewAdmin(d, true).Pull(ctx, c.Ref, func(n, total int64, _ string) {
		if total > 0 {
			bar.ChangeMax64(total)
			_ = bar.Set64(n)
		}
	})
	done()
	if err != nil {
		return fmt.Errorf("pull %s: %w", c.Ref, err)
	}
	return printImages(images)
}

// newBar makes a progress bar on standard error, drawn at most 10 times a second.
func newBar(size int64, what string) (*progressbar.ProgressBar, func()) {
	o := []progressbar.Option{
		progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionSetWidth(30), progressbar.OptionSetRenderBlankState(true),
	}
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		o = append(o, progressbar.OptionThrottle(2*time.Second))
	}
	bar := progressbar.NewOptions64(size, o...)
	return bar, func() {
		_ = bar.Exit()
		fmt.Fprintln(os.Stderr)
	}
}

func printImages(images []sandbox.Image) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tDIGEST\tSIZE\tCREATED")
	for _, i := range images {
		digest := i.Digest
		if len(digest) > 19 {
			digest = digest[:19]
		}
		fmt.Fprintf(w, "%s\t%s\t%.1f MB\t%s\n", i.Name, digest, float64(i.Size)/1e6, i.CreatedAt.Local().Format("2006-01-02 15:04"))
	}
	return w.Flush()
}
