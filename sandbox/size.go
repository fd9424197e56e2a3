package sandbox

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Size is a number of bytes. As text it has a binary unit: 512 B, 1.5 KiB, 64 GiB.
type Size int64

var sizeUnits = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}

func (s Size) String() string {
	if s < 1024 {
		return strconv.FormatInt(int64(s), 10) + " B"
	}
	f, unit := float64(s), 0
	for f >= 1023.95 && unit < len(sizeUnits)-1 {
		f, unit = f/1024, unit+1
	}
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0") + " " + sizeUnits[unit]
}

var sizeRE = regexp.MustCompile(`^(?i)(-?\d{1,18}(?:\.\d{1,9})?) ?(?:([KMGTP])I?)?B?$`)

// ParseSize reads a number of bytes, or one with KiB, MiB, GiB, TiB or PiB, of
// which "iB" or "B" may be left out: all are powers of 1024. The error wraps
// ErrInvalid.
func ParseSize(text string) (Size, error) {
	parts := sizeRE.FindStringSubmatch(text)
	if parts == nil {
		return 0, fmt.Errorf("size %.40q: %w: a size is a number of bytes, or one with KiB, MiB, GiB or TiB, as 64GiB", text, ErrInvalid)
	}
	f, err := strconv.ParseFloat(parts[1], 64)
	if parts[2] != "" {
		f *= float64(int64(1) << (10 * (1 + strings.Index("KMGTP", strings.ToUpper(parts[2])))))
	}
	if err != nil || f >= 1<<63 || f < -1<<63 {
		return 0, fmt.Errorf("size %.40q: %w: it does not fit 63 bits", text, ErrInvalid)
	}
	return Size(f), nil
}

// UnmarshalText is ParseSize.
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}
