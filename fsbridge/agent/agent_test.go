package agent_test

import (
	"context"
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
