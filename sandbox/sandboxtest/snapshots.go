package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"moorage/fsbridge"
	"moorage/sandbox"
)

// RunSnapshots runs the part of the suite that a runtime passes which keeps
// snapshots. open is called once for each test.
func RunSnapshots(t *testing.T, open func(t *testing.T) Subject) {
	for name, test := range map[string]func(*snapshotSuite){
		"Stopped":     testSnapshotStopped,
		"Quiet":       testSnapshotQuiet,
		"Busy":        testSnapshotBusy,
		"Links":       testSnapshotLinks,
		"LinksLate":   testSnapshotLinksLate,
		"Names":       testSnapshotNames,
		"Restore":     testRestore,
		"RestoreRun":  testRestoreRunning,
		"Fork":        testFork,
		"Shared":      testSnapshotShared,
		"Delete":      testSnapshotDelete,
		"Chain":       testSnapshotChain,
		"Diff":        testDiff,
		"Reopened":    testSnapshotReopened,
		"OtherBots":   testSnapshotBots,
		"Unknown":     testSnapshotUnknown,
		"ForkDeleted": testForkDeleted,
		"Sizes":       testSnapshotSizes,
	} {
		t.Run(name, func(t *testing.T) {
			s := &snapshotSuite{suite: suite{T: t, Subject: open(t)}}
			var ok bool
			if s.snaps, ok = s.Runtime.(sandbox.Snapshots); !ok {
				t.Fatalf("%T keeps no snapshots", s.Runtime)
			}
			test(s)
		})
	}
}

type snapshotSuite struct {
	suite
	snaps sandbox.Snapshots
}

// hold keeps a client's operations back.
func hold(c *fsbridge.Client) func(context.Context) (func(), bool) {
	return func(ctx context.Context) (func(), bool) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		release, err := c.Hold(ctx)
		if err != nil {
			return func() {}, false
		}
		return release, true
	}
}

func (s *snapshotSuite) take(ref sandbox.Ref, name string, c *fsbridge.Client) sandbox.Taken {
	s.Helper()
	req := sandbox.SnapshotRequest{Ref: ref, Name: sandbox.SnapshotName(name), Origin: sandbox.OriginAsked, Note: "note of " + name}
	if c != nil {
		req.Hold = hold(c)
	}
	t, err := s.snaps.TakeSnapshot(s.ctx(), req)
	s.must(err)
	if t.Snapshot.Name != req.Name || t.Snapshot.Bot != ref.Bot || t.Snapshot.Spec.Ref != ref || t.Snapshot.Note != req.Note {
		s.Errorf("the snapshot is told as %+v", t.Snapshot)
	}
	return t
}

func (s *snapshotSuite) restore(ref sandbox.Ref, name, before string) {
	s.Helper()
	b, err := s.snaps.RestoreSnapshot(s.ctx(), sandbox.RestoreRequest{Ref: ref, Name: sandbox.SnapshotName(name), Before: sandbox.SnapshotName(before), Note: "before"})
	s.must(err)
	if b.Name != sandbox.SnapshotName(before) || b.Origin != sandbox.OriginRestore {
		s.Errorf("the state before is told as %+v", b)
	}
}

func (s *snapshotSuite) stop(ref sandbox.Ref) {
	s.Helper()
	s.must(s.Runtime.Stop(s.ctx(), ref, 0))
}

func (s *snapshotSuite) again(ref sandbox.Ref) *fsbridge.Client {
	s.Helper()
	s.must(s.Runtime.Start(s.ctx(), ref))
	return s.connect(ref)
}

// fork makes and starts a container from a snapshot.
func (s *snapshotSuite) fork(ref sandbox.Ref, from string) *fsbridge.Client {
	s.Helper()
	s.must(s.Runtime.Create(s.ctx(), sandbox.Spec{Ref: ref, FromSnapshot: sandbox.SnapshotName(from)}))
	return s.again(ref)
}

func (s *snapshotSuite) names(bot sandbox.Bot) string {
	s.Helper()
	all, err := s.snaps.ListSnapshots(s.ctx(), bot)
	s.must(err)
	var names []string
	for _, l := range all {
		names = append(names, string(l.Name))
	}
	return strings.Join(names, " ")
}

