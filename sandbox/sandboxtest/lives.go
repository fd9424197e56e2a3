package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"moorage/fsbridge"
	"moorage/sandbox"
)

func is(err, want error) bool   { return errors.Is(err, want) }
func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// The life of a container as sandbox.Runtime's comment tells it.
func testLife(s *suite) {
	rt := s.Runtime
	s.must(rt.Create(s.ctx(), s.spec(ann)))
	if st := s.state(ann); st != sandbox.StateStopped {
		s.Errorf("made: %s", st)
	}
	_, err := rt.Connect(s.ctx(), ann)
	s.expect(err, sandbox.ErrNotRunning, "connect before start")
	_, err = rt.Usage(s.ctx(), ann)
	s.expect(err, sandbox.ErrNotRunning, "usage before start")
	s.must(rt.Stop(s.ctx(), ann, time.Second))
	s.must(rt.Start(s.ctx(), ann))
	s.must(rt.Start(s.ctx(), ann))
	if st := s.state(ann); st != sandbox.StateRunning {
		s.Errorf("started: %s", st)
	}
	c := s.connect(ann)
	s.must(c.Ping(s.ctx()))
	s.write(c, "/root/kept", "kept")
	_, _, err = c.Exec(s.ctx(), fsbridge.ExecRequest{Argv: []string{"/bin/sleep", "60"}}, nil)
	s.must(err)
	if u, err := rt.Usage(s.ctx(), ann); err != nil || u.MemoryBytes <= 0 || u.CPUSeconds <= 0 || u.PIDs != 1 {
		s.Errorf("usage %+v, %v", u, err)
	}
	boot := c.Hello().BootID
	c.Close()
	c = s.connect(ann) // it dials again
	if c.Hello().BootID != boot {
		s.Error("the agent was started anew")
	}
	s.must(rt.Stop(s.ctx(), ann, limit))
	s.must(rt.Stop(s.ctx(), ann, limit))
	if st := s.state(ann); st != sandbox.StateStopped {
		s.Errorf("stopped: %s", st)
	}
	s.must(rt.Start(s.ctx(), ann))
	c = s.connect(ann)
	if got := s.read(c, "/root/kept"); got != "kept" {
		s.Errorf("after a stop the file is %q", got)
	}
	s.must(rt.Delete(s.ctx(), ann, true))
	s.expect(rt.Delete(s.ctx(), ann, true), sandbox.ErrNotFound, "delete twice")
	_, err = rt.Status(s.ctx(), ann)
	s.expect(err, sandbox.ErrNotFound, "status after delete")
}

func testTaken(s *suite) {
	s.must(s.Runtime.Create(s.ctx(), s.spec(ann)))
	s.expect(s.Runtime.Create(s.ctx(), s.spec(ann)), sandbox.ErrAlreadyExists, "create twice")
	s.must(s.Runtime.Delete(s.ctx(), ann, true))
	s.must(s.Runtime.Create(s.ctx(), s.spec(ann)))
}

// Two bots have containers of the same id, and nothing else in common.
func testBots(s *suite) {
	a, b := s.start(s.spec(ann)), s.start(s.spec(bob))
	s.write(a, "/data/secret", "ann's")
	s.write(a, "/root/secret", "ann's")
	if got := s.read(b, "/data/secret") + s.read(b, "/root/secret"); got != "--" {
		s.Errorf("bob reads %q", got)
	}
	for bot, want := range map[sandbox.Bot]int{"ann": 1, "bob": 1, "": 2, "eve": 0} {
		if list, err := s.Runtime.List(s.ctx(), bot); err != nil || len(list) != want {
			s.Errorf("%q has %d containers, %v", bot, len(list), err)
		}
	}
	s.must(s.Runtime.Delete(s.ctx(), bob, true))
	if got := s.read(a, "/data/secret"); got != "ann's" {
		s.Errorf("after the other's delete: %q", got)
	}
}

func testUnknown(s *suite) {
	s.must(s.Runtime.Create(s.ctx(), s.spec(ann)))
	rt := s.Runtime
	for _, ref := range []sandbox.Ref{bob, {Bot: "ann", ID: "two"}} {
		s.expect(rt.Start(s.ctx(), ref), sandbox.ErrNotFound, "start")
		s.expect(rt.Stop(s.ctx(), ref, 0), sandbox.ErrNotFound, "stop")
		s.expect(rt.Delete(s.ctx(), ref, true), sandbox.ErrNotFound, "delete")
		s.expect(rt.Touch(s.ctx(), ref), sandbox.ErrNotFound, "touch")
		_, err := rt.Status(s.ctx(), ref)
		s.expect(err, sandbox.ErrNotFound, "status")
		_, err = rt.Usage(s.ctx(), ref)
		s.expect(err, sandbox.ErrNotFound, "usage")
		_, err = rt.Connect(s.ctx(), ref)
		s.expect(err, sandbox.ErrNotFound, "connect")
	}
}

// What was asked for is what the record says, also after a restart.
func testRecord(s *suite) {
	spec := s.spec(ann)
	spec.Env = map[string]string{"A": "1", "Ü": "\"\n€\\", "EMPTY": ""}
	for i := range 20 { // more than one label holds
		spec.Env[fmt.Sprintf("LONG%d", i)] = fmt.Sprintf("%0500d", i)
	}
	spec.Limits = sandbox.Limits{MemoryMB: 123, CPUs: 0.5, PIDs: 77}
	s.must(s.Runtime.Create(s.ctx(), spec))
	before, err := s.Runtime.Status(s.ctx(), ann)
	s.must(err)
	s.must(s.Runtime.Touch(s.ctx(), ann))
	after, err := s.Restart().Status(s.ctx(), ann)
	s.must(err)
	for _, st := range []sandbox.Status{before, after} {
		if fmt.Sprint(st.Spec) != fmt.Sprint(spec) || st.SnapshotKey == "" || st.CreatedAt.IsZero() || len(st.DataMounts) == 0 {
			s.Errorf("asked for %v, recorded %+v", spec, st)
		}
	}
	if !after.CreatedAt.Equal(before.CreatedAt) || !after.UpdatedAt.After(before.UpdatedAt) {
		s.Errorf("touched: %v to %v, made %v to %v", before.UpdatedAt, after.UpdatedAt, before.CreatedAt, after.CreatedAt)
	}
}

