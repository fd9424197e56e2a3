package sandboxtest

import (
	"context"
	"fmt"
	"strings"

	"moorage/fsbridge"
	"moorage/sandbox"
)

// linked are files of the root filesystem and all their names. The second is as
// large as those that layers have in common.
var linked = [][]string{
	{"/root/two", "/opt/l/deep/two"},
	{"/root/big", "/usr/local/big"},
	{"/opt/l/three", "/opt/l/deep/three", "/three"},
}

func (s *snapshotSuite) link(c *fsbridge.Client) {
	s.Helper()
	s.shell(c, "mkdir -p /opt/l/deep /usr/local; dd if=/dev/zero of=/root/big bs=1M count=2 2>/dev/null; echo >>/root/big")
	for _, names := range linked {
		for _, n := range names[1:] {
			s.shell(c, fmt.Sprintf("touch %s; ln %[1]s %s", names[0], n))
		}
	}
}

// writeLinks writes text, and a mode, in place by each name in turn: all names show
// it. What is not so is written out by the shell.
func (s *snapshotSuite) writeLinks(c *fsbridge.Client, text string) {
	s.Helper()
	var script strings.Builder
	for _, names := range linked {
		for i, by := range names {
			mode := []string{"600", "640", "644"}[i]
			fmt.Fprintf(&script, "echo %s >>%s; chmod %s %[2]s\n", text, by, mode)
			for _, n := range names {
				fmt.Fprintf(&script, "[ %s -ef %s ] && [ $(stat -c %%a.%%h %[2]s) = %s.%d ] && [ \"$(tail -n1 %[2]s)\" = %[5]s ] || { echo; ls -li %[1]s %[2]s; tail -n1 %[2]s; }\n", by, n, mode, len(names), text)
			}
		}
	}
	script.WriteString("echo done")
	if out := s.shell(c, script.String()); out != "done\n" {
		s.Errorf("written to links was %s: %s", text, out)
	}
}

// linksHold checks what was written last.
func (s *snapshotSuite) linksHold(c *fsbridge.Client, text string) {
	s.Helper()
	for _, names := range linked {
		for _, n := range names {
			if out := s.shell(c, "tail -n1 "+n); out != text+"\n" {
				s.Errorf("%s has %q, expected %q", n, out, text)
			}
		}
	}
}

// Names of one file stay that in the root filesystem, whatever is kept of it, and
// what is kept does not change with them.
func testSnapshotLinks(s *snapshotSuite) {
	c := s.start(s.spec(ann))
	s.link(c)
	s.shell(c, "mkdir -p /root/sub && chmod 700 /root/sub && touch -d @1000000000 /opt/l")
	var kept []string
	keep := func(name string) {
		s.Helper()
		s.writeLinks(c, "in-"+name)
		s.take(ann, name, c)
		kept = append(kept, name)
		s.linksHold(c, "in-"+name)
		s.writeLinks(c, "after-"+name)
	}
	keep("quiet")
	s.shell(c, "sleep 1000 >/dev/null 2>&1 & echo $! >/root/pid")
	keep("busy")
	s.shell(c, "kill -9 $(cat /root/pid)")
	for i := range 20 {
		keep(fmt.Sprint("row", i))
	}
	s.writeLinks(c, "in-stopped")
	s.stop(ann)
	s.take(ann, "stopped", nil)
	kept = append(kept, "stopped")
	c = s.again(ann)
	s.writeLinks(c, "after-stopped")

	for _, name := range []string{"quiet", "busy", "row1", "row19", "stopped"} {
		f := s.fork(forkRef("f"), name)
		s.linksHold(f, "in-"+name)
		if out := s.shell(f, "stat -c %a /root/sub; stat -c %Y /opt/l"); out != "700\n1000000000\n" {
			s.Errorf("directories of the fork of %s: %s", name, out)
		}
		s.writeLinks(f, "fork")
		s.take(forkRef("f"), "of-fork", f)
		s.writeLinks(f, "later")
		g := s.fork(forkRef("g"), "of-fork")
		s.linksHold(g, "fork")
		s.writeLinks(g, "fork-of-fork")
		s.linksHold(f, "later")
		for _, id := range []string{"g", "f"} {
			s.must(s.Runtime.Delete(s.ctx(), forkRef(id), false))
		}
		s.must(s.snaps.DeleteSnapshot(s.ctx(), ann.Bot, "of-fork"))
	}
	for i, name := range []string{"row3", "busy"} {
		s.stop(ann)
		s.restore(ann, name, fmt.Sprint("before", i))
		c = s.again(ann)
		s.linksHold(c, "in-"+name)
		s.writeLinks(c, "restored-"+name)
		s.take(ann, "restored-"+name, c)
		s.writeLinks(c, "after-restored-"+name)
	}
	s.stop(ann)
	s.restore(ann, "before0", "before2")
	c = s.again(ann)
	s.linksHold(c, "after-stopped")
	s.writeLinks(c, "back")
	for _, name := range kept {
		f := s.fork(forkRef("f"), name)
		s.linksHold(f, "in-"+name)
		s.must(s.Runtime.Delete(s.ctx(), forkRef("f"), false))
	}
}

// Links that are made in a quiet container while a snapshot has begun are seen, and
// without them it goes the quick way again.
func testSnapshotLinksLate(s *snapshotSuite) {
	c := s.start(s.spec(ann))
	for i := range 5 {
		n := fmt.Sprint(i)
		s.write(c, "/root/a", n)
		req := sandbox.SnapshotRequest{Ref: ann, Name: sandbox.SnapshotName("s" + n)}
		req.Hold = func(ctx context.Context) (func(), bool) {
			s.link(c)
			return hold(c)(ctx)
		}
		_, err := s.snaps.TakeSnapshot(s.ctx(), req)
		s.must(err)
		s.writeLinks(c, n)
		f := s.fork(forkRef("f"+n), "s"+n)
		s.writeLinks(f, "fork")
		s.shell(c, "rm -r /opt/l /three /root/big /usr/local/big /root/two")
	}
}