// holds checks the content of files; "-" is one that must not be there.
func (s *snapshotSuite) holds(c *fsbridge.Client, files map[string]string) {
	s.Helper()
	for path, want := range files {
		if got := s.read(c, path); got != want {
			s.Errorf("%s has %q, expected %q", path, got, want)
		}
	}
}

func forkRef(id string) sandbox.Ref { return sandbox.Ref{Bot: ann.Bot, ID: sandbox.ContainerID(id)} }

func testSnapshotStopped(s *snapshotSuite) {
	c := s.start(s.spec(ann))
	s.write(c, "/root/a", "one")
	s.write(c, "/data/d", "one")
	s.stop(ann)
	t := s.take(ann, "s1", nil)
	if t.Paused != 0 || len(t.Shared) != 0 {
		s.Errorf("a stopped container was paused for %v, with %v", t.Paused, t.Shared)
	}
	c = s.again(ann)
	s.holds(c, map[string]string{"/root/a": "one", "/data/d": "one"})
	s.write(c, "/root/a", "two")
	s.write(c, "/data/d", "two")
	f := s.fork(forkRef("f"), "s1")
	s.holds(f, map[string]string{"/root/a": "one", "/data/d": "one"})
}

// One in which only the agent runs goes on with the same PID 1 and connection, and
// nothing that is written later gets into the snapshot.
func testSnapshotQuiet(s *snapshotSuite) {
	c := s.start(s.spec(ann))
	began := s.shell(c, "cut -d' ' -f22 /proc/1/stat")
	for i := range 3 {
		n := fmt.Sprint(i)
		s.write(c, "/root/a", n)
		s.write(c, "/data/d", n)
		s.shell(c, "mkdir -p /opt/dir"+n+"; chmod 700 /opt/dir"+n)
		s.take(ann, "s"+n, c)
		s.holds(c, map[string]string{"/root/a": n, "/data/d": n})
		s.write(c, "/root/a", "later")
		s.write(c, "/data/d", "later")
	}
	if now := s.shell(c, "cut -d' ' -f22 /proc/1/stat"); now != began {
		s.Errorf("PID 1 began at %s, and now at %s", began, now)
	}
	if out := s.shell(c, "cd /data && cat d && mount | grep -c . >/dev/null && ls /proc/self/fd >/dev/null && echo x >/dev/null && echo fine"); !strings.Contains(out, "fine") {
		s.Errorf("after a snapshot: %s", out)
	}
	for i := range 3 {
		n := fmt.Sprint(i)
		f := s.fork(forkRef("f"+n), "s"+n)
		s.holds(f, map[string]string{"/root/a": n, "/data/d": n})
		if out := s.shell(f, "stat -c %a /opt/dir"+n); strings.TrimSpace(out) != "700" {
			s.Errorf("the directory of %s has mode %s", n, out)
		}
	}
	s.stop(ann)
	c = s.again(ann)
	s.holds(c, map[string]string{"/root/a": "later", "/data/d": "later"})
}

// One in which a process runs is frozen for a moment, and the process goes on.
func testSnapshotBusy(s *snapshotSuite) {
	c := s.start(s.spec(ann))
	s.shell(c, "(i=0; while :; do i=$((i+1)); echo $i >/root/n.new; mv /root/n.new /root/n; echo $i >/data/n.new; mv /data/n.new /data/n; done) >/dev/null 2>&1 & echo $! >/root/pid")
	s.write(c, "/root/a", "one")
	for i := range 5 {
		t := s.take(ann, fmt.Sprint("s", i), c)
		if t.Paused <= 0 {
			s.Error("a busy container was paused for no time")
		}
	}
	if out := s.shell(c, "kill -0 $(cat /root/pid) && echo lives"); !strings.Contains(out, "lives") {
		s.Errorf("the process has ended: %s", out)
	}
	s.write(c, "/root/a", "two")
	s.shell(c, "kill -9 $(cat /root/pid)")
	for i := range 5 {
		f := s.fork(forkRef(fmt.Sprint("f", i)), fmt.Sprint("s", i))
		s.holds(f, map[string]string{"/root/a": "one"})
		// What it writes to the data it wrote to the root filesystem before: a
		// snapshot has both as they were at one moment.
		root, data := s.read(f, "/root/n"), s.read(f, "/data/n")
		var r, d int
		fmt.Sscan(root, &r)
		fmt.Sscan(data, &d)
		if r != d && r != d+1 {
			s.Errorf("the root filesystem is of %d, the data of %d", r, d)
		}
	}
}

