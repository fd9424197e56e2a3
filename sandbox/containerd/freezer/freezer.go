package freezer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Timeout is how long Freeze waits for processes to stop. One in the kernel, on
// a disk that does not answer, may take longer.
const Timeout = 2 * time.Second

// ErrUnsupported: a container has no cgroup that can freeze.
var ErrUnsupported = errors.New("cgroups without a freezer")

// Frozen are cgroups that were frozen together.
type Frozen struct {
	mu      sync.Mutex
	cgroups []cgroup // to be thawed
}

// Freeze stops every process in the cgroups, which are directories of any number
// of containers, and returns when all are frozen at once. It waits at most for
// Timeout, or until ctx ends; then, as after any error, it has thawed what it had
// frozen. A cgroup that is gone is passed over, also when it goes meanwhile; one
// that was frozen before is left so by Thaw. The error wraps ErrUnsupported if a
// container's cgroups are there and none of them can freeze.
func Freeze(ctx context.Context, cgroups []string) (*Frozen, error) {
	all, err := open(cgroups)
	if err != nil {
		return nil, fmt.Errorf("freeze: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	f := &Frozen{}
	for _, c := range all {
		before, err := c.state()
		if err == nil && before == frozen || gone(err) {
			continue
		}
		f.cgroups = append(f.cgroups, c) // also one that another has half frozen
		if err == nil {
			err = c.freeze()
		}
		if err != nil && !gone(err) {
			return nil, f.undo(fmt.Errorf("freeze %s: %w", c.dir, err))
		}
	}
	for _, c := range f.cgroups {
		if err := c.await(ctx); err != nil {
			return nil, f.undo(fmt.Errorf("freeze %s: %w", c.dir, err))
		}
	}
	return f, nil
}

func (f *Frozen) undo(cause error) error { return errors.Join(cause, f.Thaw()) }

// Thaw lets all go on, and is safe to call twice: a cgroup that was thawed is not
// touched again, one that could not be is tried again. One that is gone is no
// error.
func (f *Frozen) Thaw() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []cgroup
	var errs []error
	for _, c := range f.cgroups {
		if err := c.thaw(); err != nil && !gone(err) {
			left = append(left, c)
			errs = append(errs, fmt.Errorf("thaw %s: %w", c.dir, err))
		}
	}
	f.cgroups = left
	return errors.Join(errs...)
}

// ThawAll lets go on what is frozen, wholly or half, in the cgroups that the
// patterns (of filepath.Match) match, and returns how many cgroups that were. For
// the start of a process whose predecessor may have been killed in between.
func ThawAll(patterns ...string) (thawed int, err error) {
	var errs []error
	for _, p := range patterns {
		dirs, err := filepath.Glob(p)
		if err != nil {
			errs = append(errs, fmt.Errorf("thaw %q: %w", p, err))
		}
		for _, dir := range dirs {
			c, ok := freezable(dir)
			if !ok {
				continue
			}
			st, err := c.state()
			if err == nil && st == running {
				continue
			}
			if err = c.thaw(); err == nil {
				thawed++
			} else if !gone(err) {
				errs = append(errs, fmt.Errorf("thaw %s: %w", dir, err))
			}
		}
	}
	return thawed, errors.Join(errs...)
}

// open finds the cgroups that can freeze, one for each container. On a host in
// hybrid mode a container has one of v1 and one of v2. Only v1's is used, as the
// OCI runtime does: a process that v1 has stopped never becomes frozen for v2.
// Unless v2's is frozen already: nothing could become so for v1.
func open(dirs []string) ([]cgroup, error) {
	found := map[string]cgroup{} // by container
	for _, dir := range dirs {
		name := filepath.Base(dir)
		c, ok := freezable(dir)
		if !ok {
			continue
		}
		if other, both := found[name]; both {
			c = prefer(c, other)
		}
		found[name] = c
	}
	for _, dir := range dirs {
		if _, can := found[filepath.Base(dir)]; can {
			continue
		}
		if _, err := os.Stat(dir); err == nil {
			return nil, fmt.Errorf("%s: %w: cgroup v2, or the freezer of v1, is needed", dir, ErrUnsupported)
		}
	}
	return slices.Collect(maps.Values(found)), nil
}

func prefer(a, b cgroup) cgroup {
	if a.v2 {
		a, b = b, a
	}
	if st, err := b.state(); err == nil && b.v2 && st != running {
		return b
	}
	return a
}
