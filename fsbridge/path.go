package fsbridge

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MarshalText gives the path's form in JSON. A path with a NUL byte has none.
func (p Path) MarshalText() ([]byte, error) {
	if strings.IndexByte(string(p), 0) >= 0 {
		return nil, errors.New("path holds a NUL byte")
	}
	if utf8.ValidString(string(p)) {
		return []byte(p), nil
	}
	return hex.AppendEncode([]byte{0}, []byte(p)), nil
}

// UnmarshalText reads the form in JSON.
func (p *Path) UnmarshalText(b []byte) error {
	if len(b) == 0 || b[0] != 0 {
		*p = Path(b)
		return p.check()
	}
	raw, err := hex.DecodeString(string(b[1:]))
	if err != nil {
		return fmt.Errorf("decode path: %w", err)
	}
	*p = Path(raw)
	return p.check()
}

func (p *Path) check() error {
	if strings.IndexByte(string(*p), 0) >= 0 {
		return errors.New("path holds a NUL byte")
	}
	return nil
}
