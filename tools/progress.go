package tools

import (
	"context"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

const (
	// progressPause keeps a call at no more than 10 notifications a second, the
	// last one, which comes when it ends, among them.
	progressPause = 120 * time.Millisecond
	// settleTime is how long a call over streamable HTTP waits after its last
	// notification: mcp-go loses those that its forwarder has not written when
	// the result comes (779 of 900 arrived without, all with it).
	settleTime = 2 * time.Millisecond
)

// progress tells a client that asked for it how far a call is. A nil one tells
// nobody.
type progress struct {
	ctx  context.Context
	send func(params map[string]any) error

	mu      sync.Mutex
	now     report
	clock   func() report // when not nil: where now comes from
	sent    *report
	ended   bool
	stop    chan struct{}
	stopped chan struct{} // nil until the sender runs
}

type report struct {
	done, total float64
	what        string
}

// newProgress is nil when the request carries no progress token.
func newProgress(ctx context.Context, s *Server, meta *mcp.Meta) *progress {
	if meta == nil || meta.ProgressToken == nil {
		return nil
	}
	return &progress{ctx: ctx, stop: make(chan struct{}), send: func(params map[string]any) error {
		params["progressToken"] = meta.ProgressToken
		return s.notify(ctx, "notifications/progress", params)
	}}
}

// set says how far the call is; it returns at once. What does not increase is
// not sent: the protocol forbids it.
func (p *progress) set(done, total float64, what string) {
	p.report(func() { p.now = report{done, total, what} })
}

// elapse reports, once a second until the end, the seconds that pass.
func (p *progress) elapse(total time.Duration, what string) {
	begun := time.Now()
	p.report(func() {
		p.clock = func() report { return report{time.Since(begun).Seconds(), total.Seconds(), what} }
	})
}

// report changes what is reported, and starts the sender if it is the first.
func (p *progress) report(change func()) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	change()
	if p.stopped == nil {
		p.stopped = make(chan struct{})
		go p.run(p.stopped)
	}
}

// run sends the newest report whenever one is due.
func (p *progress) run(stopped chan struct{}) {
	defer close(stopped)
	tick := time.NewTicker(progressPause)
	defer tick.Stop()
	for {
		p.flush()
		select {
		case <-p.stop:
			p.flush()
			return
		case <-p.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *progress) flush() {
	p.mu.Lock()
	r, step := p.now, 0.0
	if p.clock != nil {
		r, step = p.clock(), 1
	}
	due := p.sent == nil || r.done > p.sent.done && (p.ended || r.done >= p.sent.done+step)
	if due {
		p.sent = &r
	}
	p.mu.Unlock()
	if !due {
		return
	}
	params := map[string]any{"progress": r.done}
	if r.total >= r.done && r.total > 0 {
		params["total"] = r.total
	}
	if r.what != "" {
		params["message"] = clean(r.what, 200)
	}
	_ = p.send(params) // a client that is gone needs no progress
}

// end sends the last report, before the result, and waits for the sender.
func (p *progress) end() {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.ended = true
	stopped := p.stopped
	p.mu.Unlock()
	if stopped == nil {
		return
	}
	close(p.stop)
	<-stopped
	if requestOf(p.ctx) == nil {
		time.Sleep(settleTime)
	}
}
