package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"moorage/fsbridge"
)

// TestEndlessOutput: commands that write for ever neither grow the agent nor keep
// others waiting.
func TestEndlessOutput(t *testing.T) {
	c := newContainer(t, program, limits{memory: 256 << 20})
	c.busybox()
	c.start()
	client := c.connect()
	var ids []string
	for _, line := range []string{"yes", "yes >&2", "yes & yes >&2; wait"} {
		res, _, err := client.Exec(t.Context(), fsbridge.ExecRequest{Command: line}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, res.ProcessID)
	}
	written := func() (n int64) {
		list, err := client.Processes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list.Processes {
			n += p.StdoutBytes + p.StderrBytes
		}
		return n
	}
	waitFor(t, func() bool { return written() > 10*fsbridge.SpoolMax })
	before, begin := c.memory(client), written()
	var slowest time.Duration
	waitFor(t, func() bool {
		start := time.Now()
		if _, err := client.Write(t.Context(), fsbridge.WriteRequest{Path: "f"}, []byte("x")); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(start))
		return written() > begin+1<<30
	})
	after := c.memory(client)
	t.Logf("1 GiB of output; the agent had %d KiB, has %d; the slowest write took %v", before, after, slowest)
	if after > before+8<<10 || slowest > 2*time.Second {
		t.Errorf("the agent had %d KiB, has %d; the slowest write took %v", before, after, slowest)
	}
	for _, id := range ids {
		req := fsbridge.FollowRequest{ProcessID: id, Signal: "KILL", Cursor: "end", Wait: fsbridge.WaitMax}
		if res, _, err := client.Follow(t.Context(), req, nil); err != nil || res.State != fsbridge.Signaled || !res.SpoolCut && res.SpoolError == "" {
			t.Errorf("got %+v, %v", res, err)
		}
	}
}

// memory returns how many KiB the agent has of its own.
func (c *container) memory(client *fsbridge.Client) int {
	c.t.Helper()
	_, rss := sh(c.t, client, "awk '/RssAnon/ { print $2 }' /proc/1/status")
	kib, err := strconv.Atoi(strings.TrimSpace(rss))
	if err != nil {
		c.t.Fatal(err)
	}
	return kib
}

// TestPIDsLimit: at the limit of processes the agent still works, and says which
// limit it is.
func TestPIDsLimit(t *testing.T) {
	c := newContainer(t, program, limits{pids: 100})
	c.busybox()
	c.start()
	client := c.connect()
	var limit error
	for range 101 {
		req := fsbridge.ExecRequest{Argv: []string{"sleep", "1000"}, Timeout: 5 * time.Second}
		if _, _, limit = client.Exec(t.Context(), req, nil); limit != nil {
			break
		}
	}
	if !errors.Is(limit, fsbridge.ErrLimit) || !strings.Contains(limit.Error(), "pids limit of 100") {
		t.Errorf("got %v", limit)
	}
	if list, err := client.Processes(t.Context()); err != nil || !list.Processes[len(list.Processes)-1].PIDsMet {
		t.Errorf("one that ran meanwhile: got %+v, %v", list, err)
	}
	content := bytes.Repeat([]byte("x"), 500_000)
	var wg sync.WaitGroup
	for i := range 64 {
		path := fsbridge.Path(fmt.Sprintf("f%d", i))
		wg.Go(func() {
			for range 5 {
				if _, err := client.Write(t.Context(), fsbridge.WriteRequest{Path: path}, content); err != nil {
					t.Error(err)
				}
				if n, err := client.ReadTo(t.Context(), path, 0, -1, io.Discard); n != int64(len(content)) || err != nil {
					t.Error(n, err)
				}
				// A search has more goroutines than the one in the gate.
				res, err := client.Grep(t.Context(), fsbridge.GrepRequest{Path: ".", Pattern: "x", Glob: "f*", Mode: fsbridge.GrepFiles})
				if err != nil || res.Files == 0 {
					t.Error(res, err)
				}
			}
		})
	}
	wg.Wait()
	waitFor(t, func() bool {
		res, _, err := client.Exec(t.Context(), fsbridge.ExecRequest{Argv: []string{"true"}, Wait: fsbridge.WaitMax}, nil)
		return err == nil && res.State == fsbridge.Exited
	})
	if res, _ := sh(t, client, "for i in $(seq 200); do sleep 0.1 & done; exit 3"); !res.PIDsMet || res.MemoryMet {
		t.Errorf("a command that forks over the limit: got %+v", res)
	}
	waitFor(t, func() bool {
		res, _, err := client.Exec(t.Context(), fsbridge.ExecRequest{Argv: []string{"true"}, Wait: fsbridge.WaitMax}, nil)
		return err == nil && !res.PIDsMet
	})
}

