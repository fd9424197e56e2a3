package sandbox

import (
	"fmt"
	"strconv"

	"github.com/docker/go-units"
)

// Size is a number of bytes. As text it has a binary unit: 512 B, 1.5 KiB, 64 GiB.
type Size int64

func (s Size) String() string {
	return units.CustomSize("%.4g %s", float64(s), 1024, []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"})
}

// ParseSize reads a whole number of bytes, which may be negative, or a number with
// one of the units KiB, MiB, GiB, TiB and PiB, of which "iB" or "B" may be left
// out: all are powers of 1024. The error wraps ErrInvalid.
func ParseSize(text string) (Size, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return Size(n), nil
	}
	n, err := units.RAMInBytes(text)
	if err != nil || n < 0 { // it wraps around
		return 0, fmt.Errorf("size %.40q: %w: a number with a unit is expected, as 64GiB", text, ErrInvalid)
	}
	return Size(n), nil
}

// UnmarshalText is ParseSize.
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}
