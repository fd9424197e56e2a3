package containerd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"moorage/fsbridge"
	"moorage/sandbox"
	"moorage/sandbox/containerd/idmap"
	"moorage/sandbox/sandboxtest"
)

// noMounts fails the test if something of the Runtime is mounted, the containers'
// own bundles apart, which are containerd's.
func (f *fixture) noMounts() {
	f.t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		f.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, f.dir+"/") && !strings.Contains(line, "io.containerd.runtime.v2.task") {
			f.t.Errorf("mounted: %s", line)
		}
	}
}

func TestUserNamespace(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		f.write(f.dataDir("ann"), "old", 0o600)
		one, two, bob := sandbox.Ref{Bot: "ann", ID: "one"}, sandbox.Ref{Bot: "ann", ID: "two"}, sandbox.Ref{Bot: "bob", ID: "one"}
		var ids [3]idmap.Range
		for i, r := range []sandbox.Ref{one, two, bob} {
			f.create(r)
			ids[i] = f.enter(r).ids()
			if st, err := f.Status(t.Context(), r); err != nil || !st.Userns {
				t.Errorf("%s: status says %v, %v", r, st.Userns, err)
			}
		}
		if ids[0] != ids[1] || ids[0] == ids[2] || !idmap.DefaultSpan.Has(ids[0]) || !idmap.DefaultSpan.Has(ids[2]) {
			t.Errorf("ann's containers have %s and %s, bob's %s", ids[0], ids[1], ids[2])
		}
		f.noMounts()
	})
}

// write makes a file of the host's root.
func (f *fixture) write(dir, name string, mode fs.FileMode) {
	f.t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(name+"\n"), mode); err != nil {
		f.t.Fatal(err)
	}
}

// TestRootOnDisk: whoever a bot is in its container, it is on disk.
func TestRootOnDisk(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		f.write(f.dataDir(ref.Bot), "old", 0o600)
		f.write(filepath.Join(f.dataDir(ref.Bot), "closed"), "older", 0o600)
		if err := os.Chmod(filepath.Join(f.dataDir(ref.Bot), "closed"), 0o700); err != nil {
			t.Fatal(err)
		}
		f.create(ref)
		in := f.enter(ref)
		if got := in.shell("cat /data/old /app/closed/older; echo new >> /data/old; rm -r /data/closed; stat -c %u:%g /data/old /data /"); got != "old\nolder\n0:0\n0:0\n0:0" {
			t.Errorf("files of before: %q", got)
		}
		in.shell("echo x | tee /new > /data/new; mkdir -p /data/dir /dir; chown 1000:1001 /new /data/new")
		in.shell("touch /nobody /suid /data/suid && chown 65535 /nobody && chmod 4755 /suid /data/suid")
		for path, want := range map[string]uint32{
			f.upper(ref) + "/new": 1000, f.dataDir(ref.Bot) + "/new": 1000, f.upper(ref) + "/dir": 0, f.dataDir(ref.Bot) + "/dir": 0,
			f.upper(ref) + "/nobody": 65535, f.upper(ref) + "/suid": 0,
		} {
			if got := ownerOf(t, path); got != want {
				t.Errorf("%s belongs to %d, expected %d", path, got, want)
			}
		}
		if got := in.shell("stat -c %a:%u /suid /data/suid"); got != "4755:0\n4755:0" {
			t.Errorf("setuid files are %q", got)
		}
		err := filepath.WalkDir(f.spoolDir(keyOf(f.instance, ref)), func(path string, _ fs.DirEntry, err error) error {
			if err == nil && ownerOf(t, path) != 0 {
				t.Errorf("%s belongs to %d", path, ownerOf(t, path))
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		f.closedToOthers(f.upper(ref), f.dataDir(ref.Bot), f.spoolDir(keyOf(f.instance, ref)))
	})
}

// closedToOthers: files that are setuid root on disk are out of reach of other
// users of the host.
func (f *fixture) closedToOthers(dirs ...string) {
	f.t.Helper()
	for _, dir := range dirs {
		closed := false
		for at := dir; strings.HasPrefix(at, f.dir+"/"); at = filepath.Dir(at) {
			fi, err := os.Stat(at)
			if err != nil {
				f.t.Fatal(err)
			}
			closed = closed || fi.Mode().Perm()&0o077 == 0
		}
		if !closed {
			f.t.Errorf("other users of the host can reach %s", dir)
		}
	}
}

// TestNobodyOnTheHost: processes of a container are an unprivileged user's.
func TestNobodyOnTheHost(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		f.create(ref)
		in := f.enter(ref)
		ids := in.ids()
		res, _, err := in.c.Exec(t.Context(), fsbridge.ExecRequest{Command: "exec sleep 1000"}, nil)
		if err != nil || res.State != fsbridge.Running {
			t.Fatalf("%+v, %v", res, err)
		}
		agent := f.pid(ref)
		children, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", agent))
		if err != nil {
			t.Fatal(err)
		}
		pids := []string{fmt.Sprint(agent)}
		for _, c := range children {
			b, _ := os.ReadFile(c)
			pids = append(pids, strings.Fields(string(b))...)
		}
		if len(pids) != 2 {
			t.Fatalf("processes %v, expected the agent and sleep", pids)
		}
		for _, pid := range pids {
			b, err := os.ReadFile("/proc/" + pid + "/status")
			if err != nil {
				t.Fatal(err)
			}
			for _, field := range []string{"Uid", "Gid"} {
				want := fmt.Sprintf("\n%s:\t%[2]d\t%[2]d\t%[2]d\t%[2]d\n", field, ids.Base)
				if !strings.Contains(string(b), want) {
					t.Errorf("process %s: no %q in\n%s", pid, want, b)
				}
			}
		}
	})
}

