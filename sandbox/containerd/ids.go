package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/containerd/containerd/v2/core/containers"

	"moorage/sandbox"
	"moorage/sandbox/containerd/idmap"
	"moorage/sandbox/containerd/rootmount"
)

// Values of Options.Userns.
const (
	UsernsAuto    = "auto"    // user namespaces where the kernel can
	UsernsOff     = "off"     // none: root in a container is the host's root, with few capabilities
	UsernsRequire = "require" // Open fails where the kernel cannot
)

// openIDs learns from the records which ranges are taken, and finds out whether
// containers that start from now on get one.
func (r *Runtime) openIDs(ctx context.Context, all []containers.Container) error {
	// What runs keeps its range, whatever the options are today. Of the others,
	// one that cannot keep it gets another at its start.
	for _, running := range []bool{true, false} {
		for _, c := range all {
			d := r.door(c.ID)
			ids := idsOf(c)
			if ids.IsZero() || running != (d != nil && d.IsOpen()) || !running && !r.ids.Span().Has(ids) {
				continue
			}
			if !r.ids.Note(c.Labels[labelBot], c.ID, ids) && running {
				r.log.Error("two bots have some ids in common", "key", c.ID, "ids", ids.String())
			}
		}
	}
	if r.opts.Userns == UsernsOff {
		r.log.Info("user namespaces are off: root in a container is root of the host")
		return nil
	}
	switch err := r.canMap(ctx); {
	case err == nil:
		r.userns = true
		r.log.Info("user namespaces are on", "ids", r.ids.Span().String())
	case r.opts.Userns == UsernsRequire:
		return fmt.Errorf("user namespaces are required: %w; they need Linux 5.19 and a file system such as ext4 or XFS; --userns=auto goes on without", err)
	default:
		r.log.Warn("no user namespaces: root in a container is root of the host", "err", err)
	}
	return nil
}

// idsOf is what a container had when it was last started; zero if nothing.
func idsOf(c containers.Container) idmap.Range {
	ids, err := idmap.ParseRange(c.Labels[labelIDs])
	if err != nil { // none, or not ours to understand: it gets one at its start
		return idmap.Range{}
	}
	return ids
}

// canMap tries where this Runtime mounts something with other ids.
func (r *Runtime) canMap(ctx context.Context) error {
	run := ""
	// With a shim of its own it is our containerd, whose bundles are below Run.
	if filepath.IsAbs(r.opts.RuntimeName) {
		run = r.opts.Run
	}
	dirs := []string{r.opts.Root, filepath.Join(r.opts.DataRoot, "bots")}
	if dir := r.snapshotterRoot(ctx); dir != "" {
		dirs = append(dirs, dir)
	}
	return CanMap(run, dirs...)
}

// CanMap says why containers cannot have user namespaces on this host: the kernel,
// the file system of one of the directories, in which it tries, or a directory
// above run through which their root may not pass. run may be "".
func CanMap(run string, dirs ...string) error {
	tried := map[uint64]bool{}
	for _, dir := range dirs {
		var st syscall.Stat_t
		if err := syscall.Stat(dir, &st); err != nil {
			return fmt.Errorf("look at %s: %w", dir, err)
		}
		if tried[st.Dev] {
			continue
		}
		if err := rootmount.Supported(dir); err != nil {
			return err
		}
		tried[st.Dev] = true
	}
	return checkPassage(run)
}

// checkPassage looks for a directory that is closed to other users. The OCI
// runtime goes to a container's root directory as that container's root.
func checkPassage(dir string) error {
	for ; dir != "" && dir != "/"; dir = filepath.Dir(dir) {
		fi, err := os.Stat(dir)
		if err == nil && fi.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("%s has mode %04o, and the containers' unprivileged root must pass through it to what is below --run: chmod o+x it, or name another --run",
				dir, fi.Mode().Perm())
		}
	}
	return nil
}

// snapshotterRoot is where the default snapshotter has its directories, "" if it
// does not say so or they are on another host.
func (r *Runtime) snapshotterRoot(ctx context.Context) string {
	res, err := r.client.IntrospectionService().Plugins(ctx, "type==io.containerd.snapshotter.v1,id=="+r.opts.Snapshotter)
	if err != nil {
		return ""
	}
	for _, p := range res.Plugins {
		if dir := p.Exports["root"]; dir != "" {
			if _, err := os.Stat(dir); err == nil {
				return dir
			}
		}
	}
	return ""
}

// claim yields the ids of a bot's container: those of its other containers, else
// some that are free. Zero where there are no user namespaces.
func (r *Runtime) claim(bot sandbox.Bot, key string) (idmap.Range, error) {
	if !r.userns {
		return idmap.Range{}, nil
	}
	ids, err := r.ids.Claim(string(bot), key)
	if errors.Is(err, idmap.ErrFull) {
		return ids, fmt.Errorf("%w: every range of user ids is a bot's: --userns-range %s has %d; delete all containers of some bot, or name a larger range",
			sandbox.ErrLimit, r.ids.Span(), r.ids.Span().Ranges())
	}
	return ids, err
}

// unclaim gives a deleted container's ids back.
func (r *Runtime) unclaim(bot sandbox.Bot, key string) {
	r.ids.Release(string(bot), key)
}

// mapOf is what shifts the ids of a container that runs or is about to; nil for
// nothing.
func (r *Runtime) mapOf(rec record) (*idmap.Map, error) {
	if rec.ids.IsZero() {
		return nil, nil
	}
	return r.ids.Map(string(rec.Spec.Ref.Bot))
}
