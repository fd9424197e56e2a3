package containerd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"

	"moorage/fsbridge"
	"moorage/sandbox"
	"moorage/sandbox/containerd/snapstore"
	"moorage/sandbox/sandboxtest"
)

// A cut is a change that is ended by SIGKILL of the server before one of its
// steps, once for each of them. What is found afterwards is the state before the
// change or the one after it, and nothing more.
type cut struct {
	name string
	// links: two files of the container have two names each, which have to stay
	// names of one file.
	links bool
	// prepare makes what the change needs, of the container cutRef, which runs and
	// whose files all hold "old".
	prepare func(*cutTest)
	// change is carried out in a process of its own, which is killed.
	change func(context.Context, *Runtime) error
	// check tells whether it was done, after it has looked at all.
	check func(*cutTest) (done bool)
}

var cutRef, cutFork = sandbox.Ref{Bot: "cut", ID: "one"}, sandbox.Ref{Bot: "cut", ID: "fork"}

var cuts = []cut{
	{"TakeQuiet", false, nil, takeNew, checkTaken},
	{"TakeLinked", true, nil, takeNew, checkTaken}, // its steps are of this one and TakeBusy
	{"TakeBusy", true, func(c *cutTest) { c.shell("sleep 1000 >/dev/null 2>&1 &") }, takeNew, checkTaken},
	{"TakeStopped", false, (*cutTest).stopIt, takeNew, checkTaken},
	{"TakeMerging", false, func(c *cutTest) {
		for i := range cutLayers {
			c.take(fmt.Sprint("s", i))
		}
	}, takeNew, checkTaken},
	{"Restore", true, (*cutTest).prepareRestore, func(ctx context.Context, r *Runtime) error {
		_, err := r.RestoreSnapshot(ctx, sandbox.RestoreRequest{Ref: cutRef, Name: "first", Before: "new"})
		return err
	}, checkRestored},
	{"Fork", true, func(c *cutTest) { c.take("first") }, func(ctx context.Context, r *Runtime) error {
		return r.Create(ctx, sandbox.Spec{Ref: cutFork, FromSnapshot: "first"})
	}, checkForked},
	{"DeleteSnapshot", false, func(c *cutTest) { c.take("first") }, func(ctx context.Context, r *Runtime) error {
		return r.DeleteSnapshot(ctx, cutRef.Bot, "first")
	}, checkUnlisted},
	{"Import", true, (*cutTest).prepareImport, func(ctx context.Context, r *Runtime) error {
		f, err := os.Open(importTar(filepath.Dir(r.opts.Root)))
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = r.ImportSnapshot(ctx, cutRef.Bot, "new", f)
		return err
	}, checkImportDone},
	{"Export", true, func(c *cutTest) { c.take("before"); c.take("first") }, func(ctx context.Context, r *Runtime) error {
		return r.ExportSnapshot(ctx, cutRef.Bot, "first", io.Discard)
	}, func(c *cutTest) bool { c.forkHolds("first", "old"); return true }},
	{"DeleteFork", false, func(c *cutTest) { c.take("first"); c.fork("first") }, func(ctx context.Context, r *Runtime) error {
		return r.Delete(ctx, cutFork, false)
	}, checkForkDeleted},
}

// cutLayers is how many layers the server that is killed merges.
const cutLayers = 3

func takeNew(ctx context.Context, r *Runtime) error {
	req := sandbox.SnapshotRequest{Ref: cutRef, Name: "new", Origin: sandbox.OriginAsked}
	if st, err := r.Status(ctx, cutRef); err == nil && st.State == sandbox.StateRunning {
		client, err := dialAgent(ctx, r, cutRef)
		if err != nil {
			return err
		}
		defer client.Close()
		req.Hold = func(ctx context.Context) (func(), bool) {
			release, err := client.Hold(ctx)
			return release, err == nil
		}
	}
	_, err := r.TakeSnapshot(ctx, req)
	return err
}

func dialAgent(ctx context.Context, r *Runtime, ref sandbox.Ref) (*fsbridge.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, waitFor)
	defer cancel()
	stream, err := r.Connect(ctx, ref)
	if err != nil {
		return nil, err
	}
	return fsbridge.Connect(ctx, stream, fsbridge.Welcome{DataDir: "/data"})
}

var cutAll = flag.Bool("cut.all", false, "kill before every step of every change, also where another has the same steps")

// cutSome are the steps of a change that no other change has in the same way.
var cutSome = map[string][]string{
	"TakeLinked":  {"prepare copy"},
	"TakeStopped": {"exchange layers", "list snapshot", "end commit"},
	"TakeMerging": {"merge layers", "commit merged layers", "prepare stage", "list snapshot"},
}

