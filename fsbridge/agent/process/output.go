package process

import (
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// remember keeps the last of what the spool file does not take.
func (c *capture) remember(b []byte) {
	if c.dropped.Load() {
		c.late = ring{}
		return
	}
	if c.late.buf == nil {
		size := c.t.rings.take()
		c.late.buf = make([]byte, size)
		c.ringed.Store(size)
		if c.dropped.Load() { // meanwhile
			c.t.release(c.drop())
		}
	}
	c.late.add(b)
}

// read appends at most limit bytes of the stream to dst, beginning with byte at
// or, if that is lost, with the next that is kept, which from is.
func (c *capture) read(dst []byte, at int64, limit int) (_ []byte, from int64) {
	have := len(dst)
	n := min(c.spooledBytes()-at, int64(limit))
	if n > 0 {
		dst = c.readSpool(dst, at, int(n))
	}
	got := len(dst) - have
	end := at + int64(got)
	if got == limit {
		return dst, at
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	spooled := c.spooled.Load()
	if unreadable := n > 0 && got == 0; end < spooled && !unreadable {
		return dst, at // what has come meanwhile is for the next read
	}
	start := max(c.total-c.late.kept(), spooled)
	next := max(end, start)
	if got == 0 {
		at = next
	} else if next > end {
		return dst, at // what is between is lost; the next read begins after it
	}
	return c.late.appendTo(dst, next-start, limit-got), at
}

// spooledBytes is how much of the stream's beginning is in the spool file.
func (c *capture) spooledBytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spooled.Load()
}

// readSpool appends n bytes of the spool file to dst, fewer where the file lacks
// them: it is in the container, where it can be changed.
func (c *capture) readSpool(dst []byte, at int64, n int) []byte {
	c.t.spooling <- struct{}{}
	defer func() { <-c.t.spooling }()
	fd, err := unix.Open(c.path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return dst
	}
	f := os.NewFile(uintptr(fd), c.path)
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return dst
	}
	have := len(dst)
	dst = append(dst, make([]byte, n)...)
	got, err := f.ReadAt(dst[have:], at)
	if err != nil && err != io.EOF {
		got = 0
	}
	return dst[:have+got]
}

// watchers are told when there is new output.
type watchers struct {
	count atomic.Int32 // so that output without any costs nothing
	mu    sync.Mutex
	all   map[chan struct{}]bool
}

// watch returns a channel that says that there is new output, and an end to it.
func (w *watchers) watch() (news <-chan struct{}, end func()) {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = make(map[chan struct{}]bool)
	}
	w.all[c] = true
	w.count.Add(1)
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all, c)
		w.count.Add(-1)
	}
}

func (w *watchers) wake() {
	if w.count.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.all {
		notify(c)
	}
}
