package client

import (
	"strings"
	"sync"
)

// tailMax is how much of a command's standard error is kept.
const tailMax = 2 << 10

// Tail keeps the last bytes written to it, for an error to quote. Its zero value
// is ready, and it may be used by several goroutines.
type Tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p[max(0, len(p)-tailMax):]...)
	t.b = t.b[max(0, len(t.b)-tailMax):]
	return len(p), nil
}

// String is what was kept, or "nothing".
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := strings.TrimSpace(string(t.b)); s != "" {
		return s
	}
	return "nothing"
}
