package fstest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"moorage/fsbridge"
)

var loadCases = []testCase{
	{"ManyInFlight", loadManyInFlight},
	{"OutOfOrder", loadOutOfOrder},
	{"Stream100MB", loadStream},
	{"SlowReader", loadSlowReader},
	{"CancelFetch", loadCancelFetch},
	{"CancelList", loadCancelList},
	{"EndedContext", loadEndedContext},
}

func loadManyInFlight(e *env) {
	content := strings.Repeat("0123456789abcde\n", 256)
	path := e.put("f", content)
	var failed atomic.Int32
	parallel(500, func(i int) {
		var err error
		switch i % 4 {
		case 0:
			err = e.Client.Ping(e.Context())
		case 1:
			_, _, err = e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: path, Head: true})
		case 2:
			_, err = e.Client.List(e.Context(), fsbridge.ListRequest{Path: e.path(".")})
		default:
			var body []byte
			if _, _, body, err = e.Client.Read(e.Context(), fsbridge.ReadRequest{Path: path, Text: true}); err == nil && string(body) != content {
				err = errors.New("another content")
			}
		}
		if err != nil && failed.Add(1) < 5 {
			e.Error(err)
		}
	})
}

// loadOutOfOrder: commands that take their time hold up nothing else.
func loadOutOfOrder(e *env) {
	if !e.Shell {
		e.Skip("no shell in the target")
	}
	ctx, cancel := context.WithCancel(e.Context())
	defer cancel()
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() { e.Client.Exec(ctx, e.command("sleep 1000"), nil) })
	}
	for range 20 {
		e.must(e.Client.Ping(e.Context()))
		e.put("f", "x")
	}
	cancel()
	wg.Wait()
}

func loadStream(e *env) {
	const size = 100_000_000
	want := sha256.New()
	res, err := e.Client.WriteFrom(e.Context(), fsbridge.WriteRequest{Path: e.path("f")}, io.TeeReader(newPattern(size), want))
	e.must(err)
	sum := hex.EncodeToString(want.Sum(nil))
	if res.Size != size || res.Revision != sum[:32] {
		e.Errorf("got %+v, want revision %s", res, sum[:32])
	}
	got := sha256.New()
	if n, err := e.Client.ReadTo(e.Context(), e.path("f"), 0, -1, got); err != nil || n != size || hex.EncodeToString(got.Sum(nil)) != sum {
		e.Errorf("got %d bytes, %v", n, err)
	}
	if e.Shell {
		if out := e.sh("sha256sum f"); !strings.HasPrefix(out, sum) {
			e.Errorf("in the container it is %s", out)
		}
	}
}

// loadSlowReader: a stream that nobody reads holds up nothing else.
func loadSlowReader(e *env) {
	_, err := e.Client.WriteFrom(e.Context(), fsbridge.WriteRequest{Path: e.path("f")}, newPattern(20<<20))
	e.must(err)
	ctx, cancel := context.WithCancel(e.Context())
	defer cancel()
	var stuck, ended sync.WaitGroup
	for range 20 {
		stuck.Add(1)
		var once sync.Once
		ended.Go(func() {
			w := &stuckWriter{ctx: ctx, stuck: func() { once.Do(stuck.Done) }}
			if _, err := e.Client.ReadTo(ctx, e.path("f"), 0, -1, w); !errors.Is(err, context.Canceled) {
				e.Errorf("got %v", err)
			}
		})
	}
	stuck.Wait()
	e.put("other", "x")
	if got := e.get(e.path("other")); got != "x" {
		e.Errorf("got %q", got)
	}
	cancel()
	ended.Wait()
	e.must(e.Client.Ping(e.Context()))
}

func loadCancelFetch(e *env) {
	e.sh("truncate -s 5000000000 f")
	ctx, cancel := context.WithCancel(e.Context())
	defer cancel()
	var start time.Time
	w := writerFunc(func(b []byte) (int, error) {
		if start.IsZero() {
			start = time.Now()
			cancel()
		}
		return len(b), nil
	})
	if _, err := e.Client.ReadTo(ctx, e.path("f"), 0, -1, w); !errors.Is(err, context.Canceled) || time.Since(start) > prompt {
		e.Errorf("got %v after %v", err, time.Since(start))
	}
	e.must(e.Client.Ping(e.Context()))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func loadCancelList(e *env) {
	for range 20 {
		ctx, cancel := context.WithTimeout(e.Context(), time.Millisecond)
		start := time.Now()
		_, err := e.Client.List(ctx, fsbridge.ListRequest{Path: "/", Depth: fsbridge.DepthMax})
		cancel()
		if err == nil {
			e.Skip("the whole tree is listed within a millisecond")
		}
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > prompt {
			e.Errorf("got %v after %v", err, time.Since(start))
		}
	}
	start := time.Now()
	e.put("f", "x")
	if d := time.Since(start); d > 2*time.Second {
		e.Errorf("a write after cancelled lists took %v", d)
	}
}

func loadEndedContext(e *env) {
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	calls := map[string]func() error{
		"ping":  func() error { return e.Client.Ping(ctx) },
		"read":  func() error { _, _, _, err := e.Client.Read(ctx, fsbridge.ReadRequest{}); return err },
		"fetch": func() error { return ignore(e.Client.ReadTo(ctx, "f", 0, -1, &bytes.Buffer{})) },
		"write": func() error { return ignore(e.Client.Write(ctx, fsbridge.WriteRequest{Path: e.path("f")}, nil)) },
		"list":  func() error { return ignore(e.Client.List(ctx, fsbridge.ListRequest{})) },
		"stat":  func() error { _, _, err := e.Client.Stat(ctx, fsbridge.StatRequest{}); return err },
		"exec":  func() error { _, _, err := e.Client.Exec(ctx, fsbridge.ExecRequest{Command: ":"}, nil); return err },
		"follow": func() error {
			_, _, err := e.Client.Follow(ctx, fsbridge.FollowRequest{ProcessID: "p1"}, nil)
			return err
		},
		"processes": func() error { return ignore(e.Client.Processes(ctx)) },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, context.Canceled) {
			e.Errorf("%s: got %v", name, err)
		}
	}
	e.must(e.Client.Ping(e.Context()))
	e.noTemps(e.path("."))
}