func testSnapshotNames(s *snapshotSuite) {
	c := s.start(s.spec(ann))
	s.take(ann, "taken", c)
	_, err := s.snaps.TakeSnapshot(s.ctx(), sandbox.SnapshotRequest{Ref: ann, Name: "taken", Hold: hold(c)})
	s.expect(err, sandbox.ErrAlreadyExists, "a name that is taken")
	s.must(s.snaps.DeleteSnapshot(s.ctx(), ann.Bot, "taken"))
	s.write(c, "/root/a", "new")
	s.take(ann, "taken", c)
	s.take(ann, "other", c)
	if got := s.names(ann.Bot); got != "taken other" {
		s.Errorf("the snapshots are %s", got)
	}
	s.holds(s.fork(forkRef("f"), "taken"), map[string]string{"/root/a": "new"})
}

func testRestore(s *snapshotSuite) {
	c := s.start(s.spec(ann))
	s.write(c, "/root/a", "one")
	s.write(c, "/data/d", "one")
	s.shell(c, "mkdir -p /data/sub && chmod 750 /data/sub && chown 1000:1000 /data/sub && ln -s d /data/link && rm /bin/vi")
	s.take(ann, "s1", c)
	s.write(c, "/root/a", "two")
	s.write(c, "/data/d", "two")
	s.write(c, "/data/new", "x")
	s.shell(c, "rm -rf /data/sub /data/link; touch /bin/vi")
	s.stop(ann)
	s.restore(ann, "s1", "before1")
	c = s.again(ann)
	s.holds(c, map[string]string{"/root/a": "one", "/data/d": "one", "/data/new": "-", "/data/link": "one", "/bin/vi": "-"})
	if out := strings.TrimSpace(s.shell(c, "stat -c '%a %u %g' /data/sub")); out != "750 1000 1000" {
		s.Errorf("the directory is %s", out)
	}
	s.write(c, "/root/a", "three")
	s.stop(ann)
	s.restore(ann, "before1", "before2") // the way back
	c = s.again(ann)
	s.holds(c, map[string]string{"/root/a": "two", "/data/d": "two", "/data/new": "x"})
	s.stop(ann)
	s.restore(ann, "before2", "before3")
	s.holds(s.again(ann), map[string]string{"/root/a": "three", "/data/d": "one"})
}

func testRestoreRunning(s *snapshotSuite) {
	c := s.start(s.spec(ann))
	s.write(c, "/root/a", "one")
	s.take(ann, "s1", c)
	s.write(c, "/root/a", "two")
	_, err := s.snaps.RestoreSnapshot(s.ctx(), sandbox.RestoreRequest{Ref: ann, Name: "s1", Before: "b"})
	s.expect(err, sandbox.ErrConflict, "restore one that runs")
	s.holds(c, map[string]string{"/root/a": "two"})
	other := s.start(s.spec(forkRef("two")))
	s.stop(ann)
	_, err = s.snaps.RestoreSnapshot(s.ctx(), sandbox.RestoreRequest{Ref: ann, Name: "s1", Before: "b"})
	s.expect(err, sandbox.ErrConflict, "restore while another one uses the data")
	other.Close()
	s.stop(forkRef("two"))
	s.restore(ann, "s1", "b")
}