// has reports whether a step is to be tried.
func (c cut) has(step string) bool {
	some := cutSome[c.name]
	return *cutAll || some == nil || slices.Contains(some, step)
}

func TestCutShort(t *testing.T) {
	for _, c := range cuts {
		t.Run(c.name, func(t *testing.T) {
			needRoot(t)
			c.run(t)
		})
	}
}

// run counts the steps first, by a change that is not cut.
func (c cut) run(t *testing.T) {
	var steps []string
	for n := 0; n <= len(steps) || n == 0; n++ {
		if n > 0 && !c.has(steps[n-1]) {
			continue
		}
		ct := newCutTest(t)
		if c.links {
			ct.link()
		}
		if c.prepare != nil {
			c.prepare(ct)
		}
		all := ct.cutAt(c.name, n-1)
		if n == 0 {
			steps = all
			t.Logf("steps: %s", strings.Join(steps, ", "))
		}
		ct.open()
		done := c.check(ct)
		if n == 0 && !done {
			t.Error("the change was not carried out")
		}
		if n > 0 {
			t.Logf("killed before %q: done %v", steps[n-1], done)
		}
		ct.clean()
		ct.end()
		if t.Failed() {
			return
		}
	}
}

// cutTest is one change that is cut.
type cutTest struct {
	*fixture
	client *fsbridge.Client
	links  bool
}

func newCutTest(t *testing.T) *cutTest {
	dir := sandboxtest.Dir(t)
	c := &cutTest{fixture: &fixture{t: t, dir: dir, engine: engines[0], opts: Options{
		Root: filepath.Join(dir, "root"), Run: filepath.Join(dir, "run"), AgentPath: agentPath, Log: testLog(t),
	}}}
	c.open()
	c.create(cutRef)
	c.write("old")
	return c
}

func (c *cutTest) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// agent is the connection to the container's agent; it is started if need be.
func (c *cutTest) agent() *fsbridge.Client {
	c.t.Helper()
	if c.client == nil || c.client.Err() != nil {
		c.client = c.agentOf(cutRef)
	}
	return c.client
}

func (c *cutTest) agentOf(ref sandbox.Ref) *fsbridge.Client {
	c.t.Helper()
	c.must(c.Start(context.Background(), ref))
	client, err := dialAgent(context.Background(), c.Runtime, ref)
	c.must(err)
	return client
}

var cutFiles = []string{"/root/file", "/etc/passwd", "/data/file", "/data/sub/file"}

func (c *cutTest) write(text string) {
	c.t.Helper()
	for _, p := range cutFiles {
		_, err := c.agent().Write(context.Background(), fsbridge.WriteRequest{Path: fsbridge.Path(p)}, []byte(text))
		c.must(err)
	}
}

func (c *cutTest) shell(line string) {
	c.t.Helper()
	c.shellOf(c.agent(), line)
}

func (c *cutTest) shellOf(client *fsbridge.Client, line string) string {
	c.t.Helper()
	_, out, err := client.Exec(context.Background(), fsbridge.ExecRequest{Command: line, Wait: waitFor, MaxOutput: 1 << 10}, nil)
	c.must(err)
	return string(out.StdoutHead) + string(out.StderrHead)
}

// link makes the files with two names: a small one and one that a merge links.
func (c *cutTest) link() {
	c.t.Helper()
	c.links = true
	c.shell("mkdir -p /opt/deep; for f in small large; do echo $f >/root/$f; ln /root/$f /opt/deep/$f; done; dd if=/dev/zero bs=1M count=2 >>/root/large 2>/dev/null; echo >>/root/large")
}

// stillLinked writes to each by one name and reads it by the other.
func (c *cutTest) stillLinked(client *fsbridge.Client) {
	c.t.Helper()
	if !c.links {
		return
	}
	out := c.shellOf(client, "for f in small large; do a=/root/$f b=/opt/deep/$f; for i in 1 2; do echo $$.$i >>$a; chmod 60$i $b; [ \"$(tail -n1 $b)\" = $$.$i ] && [ $(stat -c %a.%h $a) = 60$i.2 ] && [ $a -ef $b ] || { ls -li $a $b; }; x=$a a=$b b=$x; done; done; echo done")
	if out != "done\n" {
		c.t.Errorf("links are none any more: %s", out)
	}
}

