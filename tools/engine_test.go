package tools

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"moorage/sandbox"
	"moorage/sandbox/containerd"
	"moorage/sandbox/containerd/embed"
	"moorage/sandbox/sandboxtest"
)

// engine is what the tests with real containers share: an embedded containerd
// with a Runtime, made when the first of them asks.
var engine struct {
	once    sync.Once
	dir     string
	runtime *containerd.Runtime
	stop    func() error
	err     error
	log     syncBuffer
}

func TestMain(m *testing.M) {
	code := m.Run()
	if left := unused(); engine.stop != nil && code == 0 && len(left) > 0 {
		fmt.Fprintln(os.Stderr, "no test gives these parameters to a real container:", left)
		code = 1
	}
	if engine.stop != nil {
		if err := engine.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the engine:", err)
			code = 1
		}
	}
	// containerd's packages start goroutines that nothing ends.
	leaks := goleak.Find(goleak.IgnoreAnyFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"), goleak.IgnoreAnyFunction("github.com/docker/go-events.(*Broadcaster).run"))
	if code == 0 && leaks != nil {
		fmt.Fprintln(os.Stderr, leaks)
		code = 1
	}
	os.Exit(code)
}

func startEngine() (err error) {
	e := &engine
	if e.dir, err = os.MkdirTemp("/tmp", "mt"); err != nil {
		return err
	}
	if err := os.Chmod(e.dir, 0o711); err != nil { // a container's root passes through it
		return err
	}
	var undo []func() error
	e.stop = func() error {
		var errs []error
		for i := len(undo) - 1; i >= 0; i-- {
			errs = append(errs, undo[i]())
		}
		return errors.Join(append(errs, os.RemoveAll(e.dir))...)
	}
	agent, err1 := sandboxtest.BuildAgent(e.dir)
	shim, err2 := sandboxtest.BuildShim(e.dir)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(&e.log, nil))
	root, run := filepath.Join(e.dir, "root"), filepath.Join(e.dir, "run")
	in, err := embed.Start(context.Background(), embed.Options{Root: root, Run: run, ShimPath: shim, Log: log})
	if err != nil {
		return err
	}
	undo = append(undo, in.Close)
	e.runtime, err = containerd.New(in.Client(), containerd.Options{Root: root, Run: run, AgentPath: agent, RuntimeName: in.RuntimeName(), Log: log})
	if err != nil {
		return err
	}
	undo = append(undo, e.runtime.Close)
	return e.runtime.Open(context.Background())
}

// live is a Server over real containers, for one test.
type live struct {
	*Server
	manager *sandbox.Manager
	bot     sandbox.Bot
	*testClient
}

// newLive serves a client of a bot that is the test's own. Its containers and
// data are deleted at the test's end.
func newLive(t testing.TB, o sandbox.Options) *live {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containers need root")
	}
	engine.once.Do(func() { engine.err = startEngine() })
	if engine.err != nil {
		t.Fatal(engine.err)
	}
	o.Log = slog.New(slog.NewTextHandler(&engine.log, nil))
	l := &live{manager: sandbox.NewManager(engine.runtime, o), bot: sandbox.Bot(strings.NewReplacer("/", "-").Replace(t.Name()))}
	l.Server = NewServer(l.manager, Options{Version: "test", Log: o.Log})
	t.Cleanup(func() { l.clear(t, l.bot) })
	l.testClient = dial(t, l.Server, l.bot)
	return l
}

// another is a client of another bot on the same server.
func (l *live) another(t testing.TB, name string) *testClient {
	t.Helper()
	bot := l.bot + sandbox.Bot("-"+name)
	t.Cleanup(func() { l.clear(t, bot) })
	return dial(t, l.Server, bot)
}

// clear deletes what a bot has.
func (l *live) clear(t testing.TB, bot sandbox.Bot) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all, err := l.manager.List(ctx, bot, "")
	if err != nil {
		t.Error(err)
	}
	// The bot's data goes with the last one that has it.
	slices.SortStableFunc(all, func(a, b sandbox.Listed) int {
		return strings.Compare(dataOf(a.Status.Spec), dataOf(b.Status.Spec))
	})
	for i, x := range all {
		if err := l.manager.Delete(ctx, x.Status.Spec.Ref, i == len(all)-1); err != nil {
			t.Error(err)
		}
	}
	snapshots, err := l.manager.ListSnapshots(ctx, bot, "", "")
	if err != nil {
		t.Error(err)
	}
	for _, sn := range snapshots {
		if _, err := l.manager.DeleteSnapshot(ctx, bot, sn.Name); err != nil {
			t.Error(err)
		}
	}
	if bot == l.bot {
		if err := l.manager.Close(); err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.Logf("the engine's log:\n%s", lastLines(engine.log.String(), 20))
	}
}

func lastLines(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