// TestForkBomb: a command that forks for ever harms only itself, and nothing is
// left of it, whether or not it leaves its group.
func TestForkBomb(t *testing.T) {
	c := newContainer(t, program, limits{pids: 100})
	c.busybox()
	c.start()
	client := c.connect()
	// awk, unlike a shell, goes on when a fork fails.
	for _, again := range []string{"sh /data/bomb", "setsid sh /data/bomb"} {
		script := fmt.Sprintf(`exec awk 'BEGIN { while (1) system("%s &") }' 2>/dev/null`, again)
		if _, err := client.Write(t.Context(), fsbridge.WriteRequest{Path: "bomb"}, []byte(script)); err != nil {
			t.Fatal(err)
		}
		bomb(t, client, script)
		waitFor(t, func() bool {
			res, out, err := client.Exec(t.Context(), fsbridge.ExecRequest{Argv: []string{"ls", "/proc"}, Wait: fsbridge.WaitMax}, nil)
			left := 0
			for _, name := range strings.Fields(string(out.StdoutHead)) {
				if pid, err := strconv.Atoi(name); err == nil && pid > 1 && pid != res.PID {
					left++
				}
			}
			return err == nil && left == 0
		})
	}
}

// bomb runs a fork bomb until it is killed, while other calls are answered.
func bomb(t *testing.T, client *fsbridge.Client, line string) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		req := fsbridge.ExecRequest{Command: line, Timeout: 2 * time.Second, Wait: fsbridge.WaitMax}
		if res, _, err := client.Exec(t.Context(), req, nil); err != nil || res.State != fsbridge.TimedOut {
			t.Errorf("the bomb: %+v, %v", res, err)
		}
	}()
	met := false
	for going := true; going; {
		select {
		case <-done:
			going = false
		default:
		}
		if _, err := client.Write(t.Context(), fsbridge.WriteRequest{Path: "f"}, []byte("x")); err != nil {
			t.Fatal(err)
		}
		_, _, err := client.Exec(t.Context(), fsbridge.ExecRequest{Argv: []string{"true"}}, nil)
		if err != nil && (!errors.Is(err, fsbridge.ErrLimit) || !strings.Contains(err.Error(), "pids limit of 100")) {
			t.Fatal(err)
		}
		met = met || err != nil
		if _, err := client.Processes(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !met {
		t.Error("the limit was not met")
	}
}

// TestMemoryHog: it is killed, told as such, and the agent goes on.
func TestMemoryHog(t *testing.T) {
	c := newContainer(t, program, limits{memory: 64 << 20})
	c.busybox()
	c.start()
	client := c.connect()
	for _, req := range []fsbridge.ExecRequest{
		{Argv: []string{"awk", `BEGIN { s = "x"; while (1) s = s s }`}},
		{Command: `awk 'BEGIN { s = "x"; while (1) s = s s }'; exit $?`},
	} {
		req.Wait = fsbridge.WaitMax
		done := make(chan struct{})
		go func() {
			defer close(done)
			res, out, err := client.Exec(t.Context(), req, nil)
			if err != nil || !res.OOMKilled {
				t.Errorf("got %+v, %s, %v", res, out.StderrHead, err)
			}
		}()
		for hungry := true; hungry; {
			select {
			case <-done:
				hungry = false
			default:
			}
			if _, err := client.Write(t.Context(), fsbridge.WriteRequest{Path: "f"}, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if res, _ := sh(t, client, `awk 'BEGIN { s = "x"; while (1) s = s s }'; exit 2`); res.OOMKilled || !res.MemoryMet || res.PIDsMet {
		t.Errorf("a child is killed, its parent hides that: got %+v", res)
	}
	if res, _ := sh(t, client, "kill -9 $$"); res.OOMKilled || res.MemoryMet {
		t.Errorf("a plain kill: got %+v", res)
	}
	// The agent takes its own score back when the command has started: it may be
	// a moment late.
	const scores = `n=0; while [ $n -lt 10000 ] && [ "$(cat /proc/1/oom_score_adj)" = 500 ]; do n=$((n+1)); done
		cat /proc/self/oom_score_adj /proc/1/oom_score_adj`
	if _, out := sh(t, client, scores); !strings.HasPrefix(out, "500\n") || strings.HasSuffix(out, "500\n500\n") {
		t.Errorf("oom_score_adj of a command and of the agent: %q", out)
	}
}