// The bot's data is in all its containers, at each data mount, and outlives them.
func testData(s *suite) {
	a := s.start(s.spec(ann))
	st, err := s.Runtime.Status(s.ctx(), ann)
	s.must(err)
	s.write(a, filepath.Join(st.DataMounts[0], "dir/f"), "text")
	for _, at := range st.DataMounts {
		if got := s.read(a, filepath.Join(at, "dir/f")); got != "text" {
			s.Errorf("at %s: %q", at, got)
		}
	}
	if s.DataDir != nil {
		if b, err := os.ReadFile(filepath.Join(s.DataDir("ann"), "dir/f")); err != nil || string(b) != "text" {
			s.Errorf("on the host: %q, %v", b, err)
		}
	}
	two := sandbox.Ref{Bot: "ann", ID: "two"}
	b := s.start(s.spec(two))
	file := filepath.Join(st.DataMounts[0], "dir/f")
	if got := s.read(b, file); got != "text" {
		s.Errorf("in another container: %q", got)
	}
	s.must(s.Runtime.Delete(s.ctx(), ann, false))
	if got := s.read(b, file); got != "text" {
		s.Errorf("after a delete without data: %q", got)
	}
	a = s.start(s.spec(ann))
	s.must(s.Runtime.Delete(s.ctx(), two, true))
	if got := s.read(a, file); got != "-" {
		s.Errorf("after a delete with data: %q", got)
	}
	s.write(a, file, "new") // the mount is still good
	s.must(s.Runtime.Delete(s.ctx(), ann, true))
	if s.DataDir != nil {
		if _, err := os.Stat(s.DataDir("ann")); !os.IsNotExist(err) {
			s.Errorf("the bot's last container is deleted with its data: %v", err)
		}
	}
}

// A runtime that is opened again finds what runs, untouched.
func testRestart(s *suite) {
	c := s.start(s.spec(ann))
	boot := c.Hello().BootID
	s.write(c, "/tmp/kept", "kept")
	s.must(s.Runtime.Create(s.ctx(), s.spec(bob)))
	c.Close()
	s.Runtime = s.Restart()
	if a, b := s.state(ann), s.state(bob); a != sandbox.StateRunning || b != sandbox.StateStopped {
		s.Errorf("after a restart: %s and %s", a, b)
	}
	c = s.connect(ann)
	if c.Hello().BootID != boot || s.read(c, "/tmp/kept") != "kept" {
		s.Error("the container was restarted")
	}
	s.must(s.Runtime.Start(s.ctx(), bob))
	s.connect(bob)
}

func testManyAtOnce(s *suite) {
	const n = 6
	spec := s.spec(ann)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			mine := spec
			mine.Ref.ID = sandbox.ContainerID(fmt.Sprintf("c%d", i))
			if err := s.wholeLife(mine); err != nil {
				s.Errorf("container %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func (s *suite) wholeLife(spec sandbox.Spec) error {
	rt, ctx := s.Runtime, s.ctx()
	if err := rt.Create(ctx, spec); err != nil {
		return err
	}
	for range 2 {
		if err := rt.Start(ctx, spec.Ref); err != nil {
			return err
		}
		c, err := rt.Connect(ctx, spec.Ref)
		if err != nil {
			return err
		}
		c.Close()
		if err := rt.Stop(ctx, spec.Ref, 0); err != nil {
			return err
		}
	}
	return rt.Delete(ctx, spec.Ref, false)
}

// Who waits for an agent hears of the container's end, and of its own.
func testWaiting(s *suite) {
	s.start(s.spec(ann)) // takes the one connection
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := s.Runtime.Connect(ctx, ann)
	s.expect(err, context.DeadlineExceeded, "connect while another is connected")
	failed := make(chan error)
	begun := make(chan struct{})
	go func() {
		close(begun)
		_, err := s.Runtime.Connect(s.ctx(), ann)
		failed <- err
	}()
	<-begun
	s.must(s.Runtime.Stop(s.ctx(), ann, 0))
	s.expect(<-failed, sandbox.ErrNotRunning, "connect to one that is stopped meanwhile")
}

// A process that ignores SIGTERM does not keep a container from stopping.
func testStopIgnored(s *suite) {
	c := s.start(s.spec(ann))
	_, _, err := c.Exec(s.ctx(), fsbridge.ExecRequest{Command: "trap '' TERM; while :; do sleep 1; done"}, nil)
	s.must(err)
	s.must(s.Runtime.Stop(s.ctx(), ann, 200*time.Millisecond))
	if st := s.state(ann); st != sandbox.StateStopped {
		s.Errorf("stopped: %s", st)
	}
}

// A delete whose parts are gone already, or that is repeated.
func testDelete(s *suite) {
	s.start(s.spec(ann))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Runtime.Delete(ctx, ann, true); err == nil {
		return // done in spite of it: fine too
	}
	s.must(s.Runtime.Delete(s.ctx(), ann, true))
	_, err := s.Runtime.Status(s.ctx(), ann)
	s.expect(err, sandbox.ErrNotFound, "status after delete")
}