// TestRootInside: what root may and may not in its namespace.
func TestRootInside(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		f.create(ref)
		in := f.enter(ref)
		in.shell("echo u:x:1000:1000::/tmp:/bin/sh >> /etc/passwd")
		for line, want := range map[string]string{
			"id -u":                    "0",
			"cat /proc/self/setgroups": "allow",
			"stat -c %u:%g:%a /dev/null /dev/pts /dev/ptmx":                          "65534:65534:666\n0:0:755\n0:0:777",
			"echo x > /dev/null && head -c 1 /dev/zero | wc -c":                      "1",
			"su u -c 'id -u; touch /tmp/f && stat -c %u /tmp/f'":                     "1000\n1000",
			"touch /f; chown 1000 /f; su u -c 'rm /f; test -w /f && echo mine' 2>&1": "rm: can't remove '/f': Permission denied\nmine",
			"cat /proc/self/oom_score_adj | grep -vc '^0$'":                          "1",
			"stat -c %u:%a /.moorage/agent":                                          "65534:755",
		} {
			if got := in.shell(line); got != want {
				t.Errorf("%s: %q, expected %q", line, got, want)
			}
		}
		for _, line := range []string{
			"touch /g && chown 65536 /g", "mkdir -p /m && mount -t tmpfs x /m", "mount -o remount,rw /sys", "mknod /null c 1 3",
			"hostname other", "unshare -m true", "unshare -r true", "echo 1 > /proc/sys/kernel/hostname", "echo 1 > /proc/sysrq-trigger",
			"chroot /proc/1/root mount -t proc p /mnt", "umount /proc", "umount /data", "echo -500 > /proc/self/oom_score_adj",
		} {
			if out, code := in.try("(" + line + ") 2>&1"); code == 0 {
				t.Errorf("%s: allowed: %q", line, out)
			}
		}
	})
}

// TestRestarts: after the container's and the server's restart the files are
// there, in the same range, and nothing is mounted twice.
func TestRestarts(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		f.create(ref)
		in := f.enter(ref)
		ids := in.ids()
		in.shell("echo kept | tee /kept > /data/kept; chown 7 /kept /data/kept")
		check := func(when string) {
			t.Helper()
			in := f.enter(ref)
			if got := in.shell("cat /kept /data/kept; stat -c %u /kept /data/kept"); got != "kept\nkept\n7\n7" || in.ids() != ids {
				t.Errorf("%s: %q in %s, it was %s", when, got, in.ids(), ids)
			}
			f.noMounts()
		}
		f.again(ref)
		check("started again")
		f.restart()
		check("with another server")
		f.again(ref)
		check("started again by it")
	})
}

// again stops a container and starts it.
func (f *fixture) again(ref sandbox.Ref) {
	f.t.Helper()
	if err := errors.Join(f.Stop(f.t.Context(), ref, 0), f.Start(f.t.Context(), ref)); err != nil {
		f.t.Fatal(err)
	}
}

// TestSwitched: containers and data are the same with user namespaces and
// without, in whatever order.
func TestSwitched(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		f.opts.Userns = UsernsOff
		f.restart()
		f.create(ref)
		in := f.enter(ref)
		if st, err := f.Status(t.Context(), ref); err != nil || st.Userns || !in.ids().IsZero() {
			t.Errorf("off: status says %v, %v; it has %s", st.Userns, err, in.ids())
		}
		in.shell("echo 0 | tee /log > /data/log; touch /u /data/u; chown 1000 /u /data/u; chmod 4755 /u; mkdir -m 700 /data/closed; touch /data/closed/x")
		for n, mode := range []string{UsernsRequire, UsernsOff, UsernsAuto, UsernsOff} {
			f.opts.Userns = mode
			f.restart()
			was := f.enter(ref).ids()
			f.again(ref)
			in := f.enter(ref)
			if is := in.ids(); is.IsZero() != (mode == UsernsOff) || is.IsZero() == was.IsZero() {
				t.Errorf("%s: it had %s and has %s", mode, was, is)
			}
			in.shell(fmt.Sprintf("echo %d | tee -a /log >> /data/log", n+1))
			got := in.shell("cat /log /data/log /data/closed/x; stat -c %u:%a /u /data/u /log; touch /data/closed/x; su -s /bin/sh nobody -c 'cat /data/closed/x' 2>/dev/null || echo refused")
			want := strings.Repeat(strings.Join([]string{"0", "1", "2", "3", "4"}[:n+2], "\n")+"\n", 2) + "1000:4755\n1000:644\n0:644\nrefused"
			if got != want {
				t.Errorf("%s: %q, expected %q", mode, got, want)
			}
		}
		f.noMounts()
	})
}