// A fork has data of its own.
func testFork(s *snapshotSuite) {
	c := s.start(s.spec(ann))
	s.write(c, "/root/a", "one")
	s.write(c, "/data/d", "one")
	s.take(ann, "s1", c)
	f, g := s.fork(forkRef("f"), "s1"), s.fork(forkRef("g"), "s1")
	s.write(f, "/data/d", "of f")
	s.write(f, "/root/a", "of f")
	s.holds(g, map[string]string{"/root/a": "one", "/data/d": "one", "/app/d": "one"})
	s.holds(c, map[string]string{"/root/a": "one", "/data/d": "one"})
	s.write(c, "/data/d", "of c")
	s.holds(f, map[string]string{"/root/a": "of f", "/data/d": "of f", "/app/d": "of f"})
	st, err := s.Runtime.Status(s.ctx(), forkRef("f"))
	s.must(err)
	if !st.Spec.OwnData || st.Spec.FromSnapshot != "s1" || st.Spec.Image == "" {
		s.Errorf("the fork is told as %+v", st.Spec)
	}
	// A fork of a fork.
	s.take(forkRef("f"), "s2", f)
	s.write(f, "/data/d", "later")
	h := s.fork(forkRef("h"), "s2")
	s.holds(h, map[string]string{"/root/a": "of f", "/data/d": "of f"})
	// Its restore is its own affair too.
	s.stop(forkRef("f"))
	s.restore(forkRef("f"), "s1", "b")
	s.holds(s.again(forkRef("f")), map[string]string{"/root/a": "one", "/data/d": "one"})
	s.holds(c, map[string]string{"/data/d": "of c"})
}

func testForkDeleted(s *snapshotSuite) {
	c := s.start(s.spec(ann))
	s.write(c, "/data/d", "one")
	s.take(ann, "s1", c)
	for range 2 {
		f := s.fork(forkRef("f"), "s1")
		s.holds(f, map[string]string{"/data/d": "one"})
		s.write(f, "/data/d", "two")
		s.must(s.Runtime.Delete(s.ctx(), forkRef("f"), true))
	}
	s.holds(c, map[string]string{"/data/d": "one"})
}

// Containers that share the data are all frozen while it is copied.
func testSnapshotShared(s *snapshotSuite) {
	two := forkRef("two")
	c, d := s.start(s.spec(ann)), s.start(s.spec(two))
	s.shell(d, "(i=0; while :; do i=$((i+1)); echo $i >/data/x.new; mv /data/x.new /data/x; echo $i >/data/y.new; mv /data/y.new /data/y; done) >/dev/null 2>&1 &")
	for i := range 3 {
		t := s.take(ann, fmt.Sprint("s", i), c)
		if len(t.Shared) != 1 || t.Shared[0] != two.ID {
			s.Errorf("frozen with it were %v", t.Shared)
		}
		f := s.fork(forkRef(fmt.Sprint("f", i)), fmt.Sprint("s", i))
		var x, y int
		fmt.Sscan(s.read(f, "/data/x"), &x)
		fmt.Sscan(s.read(f, "/data/y"), &y)
		if x != y && x != y+1 {
			s.Errorf("x is of %d, y of %d", x, y)
		}
	}
}

func testSnapshotDelete(s *snapshotSuite) {
	c := s.start(s.spec(ann))
	for _, n := range []string{"1", "2", "3"} {
		s.write(c, "/root/"+n, n)
		s.take(ann, "s"+n, c)
	}
	s.fork(forkRef("f"), "s2")
	err := s.snaps.DeleteSnapshot(s.ctx(), ann.Bot, "s2")
	s.expect(err, sandbox.ErrConflict, "delete what a fork stands on")
	if err == nil || !strings.Contains(err.Error(), "container f") {
		s.Errorf("the container is not named: %v", err)
	}
	s.must(s.Runtime.Delete(s.ctx(), forkRef("f"), false))
	for _, n := range []string{"2", "1", "3"} {
		s.must(s.snaps.DeleteSnapshot(s.ctx(), ann.Bot, sandbox.SnapshotName("s"+n)))
	}
	if got := s.names(ann.Bot); got != "" {
		s.Errorf("left are %s", got)
	}
	s.holds(c, map[string]string{"/root/1": "1", "/root/2": "2", "/root/3": "3"})
	s.stop(ann)
	s.holds(s.again(ann), map[string]string{"/root/1": "1", "/root/2": "2", "/root/3": "3"})
}