func (c *cutTest) take(name string) {
	c.t.Helper()
	client := c.agent()
	_, err := c.TakeSnapshot(context.Background(), sandbox.SnapshotRequest{Ref: cutRef, Name: sandbox.SnapshotName(name), Hold: func(ctx context.Context) (func(), bool) {
		release, err := client.Hold(ctx)
		return release, err == nil
	}})
	c.must(err)
}

func (c *cutTest) fork(from string) {
	c.t.Helper()
	c.must(c.Create(context.Background(), sandbox.Spec{Ref: cutFork, FromSnapshot: sandbox.SnapshotName(from)}))
	client := c.agentOf(cutFork)
	c.holds(client, "old")
	client.Close()
}

func (c *cutTest) stopIt() {
	c.t.Helper()
	c.must(c.Stop(context.Background(), cutRef, 0))
	c.client = nil
}

// prepareRestore: the snapshot "first" holds "old", the container "now".
func (c *cutTest) prepareRestore() {
	c.take("first")
	c.write("now")
	c.stopIt()
}

// holds checks that all files hold one text.
func (c *cutTest) holds(client *fsbridge.Client, want string) {
	c.t.Helper()
	for _, p := range cutFiles {
		_, _, body, err := client.Read(context.Background(), fsbridge.ReadRequest{Path: fsbridge.Path(p)})
		if err != nil || string(body) != want {
			c.t.Errorf("%s has %q, expected %q: %v", p, body, want, err)
		}
	}
	c.stillLinked(client)
}

// forkHolds checks a snapshot by a fork of it.
func (c *cutTest) forkHolds(name, want string) {
	c.t.Helper()
	ref := sandbox.Ref{Bot: cutRef.Bot, ID: "check"}
	c.must(c.Create(context.Background(), sandbox.Spec{Ref: ref, FromSnapshot: sandbox.SnapshotName(name)}))
	client := c.agentOf(ref)
	c.holds(client, want)
	client.Close()
	c.must(c.Delete(context.Background(), ref, false))
}

func (c *cutTest) listed(name string) bool {
	_, err := c.snaps.Get(cutRef.Bot, sandbox.SnapshotName(name))
	return err == nil
}

func checkTaken(c *cutTest) bool {
	c.holds(c.agent(), "old")
	done := c.listed("new")
	c.write("more")
	if done {
		c.forkHolds("new", "old")
	}
	c.take("another")
	c.forkHolds("another", "more")
	return done
}

func checkRestored(c *cutTest) bool {
	done := c.listed("new")
	if done {
		c.holds(c.agent(), "old")
		c.forkHolds("new", "now")
	} else {
		c.holds(c.agent(), "now")
	}
	c.forkHolds("first", "old")
	return done
}

func importTar(dir string) string { return filepath.Join(dir, "import.tar") }

// prepareImport: the tar holds "old", and what the image was made of is gone, so
// that it comes with the tar alone.
func (c *cutTest) prepareImport() {
	c.take("first")
	var b bytes.Buffer
	ctx := context.Background()
	c.must(c.ExportSnapshot(ctx, cutRef.Bot, "first", &b))
	c.must(os.WriteFile(importTar(c.dir), b.Bytes(), 0o600))
	exporter{c.fixture}.forgetImages()
}

// checkImportDone: of an import that was cut, containerd has nothing either.
func checkImportDone(c *cutTest) bool {
	done := c.listed("new")
	if done {
		c.forkHolds("new", "old")
	} else {
		for _, h := range (exporter{c.fixture}).held() {
			if strings.HasPrefix(h, "blob") || strings.HasPrefix(h, "half") || strings.HasPrefix(h, "lease") {
				c.t.Errorf("of the import there is %s", h)
			}
		}
	}
	c.holds(c.agent(), "old")
	return done
}

func checkForked(c *cutTest) bool {
	_, err := c.Status(context.Background(), cutFork)
	if errors.Is(err, sandbox.ErrNotFound) {
		c.fork("first")
		return false
	}
	c.must(err)
	client := c.agentOf(cutFork)
	c.holds(client, "old")
	client.Close()
	return true
}

func checkUnlisted(c *cutTest) bool {
	c.holds(c.agent(), "old")
	if c.listed("first") {
		c.forkHolds("first", "old")
		return false
	}
	return true
}

func checkForkDeleted(c *cutTest) bool {
	c.holds(c.agent(), "old")
	c.forkHolds("first", "old")
	_, err := c.Status(context.Background(), cutFork)
	if err == nil {
		client := c.agentOf(cutFork)
		c.holds(client, "old")
		client.Close()
	}
	return errors.Is(err, sandbox.ErrNotFound)
}

