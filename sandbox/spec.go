package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
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

// spec checks a request and fills in every default.
func (m *Manager) spec(req CreateRequest) (Spec, error) {
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
	return fmt.Errorf("limits.%s %v: %w: allowed is %v to %v", name, v, ErrInvalid, least, most)
}

// differs says in words how a request differs from what is there, or "".
func (s Spec) differs(old Spec) string {
	var d []string
	add := func(what string, got, want any) {
		d = append(d, fmt.Sprintf("%s is %v, asked for was %v", what, got, want))
	}
	if s.Image != old.Image {
		add("image", old.Image, s.Image)
	}
	if s.Snapshotter != old.Snapshotter {
		add("snapshotter", old.Snapshotter, s.Snapshotter)
	}
	if s.Limits != old.Limits {
		add("limits", fmt.Sprintf("%+v", old.Limits), fmt.Sprintf("%+v", s.Limits))
	}
	if !maps.Equal(s.Env, old.Env) {
		d = append(d, "env differs")
	}
	return strings.Join(d, "; ")
}
