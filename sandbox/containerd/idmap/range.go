package idmap

import (
	"fmt"
	"strconv"
	"strings"
)

// Size is how many ids a container has: 0 to 65534, and 65535, which some
// programs use for nobody. Debian's packages and useradd need no more.
const Size = 65536

// Range is the host's ids of a container, Size of them from Base. The zero value
// is no mapping: ids in the container are the host's.
type Range struct{ Base uint32 }

// IsZero reports whether there is no mapping.
func (r Range) IsZero() bool { return r.Base == 0 }

// Contains reports whether a host id is one of the range's.
func (r Range) Contains(id uint32) bool {
	return !r.IsZero() && id >= r.Base && id-r.Base < Size
}

// String is "FIRST:COUNT", as in /etc/subuid, or "none".
func (r Range) String() string {
	if r.IsZero() {
		return "none"
	}
	return fmt.Sprintf("%d:%d", r.Base, Size)
}

// ParseRange reads what String has written.
func ParseRange(s string) (Range, error) {
	if s == "none" {
		return Range{}, nil
	}
	first, count, _ := strings.Cut(s, ":")
	base, err := strconv.ParseUint(first, 10, 32)
	if err != nil || count != strconv.Itoa(Size) || base == 0 || base > maxBase {
		return Range{}, fmt.Errorf("id range %.40q: expected FIRST:%d, FIRST from 1 to %d", s, Size, uint32(maxBase))
	}
	return Range{Base: uint32(base)}, nil
}

// maxBase leaves out the last id, 4294967295, which is "no id" to system calls.
const maxBase = 1<<32 - 1 - Size
