package agent_test

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"moorage/fsbridge"
	"moorage/fsbridge/agent"
	"moorage/fsbridge/fstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// socketpair returns the two ends of a unix socket, as agent and server have it.
func socketpair(t testing.TB) (server, inside io.ReadWriteCloser) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "server"), os.NewFile(uintptr(fds[1]), "agent")
}

// newAgent starts an agent that ends with the test, which finds that its spool
// is left as it should be.
func newAgent(t testing.TB) *agent.Agent {
	t.Helper()
	a, err := agent.New(agent.Options{Spool: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// connect serves one connection of the agent until the test ends.
func connect(t testing.TB, a *agent.Agent, dataDir string) *fsbridge.Client {
	t.Helper()
	server, inside := socketpair(t)
	var wg sync.WaitGroup
	wg.Go(func() { a.Serve(context.Background(), inside) })
	c, err := fsbridge.Connect(t.Context(), server, fsbridge.Welcome{DataDir: fsbridge.Path(dataDir)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		wg.Wait()
	})
	return c
}

func TestSuite(t *testing.T) {
	fstest.Run(t, func(t *testing.T) fstest.Target {
		dir := t.TempDir()
		return fstest.Target{
			Client:  connect(t, newAgent(t), dir),
			Dir:     dir,
			HostDir: dir,
			Root:    os.Getuid() == 0,
			Shell:   true,
		}
	})
}

// A handle outlives the connection that made it: the next one follows it from the
// cursor, and lists what was started without an answer.
func TestHandlesOutliveConnections(t *testing.T) {
	a := newAgent(t)
	dir := t.TempDir()
	first := connect(t, a, dir)
	res, _, err := first.Exec(t.Context(), fsbridge.ExecRequest{Command: "while read x; do echo got $x; done", StdinOpen: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	one, _, err := first.Follow(t.Context(), fsbridge.FollowRequest{ProcessID: res.ProcessID, WaitFor: "got", Wait: fsbridge.WaitMax}, []byte("1\n"))
	if err != nil || !one.Matched {
		t.Fatalf("got %+v, %v", one, err)
	}
	var unanswered sync.WaitGroup
	for _, call := range []func() error{
		func() error {
			_, _, err := first.Exec(t.Context(), fsbridge.ExecRequest{Command: "touch started; sleep 1000", Wait: fsbridge.WaitMax}, nil)
			return err
		},
		func() error {
			_, _, err := first.Follow(t.Context(), fsbridge.FollowRequest{ProcessID: res.ProcessID, Wait: fsbridge.WaitMax}, nil)
			return err
		},
	} {
		unanswered.Go(func() {
			if err := call(); !errors.Is(err, fsbridge.ErrClosed) {
				t.Errorf("got %v", err)
			}
		})
	}
	second := connect(t, a, dir)
	for started := false; !started; {
		_, _, err := second.Stat(t.Context(), fsbridge.StatRequest{Path: "started"})
		started = err == nil
	}
	first.Close()
	unanswered.Wait()
	req := fsbridge.FollowRequest{ProcessID: res.ProcessID, Cursor: one.NextCursor, Close: true, Wait: fsbridge.WaitMax}
	end, out, err := second.Follow(t.Context(), req, []byte("2\n"))
	if err != nil || string(out.StdoutHead) != "got 2\n" || end.State != fsbridge.Exited {
		t.Errorf("got %q, %+v, %v", out.StdoutHead, end, err)
	}
	list, err := second.Processes(t.Context())
	if err != nil || list.Total != 2 || list.Processes[0].State != fsbridge.Running || list.Processes[1].ProcessID != res.ProcessID {
		t.Errorf("got %+v, %v", list, err)
	}
}
