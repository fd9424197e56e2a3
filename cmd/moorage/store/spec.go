package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/docker/go-units"
)

// Kind is a kind of store.
type Kind string

// The kinds of stores.
const (
	Plain Kind = "plain"
	Loop  Kind = "loop"
)

const (
	// MinSize is the least that mkfs.xfs formats, since xfsprogs 5.19.
	MinSize = 300 << 20
	// defaultSize of a loop store, if at least twice that is free.
	defaultSize = 64 << 30
	// freeKept is what making or growing a loop store leaves to the host.
	freeKept = 256 << 20
)

// Spec says which store is wanted. The zero value is whatever Root holds, a plain
// one if nothing.
type Spec struct {
	Kind Kind
	Size int64 // of a loop store, in bytes; 0 is what it has, or half of what is free, at most 64 GiB
}

// UnmarshalText reads "plain", "loop" or "loop:SIZE", as in loop:20GiB. Units are
// powers of 1,024.
func (s *Spec) UnmarshalText(text []byte) error {
	kind, size, sized := strings.Cut(string(text), ":")
	spec := Spec{Kind: Kind(kind)}
	switch {
	case len(text) == 0:
	case spec.Kind != Loop && (spec.Kind != Plain || sized):
		return fmt.Errorf("store %q: it is plain, loop or loop:SIZE", text)
	case sized:
		n, err := units.RAMInBytes(size)
		if err != nil {
			return fmt.Errorf("store %q: size %q: a number with a unit is expected, as 20GiB", text, size)
		}
		if n < MinSize {
			return fmt.Errorf("store %q: %s is too small for XFS: at least %s", text, bytes(n), bytes(MinSize))
		}
		spec.Size = n / blockSize * blockSize
	}
	*s = spec
	return nil
}

// String is what UnmarshalText reads.
func (s Spec) String() string {
	if s.Size == 0 {
		return string(s.Kind)
	}
	return fmt.Sprintf("%s:%d", s.Kind, s.Size)
}

// ErrUnable is wrapped by errors about what the host lacks for a loop store.
var ErrUnable = errors.New("this host cannot hold a loop store")

func unable(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnable, fmt.Errorf(format, args...))
}

func bytes(n int64) string {
	return units.CustomSize("%.4g%s", float64(n), 1024, []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"})
}