// TestCannot: where the kernel cannot, or the way to the containers is closed.
func TestCannot(t *testing.T) {
	f := newFixture(t, engines[0])
	f.close()
	if err := os.Chmod(f.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f.open()
	f.create(ref)
	if st, err := f.Status(t.Context(), ref); err != nil || st.Userns || !f.enter(ref).ids().IsZero() {
		t.Errorf("behind a closed directory: status says %v, %v", st.Userns, err)
	}
	required := f.opts
	required.Userns = UsernsRequire
	r, err := New(f.containerd, required)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.openIDs(f.namespaced(t.Context()), nil); err == nil || !strings.Contains(err.Error(), f.dir+" has mode 0700") {
		t.Errorf("required: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := CanMap("", "/proc"); err == nil {
		t.Error("/proc is said to do")
	}
	for _, o := range []Options{{Userns: "on"}, {UsernsRange: "1:2"}} {
		o.Root, o.Run, o.AgentPath = f.opts.Root, f.opts.Run, agentPath
		if _, err := New(f.containerd, o); err == nil || !strings.Contains(err.Error(), "--userns") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// TestRangesRunOut: as many bots as there are ranges.
func TestRangesRunOut(t *testing.T) {
	f := newFixture(t, engines[0])
	f.opts.UsernsRange = "1000000000:65536"
	f.restart()
	f.create(ref)
	other := sandbox.Ref{Bot: "other", ID: "one"}
	spec := sandbox.Spec{Ref: other, Image: sandbox.BaseImage}
	if err := f.Create(t.Context(), spec); !errors.Is(err, sandbox.ErrLimit) {
		t.Errorf("create for a bot too many: %v", err)
	} else {
		t.Log(err)
	}
	if now := f.activeSnapshots(); len(now) != 1 {
		t.Errorf("snapshots %v", now)
	}
	f.create(sandbox.Ref{Bot: ref.Bot, ID: "another"})
	for _, id := range []sandbox.ContainerID{ref.ID, "another"} {
		if err := f.Delete(t.Context(), sandbox.Ref{Bot: ref.Bot, ID: id}, true); err != nil {
			t.Fatal(err)
		}
	}
	f.create(other)
	if ids := f.enter(other).ids(); ids.Base != 1_000_000_000 {
		t.Errorf("it has %s", ids)
	}
	// Another range, in which it is not: it keeps what it runs with.
	f.opts.UsernsRange = "2000000000:131072"
	f.restart()
	f.create(ref)
	if a, b := f.enter(other).ids(), f.enter(ref).ids(); a.Base != 1_000_000_000 || b.Base < 2_000_000_000 {
		t.Errorf("it has %s, a newer one %s", a, b)
	}
	if err := f.Stop(t.Context(), other, 0); err != nil {
		t.Fatal(err)
	}
	f.restart()
	if err := f.Start(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if ids := f.enter(other).ids(); ids.Base < 2_000_000_000 {
		t.Errorf("started again it has %s", ids)
	}
}

// TestKilledWhileStaged: a server that dies between staging and unstaging leaves
// mounts, and the next one takes them away.
func TestKilledWhileStaged(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		f.create(ref)
		f.enter(ref).shell("touch /kept /data/kept")
		ctx := f.namespaced(t.Context())
		c, err := f.load(ctx, ref)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := decode(c)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // over one another
			if _, err := f.stage(ctx, c.ID, rec); err != nil {
				t.Fatal(err)
			}
		}
		m, err := f.mapOf(rec)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []string{f.mountDir(c.ID) + ".ids", f.mountDir("m-other")} {
			if err := os.Mkdir(at, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := m.Mount(filepath.Dir(filepath.Dir(f.upper(ref))), at); err != nil {
				t.Fatal(err)
			}
		}
		f.restart()
		f.noMounts()
		for _, dir := range []string{"m", "d"} {
			if left, err := os.ReadDir(filepath.Join(f.opts.Run, dir)); err != nil || len(left) > 0 {
				t.Errorf("left in %s: %v, %v", dir, left, err)
			}
		}
		f.again(ref)
		f.enter(ref).shell("test -e /kept && test -e /data/kept")
	})
}

// TestNotStarted: a start that fails leaves no mount.
func TestNotStarted(t *testing.T) {
	f := newFixture(t, engines[0])
	f.create(ref)
	if err := f.Stop(t.Context(), ref, 0); err != nil {
		t.Fatal(err)
	}
	good := f.Runtime.opts.OCIRuntime
	f.Runtime.opts.OCIRuntime = "/bin/false"
	if err := f.Start(t.Context(), ref); err == nil {
		t.Error("started by /bin/false")
	}
	f.noMounts()
	f.Runtime.opts.OCIRuntime = good
	if err := f.Start(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if err := f.Delete(t.Context(), ref, true); err != nil {
		t.Fatal(err)
	}
	sandboxtest.CheckClean(t, filepath.Join(f.dir, "run", "m"), "")
	f.noMounts()
}
