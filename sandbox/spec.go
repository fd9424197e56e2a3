package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
)

// Bounds of a request.
const (
	MaxEnv         = 100       // variables
	MaxEnvBytes    = 16 << 10  // names and values together
	MinMemoryMB    = 16        // below that the agent itself does not fit
	MaxMemoryMB    = 1 << 20   // 1 TiB
	MinCPUs        = 0.01      // the least quota that Linux takes is 1 ms in 100
	MaxCPUs        = 512       //
	MinPIDs        = 16        // a shell and a few commands
	MaxPIDs        = 4_194_304 // PID_MAX_LIMIT of Linux
	maxImageLength = 512
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// spec checks a request and fills in every default, for a fork from its snapshot.
func (m *Manager) spec(ctx context.Context, req CreateRequest) (Spec, error) {
	if req.FromSnapshot != "" {
		return m.forkSpec(ctx, req)
	}
	image := req.Image
	if image == "" {
		image = m.opts.DefaultImage
	}
	if len(image) > maxImageLength {
		return Spec{}, fmt.Errorf("image %.40q...: %w: the name has %d bytes, at most %d are allowed", image, ErrInvalid, len(image), maxImageLength)
	}
	name, err := m.rt.ImageName(image)
	s := Spec{
		Ref: Ref{req.Bot, req.ID}, Image: name, Snapshotter: req.Snapshotter,
		Env: maps.Clone(req.Env), Limits: req.Limits.or(m.opts.Limits),
	}
	if s.Snapshotter == "" {
		s.Snapshotter = m.opts.Snapshotter
	}
	return s, errors.Join(err, checkEnv(s.Env), s.Limits.check(m.opts.MaxLimits))
}

func checkEnv(env map[string]string) error {
	if len(env) > MaxEnv {
		return fmt.Errorf("env: %w: %d variables, at most %d are allowed", ErrInvalid, len(env), MaxEnv)
	}
	size := 0
	for k, v := range env {
		if !envName.MatchString(k) {
			return fmt.Errorf("env %.80q: %w: a variable's name is 1 to 128 of A-Z a-z 0-9 _ and does not begin with a digit", k, ErrInvalid)
		}
		if strings.ContainsRune(v, 0) {
			return fmt.Errorf("env %s: %w: its value has a NUL byte", k, ErrInvalid)
		}
		size += len(k) + len(v)
	}
	if size > MaxEnvBytes {
		return fmt.Errorf("env: %w: %d bytes in all, at most %d are allowed", ErrInvalid, size, MaxEnvBytes)
	}
	return nil
}

func (l Limits) or(d Limits) Limits {
	if l.MemoryMB == 0 {
		l.MemoryMB = d.MemoryMB
	}
	if l.CPUs == 0 {
		l.CPUs = d.CPUs
	}
	if l.PIDs == 0 {
		l.PIDs = d.PIDs
	}
	return l
}

func (l Limits) check(most Limits) error {
	most = most.or(Limits{MemoryMB: MaxMemoryMB, CPUs: MaxCPUs, PIDs: MaxPIDs})
	return errors.Join(
		checkLimit("memory_mb", float64(l.MemoryMB), MinMemoryMB, float64(most.MemoryMB)),
		checkLimit("cpus", l.CPUs, MinCPUs, most.CPUs),
		checkLimit("pids", float64(l.PIDs), MinPIDs, float64(most.PIDs)))
}

func checkLimit(name string, v, least, most float64) error {
	if v >= least && v <= most {
		return nil
	}
	text := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	return fmt.Errorf("limits.%s %s: %w: allowed is %s to %s", name, text(v), ErrInvalid, text(least), text(most))
}

// differs says in words how a container differs from what a request for it asks
// for, or "". What the request leaves out is as it is. want is the request's spec.
func (r CreateRequest) differs(want, is Spec) string {
	var d []string
	compare := func(name string, asked bool, want, have any) {
		if asked && want != have {
			d = append(d, fmt.Sprintf("%s is %v, asked for was %v", name, have, want))
		}
	}
	compare("image", r.Image != "", want.Image, is.Image)
	compare("snapshotter", r.Snapshotter != "", r.Snapshotter, is.Snapshotter)
	if r.FromSnapshot != "" && r.FromSnapshot != is.FromSnapshot {
		d = append(d, fmt.Sprintf("from_snapshot is %s, asked for was %s", cmp.Or(is.FromSnapshot, "none"), r.FromSnapshot))
	}
	compare("limits.memory_mb", r.Limits.MemoryMB != 0, r.Limits.MemoryMB, is.Limits.MemoryMB)
	compare("limits.cpus", r.Limits.CPUs != 0, r.Limits.CPUs, is.Limits.CPUs)
	compare("limits.pids", r.Limits.PIDs != 0, r.Limits.PIDs, is.Limits.PIDs)
	if len(r.Env) > 0 && !maps.Equal(want.Env, is.Env) {
		d = append(d, "env differs")
	}
	return strings.Join(d, "; ")
}