// Longer than a chain of layers may get.
func testSnapshotChain(s *snapshotSuite) {
	const n = 40
	c := s.start(s.spec(ann))
	for i := range n {
		s.write(c, fmt.Sprint("/root/f", i), fmt.Sprint(i))
		s.write(c, "/root/last", fmt.Sprint(i))
		s.shell(c, fmt.Sprintf("rm -rf /root/dir; mkdir /root/dir; echo %d >/root/dir/%d; rm -f /root/f%d", i, i, i-2))
		s.take(ann, fmt.Sprint("s", i), c)
	}
	check := func(c *fsbridge.Client, i int) {
		s.Helper()
		want := map[string]string{"/root/last": fmt.Sprint(i), fmt.Sprint("/root/f", i): fmt.Sprint(i), fmt.Sprint("/root/f", i-2): "-"}
		s.holds(c, want)
		if out := strings.TrimSpace(s.shell(c, "ls /root/dir")); out != fmt.Sprint(i) {
			s.Errorf("after %d snapshots the directory has %q", i, out)
		}
	}
	check(c, n-1)
	for _, i := range []int{3, 16, 17, 33, n - 1} {
		ref := forkRef(fmt.Sprint("f", i))
		check(s.fork(ref, fmt.Sprint("s", i)), i)
		s.must(s.Runtime.Delete(s.ctx(), ref, false))
	}
}

func testDiff(s *snapshotSuite) {
	c := s.start(s.spec(ann))
	s.write(c, "/root/gone", "x")
	s.write(c, "/root/same", "same")
	s.write(c, "/data/text", "one\ntwo\n")
	s.take(ann, "s1", c)
	s.write(c, "/root/new", "12345")
	s.write(c, "/data/text", "one\n2\n")
	s.write(c, "/root/same", "same")
	s.shell(c, "rm /root/gone; mkdir /data/dir; chmod 600 /etc/passwd")
	lines := func(req sandbox.DiffRequest) string {
		s.Helper()
		d, err := s.snaps.DiffSnapshot(s.ctx(), req)
		s.must(err)
		var b strings.Builder
		for _, ch := range d.Changes {
			fmt.Fprintf(&b, "%c %s %d\n", ch.Kind, ch.Path, ch.Size)
		}
		if d.Total != d.Added+d.Modified+d.Deleted {
			s.Errorf("the counts are %+v", d)
		}
		return b.String()
	}
	const want = "A /data/dir 0\nM /data/text 6\nM /etc/passwd 145\nD /root/gone 1\nA /root/new 5\n"
	full := sandbox.DiffRequest{Bot: ann.Bot, From: "s1", Limit: 100}
	strip := func(text string) string { return strings.Replace(text, sizeOf(text, "/etc/passwd"), "145", 1) }
	if got := strip(lines(full)); got != want {
		s.Errorf("to the present:\n%s", got)
	}
	s.take(ann, "s2", c)
	full.To = "s2"
	if got := strip(lines(full)); got != want {
		s.Errorf("to another snapshot:\n%s", got)
	}
	full.From, full.To = "s2", "s1"
	if got := lines(full); !strings.Contains(got, "D /root/new 5\n") || !strings.Contains(got, "A /root/gone 1\n") {
		s.Errorf("the other way round:\n%s", got)
	}
	if got := lines(sandbox.DiffRequest{Bot: ann.Bot, From: "s1", Path: "/root", Limit: 1, Offset: 1}); got != "A /root/new 5\n" {
		s.Errorf("a page of a part:\n%s", got)
	}
	d, err := s.snaps.DiffSnapshot(s.ctx(), sandbox.DiffRequest{Bot: ann.Bot, From: "s1", Path: "/data/text", Patch: true, Limit: 10, MaxPatch: 4096})
	s.must(err)
	if len(d.Changes) != 1 || !strings.Contains(d.Changes[0].Patch, "-two\n+2\n") {
		s.Errorf("the patch is %+v", d)
	}
}

func sizeOf(lines, path string) string {
	for line := range strings.Lines(lines) {
		if f := strings.Fields(line); f[1] == path {
			return f[2]
		}
	}
	return ""
}

func testSnapshotReopened(s *snapshotSuite) {
	c := s.start(s.spec(ann))
	s.write(c, "/root/a", "one")
	s.take(ann, "s1", c)
	s.write(c, "/root/a", "two")
	before, err := s.snaps.ListSnapshots(s.ctx(), "")
	s.must(err)
	c.Close()
	s.Runtime = s.Restart()
	s.snaps = s.Runtime.(sandbox.Snapshots)
	after, err := s.snaps.ListSnapshots(s.ctx(), "")
	s.must(err)
	if len(before) != 1 || len(after) != 1 || before[0].Name != after[0].Name || before[0].Note != after[0].Note || before[0].Size != after[0].Size || !before[0].CreatedAt.Equal(after[0].CreatedAt) {
		s.Errorf("before the restart:\n%+v\nafter it:\n%+v", before, after)
	}
	c = s.connect(ann)
	s.holds(c, map[string]string{"/root/a": "two"})
	s.take(ann, "s2", c)
	s.holds(s.fork(forkRef("f"), "s1"), map[string]string{"/root/a": "one"})
	s.holds(s.fork(forkRef("g"), "s2"), map[string]string{"/root/a": "two"})
}