// cutAt closes the server and has the change carried out by another one, which is
// killed before step n; if n is below 0 it is not, and all steps are returned.
func (c *cutTest) cutAt(name string, n int) (steps []string) {
	c.t.Helper()
	if c.client != nil {
		c.client.Close()
		c.client = nil
	}
	c.close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+c.dir, "MOORAGE_TEST_BINARIES="+agentPath+":"+shimPath,
		"MOORAGE_TEST_CUT="+name, "MOORAGE_TEST_STEP="+strconv.Itoa(n))
	cmd.Stderr = c.t.Output()
	out, err := cmd.StdoutPipe()
	c.must(err)
	c.must(cmd.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		steps = append(steps, lines.Text())
	}
	err = cmd.Wait()
	if n < 0 {
		c.must(err)
	} else if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() || ws.Signal() != syscall.SIGKILL {
		c.t.Errorf("the server was not killed: %v", err)
	}
	return steps
}

// cutChild is the other server.
func cutChild(r *Runtime) error {
	at, err := strconv.Atoi(os.Getenv("MOORAGE_TEST_STEP"))
	if err != nil {
		return err
	}
	i := slices.IndexFunc(cuts, func(c cut) bool { return c.name == os.Getenv("MOORAGE_TEST_CUT") })
	n := 0
	r.maxOwn = cutLayers
	r.opts.Step = func(what string) {
		if n == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		n++
		fmt.Println(what)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return cuts[i].change(ctx, r)
}

// clean checks that nothing is there that belongs to no container and no snapshot,
// and that all goes with them.
func (c *cutTest) clean() {
	c.t.Helper()
	if c.client != nil {
		c.client.Close()
	}
	c.expectNothingLoose()
	ctx := context.Background()
	all, err := c.List(ctx, "")
	c.must(err)
	for _, st := range all {
		c.must(c.Delete(ctx, st.Spec.Ref, true))
	}
	for _, e := range c.snaps.All("") {
		c.must(c.DeleteSnapshot(ctx, e.Bot, e.Name))
	}
	sandboxtest.Eventually(c.t, waitFor, func() bool { return len(c.layers()) == 0 }, func() string { return fmt.Sprint("layers are left: ", c.layers()) })
	c.expectNothingLoose()
}

// layers are all snapshots of this instance in containerd.
func (c *cutTest) layers() (names []string) {
	err := c.client2().Walk(c.namespaced(context.Background()), func(_ context.Context, i snapshots.Info) error {
		if i.Labels[labelInstance] == c.instance {
			names = append(names, fmt.Sprintf("%s (%v)", i.Name, i.Kind))
		}
		return nil
	})
	c.must(err)
	return names
}

func (c *cutTest) client2() snapshots.Snapshotter {
	return c.Runtime.client.SnapshotService("overlayfs")
}

// expectNothingLoose looks at every layer and every tree.
func (c *cutTest) expectNothingLoose() {
	c.t.Helper()
	loose := func() (left []string) {
		parents, infos := map[string]bool{}, []snapshots.Info{}
		ctx := c.namespaced(context.Background())
		err := c.client2().Walk(ctx, func(_ context.Context, i snapshots.Info) error {
			parents[i.Parent] = true
			infos = append(infos, i)
			return nil
		})
		c.must(err)
		all, err := c.loadAll(ctx, "")
		c.must(err)
		used := map[string]bool{}
		for _, r := range all {
			used[r.Labels[labelSnapshot]] = true
			if r.Labels[labelJournal] != "" {
				left = append(left, "journal of "+r.ID)
			}
		}
		for _, i := range infos {
			if i.Labels[labelInstance] == c.instance && !used[i.Name] && !parents[i.Name] && (i.Labels[labelActive] != "" || snapstore.IsLoose(i)) {
				left = append(left, "layer "+i.Name)
			}
		}
		trees := map[string]int{"tmp": 0, "snapshots": len(c.snaps.All("")), "own": 0}
		for _, r := range all {
			if rec, err := decode(r); err == nil && rec.Spec.OwnData {
				trees["own"]++
			}
		}
		for dir, n := range trees {
			if entries, _ := os.ReadDir(filepath.Join(c.opts.Root, "data", c.instance, dir)); len(entries) != n {
				left = append(left, fmt.Sprintf("%d trees in %s, expected %d", len(entries), dir, n))
			}
		}
		return left
	}
	sandboxtest.Eventually(c.t, waitFor, func() bool { return len(loose()) == 0 }, func() string { return fmt.Sprint("left: ", loose()) })
}
