package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

const (
	pumpSize = 64 << 10 // read from a pipe at a time; a pipe holds as much
	// drainTime is how long after the leader's exit its output is waited for. It
	// is there at once, but a terminal's needs the kernel's worker, and
	// background children may go on writing.
	drainTime = 50 * time.Millisecond
	// reopenTime is how often a terminal that nobody has open is looked at.
	reopenTime = 50 * time.Millisecond
)

var pumpBuffers = sync.Pool{New: func() any { b := make([]byte, pumpSize); return &b }}

// capture is one stream of output of a process.
type capture struct {
	t      *Table
	path   string // of the spool file
	file   *os.File
	raw    syscall.RawConn
	eof    chan struct{}   // closed when run has returned
	leader <-chan struct{} // of a terminal: closed when its leader has exited
	news   *watchers

	attempt func(fd uintptr) bool // pump, for raw.Read
	more    bool                  // what the last attempt said

	mu    sync.Mutex
	total int64
	out   *excerpt // nil when the result was made
	late  ring     // the last of what the spool did not take
	spool *os.File
	made  bool   // the spool file was made
	cut   bool   // the spool takes no more
	err   string // why, if that is an error

	spooled atomic.Int64
	ringed  atomic.Int64 // bytes of late, as they are counted in the Table
	dropped atomic.Bool
}

// newCapture makes the capture of one stream. Its spool file is made when there
// is output, or begin asks for it: making a file may take as long as a short
// command.
func newCapture(p *Process, file *os.File, path string, max int) *capture {
	raw, err := file.SyscallConn()
	if err != nil {
		panic(err) // only of a file that is nil
	}
	c := &capture{
		t: p.t, path: path, file: file, raw: raw, eof: make(chan struct{}), out: newExcerpt(max), news: &p.news,
	}
	c.attempt = func(fd uintptr) bool {
		var err error
		c.more, err = c.pump(int(fd))
		return !errors.Is(err, unix.EAGAIN)
	}
	return c
}

// begin makes the spool file, if it can be.
func (c *capture) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dropped.Load() && c.spool == nil && !c.cut {
		c.open()
	}
}

// open makes the spool file. Where that cannot be, the output is only counted
// and excerpted.
func (c *capture) open() {
	f, err := os.OpenFile(c.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		c.fail(err)
		return
	}
	c.spool, c.made = f, true
	if c.dropped.Load() { // meanwhile
		os.Remove(c.path)
	}
}

// errSpoolFull is why a command has no file of its output, or a short one, though
// it wrote little itself.
var errSpoolFull = fmt.Errorf("commands that run hold all %d bytes that are kept of output", spoolTotal)

// fail notes that the spool takes no more because of err.
func (c *capture) fail(err error) {
	var errno syscall.Errno
	c.cut, c.err = true, err.Error()
	if errors.As(err, &errno) {
		c.err = errno.Error()
	}
	c.err = strings.ToValidUTF8(c.err[:min(len(c.err), fsbridge.SpoolErrorMax)], "")
}

// run moves the stream until its last writer has closed it. A terminal is kept
// open until its leader has exited, as closing it would kill that: a program may
// close its streams before it exits, and may open the terminal again.
func (c *capture) run() {
	defer close(c.eof)
	for last := c.leader == nil; ; {
		c.readToEnd()
		if last {
			break
		}
		select {
		case <-c.leader:
			last = true
		case <-time.After(reopenTime):
		}
	}
	c.file.Close() // not under mu: it waits for drain
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeSpool()
}

func (c *capture) readToEnd() {
	for {
		if err := c.raw.Read(c.attempt); err != nil || !c.more {
			return
		}
	}
}

// pump moves what one read gives. It reports whether there may be more.
func (c *capture) pump(fd int) (more bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	buf := pumpBuffers.Get().(*[]byte)
	defer pumpBuffers.Put(buf)
	n, err := unix.Read(fd, *buf)
	switch {
	case errors.Is(err, unix.EINTR):
		return true, nil
	case errors.Is(err, unix.EAGAIN):
		return true, err
	case err != nil || n <= 0: // EIO is how a terminal ends
		return false, io.EOF
	}
	c.store((*buf)[:n])
	return true, nil
}

// store counts, excerpts and keeps b: in the spool file or, where that takes no
// more, the last of it in memory.
func (c *capture) store(b []byte) {
	c.total += int64(len(b))
	if c.out != nil {
		c.out.add(b)
	}
	if n := c.write(b); n < len(b) {
		c.cut = true
		c.remember(b[n:])
	}
	c.news.wake()
}

// write adds to the spool file, and returns how many bytes that takes. What a
// full disk does not take is given back.
func (c *capture) write(b []byte) int {
	if c.dropped.Load() {
		c.closeSpool()
	}
	if c.spool == nil && !c.cut {
		c.open()
	}
	room := min(int64(len(b)), fsbridge.SpoolMax-c.spooled.Load())
	if c.cut || room <= 0 {
		return 0
	}
	if !c.t.reserve(room) {
		c.fail(errSpoolFull)
		return 0
	}
	c.t.spooling <- struct{}{}
	n, err := c.spool.Write(b[:room])
	<-c.t.spooling
	c.spooled.Add(int64(n))
	if err != nil {
		c.fail(err)
		c.t.release(room - int64(n))
	}
	if c.dropped.Load() { // meanwhile
		c.t.release(c.drop())
	}
	return n
}

func (c *capture) closeSpool() {
	if c.spool != nil {
		c.spool.Close()
		c.spool = nil
	}
	c.cut = true
}

// catchUp moves what the stream holds, at most as much as a pipe does: what was
// written to it before something on the other stream is then there too.
func (c *capture) catchUp() {
	c.raw.Control(func(fd uintptr) { c.pump(int(fd)) })
}

// drain moves what the process had written when it ended, and waits a little for
// the end of a stream that nobody else holds.
func (c *capture) drain(until time.Time, wait bool) {
	c.raw.Control(func(fd uintptr) {
		for time.Now().Before(until) {
			if more, err := c.pump(int(fd)); !more || err != nil {
				return
			}
		}
	})
	if !wait {
		return
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-c.eof:
	case <-timer.C:
	}
}

// drop gives the spool file up, which is then to be unlinked, and returns how many
// bytes that frees. The stream is still read.
func (c *capture) drop() int64 {
	c.dropped.Store(true)
	c.t.rings.give(c.ringed.Swap(0))
	return c.spooled.Swap(0)
}

// written is what a capture has taken so far, head and tail only on demand.
type written struct {
	head, tail []byte
	total      int64
	path       fsbridge.Path
	cut        bool   // the spool file lacks some of it, as it is full
	err        string // it lacks some of it because of this
}

func (c *capture) written(excerpt bool) (w written) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.total = c.total
	if short := c.spooled.Load() < c.total; c.err != "" && (short || !c.made) {
		w.err = c.err
	} else {
		w.cut = c.cut && short
	}
	if excerpt && c.out != nil {
		w.head, w.tail = c.out.parts()
	}
	if c.made && !c.dropped.Load() {
		w.path = fsbridge.Path(c.path)
	}
	return w
}

// forget frees what was kept for the result.
func (c *capture) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = nil
}