func testSnapshotBots(s *snapshotSuite) {
	c, d := s.start(s.spec(ann)), s.start(s.spec(bob))
	s.write(c, "/data/d", "ann's")
	s.write(d, "/data/d", "bob's")
	s.take(ann, "same", c)
	s.take(bob, "same", d)
	if s.names(ann.Bot) != "same" || s.names(bob.Bot) != "same" || s.names("") != "same same" {
		s.Errorf("ann has %s, bob %s, all %s", s.names(ann.Bot), s.names(bob.Bot), s.names(""))
	}
	s.must(s.snaps.DeleteSnapshot(s.ctx(), ann.Bot, "same"))
	s.holds(s.fork(sandbox.Ref{Bot: bob.Bot, ID: "f"}, "same"), map[string]string{"/data/d": "bob's"})
}

func testSnapshotUnknown(s *snapshotSuite) {
	s.start(s.spec(ann))
	none := sandbox.Ref{Bot: ann.Bot, ID: "none"}
	_, err := s.snaps.TakeSnapshot(s.ctx(), sandbox.SnapshotRequest{Ref: none, Name: "x"})
	s.expect(err, sandbox.ErrNotFound, "snapshot of no container")
	_, err = s.snaps.RestoreSnapshot(s.ctx(), sandbox.RestoreRequest{Ref: none, Name: "x", Before: "y"})
	s.expect(err, sandbox.ErrNotFound, "restore of no container")
	s.stop(ann)
	_, err = s.snaps.RestoreSnapshot(s.ctx(), sandbox.RestoreRequest{Ref: ann, Name: "x", Before: "y"})
	s.expect(err, sandbox.ErrNotFound, "restore to no snapshot")
	s.expect(s.snaps.DeleteSnapshot(s.ctx(), ann.Bot, "x"), sandbox.ErrNotFound, "delete no snapshot")
	_, err = s.snaps.DiffSnapshot(s.ctx(), sandbox.DiffRequest{Bot: ann.Bot, From: "x"})
	s.expect(err, sandbox.ErrNotFound, "diff of no snapshot")
	err = s.Runtime.Create(s.ctx(), sandbox.Spec{Ref: forkRef("f"), FromSnapshot: "x"})
	s.expect(err, sandbox.ErrNotFound, "fork of no snapshot")
	if _, err := s.Runtime.Status(s.ctx(), forkRef("f")); !errors.Is(err, sandbox.ErrNotFound) {
		s.Errorf("a fork that failed is there: %v", err)
	}
}

// What two snapshots have in common counts once: for the older one, and for the
// younger when that is deleted.
func testSnapshotSizes(s *snapshotSuite) {
	c := s.start(s.spec(ann))
	s.shell(c, "dd if=/dev/urandom of=/data/big bs=1M count=8 2>/dev/null; sleep 0.1")
	size := func(name string) int64 {
		s.Helper()
		all, err := s.snaps.ListSnapshots(s.ctx(), ann.Bot)
		s.must(err)
		for _, l := range all {
			if string(l.Name) == name {
				return l.Size
			}
		}
		s.Fatalf("%s is not listed", name)
		return 0
	}
	s.take(ann, "s1", c)
	s.take(ann, "s2", c)
	s.take(ann, "s3", c)
	if a, b := size("s1"), size("s2"); a < 8<<20 || b > 1<<20 {
		s.Errorf("the first has %d bytes, the second %d", a, b)
	}
	s.must(s.snaps.DeleteSnapshot(s.ctx(), ann.Bot, "s1"))
	if b, c := size("s2"), size("s3"); b < 8<<20 || c > 1<<20 {
		s.Errorf("without the first the second has %d bytes, the third %d", b, c)
	}
}
