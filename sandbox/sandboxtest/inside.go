package sandboxtest

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"moorage/fsbridge"
	"moorage/fsbridge/fstest"
	"moorage/sandbox"
)

// testEnvironment: what a command finds.
func testEnvironment(s *suite) {
	tar := ImageTar(s, "with-env:1", []string{"FROM_IMAGE=1", "BOTH=image"}, s.busybox()...)
	_, err := s.Runtime.Import(s.ctx(), bytes.NewReader(tar), "")
	s.must(err)
	spec := s.spec(ann)
	spec.Image = "with-env:1"
	spec.Env = map[string]string{"ASKED": "a b", "BOTH": "asked"}
	c := s.start(spec)
	env := "\n" + s.shell(c, "env; echo pwd=$(pwd); echo id=$(id -u); hostname")
	for _, want := range []string{"FROM_IMAGE=1", "BOTH=asked", "ASKED=a b", "pwd=/data", "id=0", string(ann.ID), "PATH="} {
		if !strings.Contains(env, "\n"+want) {
			s.Errorf("no %q in %s", want, env)
		}
	}
}

// busybox is the host's, with a few links, as an image's files.
func (s *suite) busybox() []File {
	s.Helper()
	b := hostBusybox(s)
	var files []File
	for _, name := range []string{"sh", "env", "id", "hostname", "cat"} {
		files = append(files, File{Name: "bin/" + name, Mode: 0o755, Data: b})
	}
	return files
}

// testFence: what keeps a container in.
func testFence(s *suite) {
	c := s.start(s.spec(ann))
	for line, want := range map[string]string{
		"ls /sys/class/net":                             "lo",
		"cat /sys/class/net/lo/operstate":               "unknown", // one that is not up says down
		"grep ^NoNewPrivs: /proc/self/status | cut -f2": "1",
		"grep ^Seccomp: /proc/self/status | cut -f2":    "2",
		"grep ^CapBnd: /proc/self/status | cut -f2":     "00000000800405fb",
		"cat /proc/1/cmdline":                           "/.moorage/agent\x00",
		"stat -c %a /tmp":                               "1777",
		"grep -c localhost /etc/hosts":                  "2",
		"wc -c < /proc/keys":                            "0",
		"ulimit -c":                                     "0",
	} {
		if got := strings.TrimSuffix(s.shell(c, line), "\n"); got != want {
			s.Errorf("%s: expected %q, got %q", line, want, got)
		}
	}
	for _, line := range []string{
		"touch /.moorage/run/x", "rm /.moorage/run/agent.sock", "echo x > /.moorage/agent",
		"echo 1 > /proc/sys/vm/swappiness", "mkdir /sys/fs/cgroup/memory/x /sys/fs/cgroup/x",
		"mkdir -p /mnt && mount -t tmpfs x /mnt", "mknod /root/null c 1 3", "hostname other", "kill -9 1; kill -0 1 && false",
	} {
		if got := s.shell(c, "("+line+") 2>/dev/null || echo refused"); !strings.Contains(got, "refused") {
			s.Errorf("%s: allowed: %q", line, got)
		}
	}
}

// testLimits: a hog is killed, the agent and the rest go on.
func testLimits(s *suite) {
	spec := s.spec(ann)
	spec.Limits = sandbox.Limits{MemoryMB: 64, CPUs: 1, PIDs: 64}
	c := s.start(spec)
	hog := fsbridge.ExecRequest{Command: "exec tail -c 200m /dev/zero", Wait: limit}
	res, _, err := c.Exec(s.ctx(), hog, nil)
	s.must(err)
	if res.State != fsbridge.Signaled || res.Signal != "SIGKILL" || !res.OOMKilled {
		s.Errorf("a process that wants 200 MB of 64: %+v", res)
	}
	if got := s.shell(c, "echo alive"); got != "alive\n" {
		s.Errorf("after it: %q", got)
	}
	bomb := "i=0; while [ $i -lt 200 ]; do sleep 60 & i=$((i+1)); done; echo done"
	_, _, err = c.Exec(s.ctx(), fsbridge.ExecRequest{Command: bomb, Wait: limit}, nil)
	s.must(err)
	// A runtime may give some more, for the agent.
	if u, err := s.Runtime.Usage(s.ctx(), ann); err != nil || u.PIDs < 50 || u.PIDs > 64+64 {
		s.Errorf("of 200 there are %d processes and threads, %v", u.PIDs, err)
	}
	s.must(c.Ping(s.ctx()))
	if got := s.read(c, "/etc/hosts"); !strings.Contains(got, "localhost") {
		s.Errorf("a file when no process can be made: %q", got)
	}
}

// testNoShell: an image that holds one binary, and asks for a user and an
// entrypoint that do not exist.
func testNoShell(s *suite) {
	list, err := s.Runtime.Import(s.ctx(), bytes.NewReader(StaticTar(s, "static:1")), "")
	s.must(err)
	spec := s.spec(ann)
	spec.Image = list[0].Name
	c := s.start(spec)
	res, out, err := c.Exec(s.ctx(), fsbridge.ExecRequest{Argv: []string{"/hello"}, Wait: limit}, nil)
	if err != nil || res.ExitCode == nil || *res.ExitCode != 0 || string(out.StderrHead) != "hello\n" {
		s.Errorf("its one binary: %+v, %q, %v", res, out.StderrHead, err)
	}
	_, _, err = c.Exec(s.ctx(), fsbridge.ExecRequest{Command: "echo"}, nil)
	s.expect(err, fsbridge.ErrNoShell, "a shell line")
	s.write(c, "/data/f", "text")
	if got := s.read(c, "/app/f"); got != "text" {
		s.Errorf("a file: %q", got)
	}
}

// testNoHosts: localhost is a name also where the image does not say so, and the
// file is one like any other.
func testNoHosts(s *suite) {
	own := "10.1.2.3 own\n"
	for tag, c := range map[string]struct {
		files []File
		want  string
	}{
		"none":  {[]File{{Name: "x", Mode: 0o644}}, "localhost"},
		"empty": {[]File{{Name: "etc/hosts", Mode: 0o644}}, "localhost"},
		"own":   {[]File{{Name: "etc/hosts", Mode: 0o644, Data: []byte(own)}}, own},
	} {
		list, err := s.Runtime.Import(s.ctx(), bytes.NewReader(ImageTar(s, "hosts:"+tag, nil, c.files...)), "")
		s.must(err)
		spec := s.spec(sandbox.Ref{Bot: "ann", ID: sandbox.ContainerID(tag)})
		spec.Image = list[0].Name
		agent := s.start(spec)
		if got := s.read(agent, "/etc/hosts"); !strings.Contains(got, c.want) {
			s.Errorf("%s: %q", tag, got)
		}
		s.write(agent, "/etc/hosts", "changed\n")
	}
}

func testMissingImage(s *suite) {
	spec := s.spec(ann)
	spec.Image = "docker.io/library/not-here:latest"
	s.expect(s.Runtime.Create(s.ctx(), spec), sandbox.ErrImage, "create from an image that is not here")
	_, err := s.Runtime.Status(s.ctx(), ann)
	s.expect(err, sandbox.ErrNotFound, "status after it")
	_, err = s.Runtime.EnsureImage(s.ctx(), "127.0.0.1:1/x:1", nil)
	s.expect(err, sandbox.ErrImage, "a registry that is down")
	_, err = s.Runtime.EnsureImage(s.ctx(), "Not A Name", nil)
	s.expect(err, sandbox.ErrInvalid, "a name that is none")
	_, err = s.Runtime.Import(s.ctx(), strings.NewReader("garbage"), "")
	s.expect(err, sandbox.ErrImage, "garbage")
	if list, err := s.Runtime.Images(s.ctx()); err != nil || len(list) != 1 {
		s.Errorf("images: %+v, %v", list, err)
	}
}

// RunFiles runs the suite of the file operations and commands, package fstest, in
// a real container.
func RunFiles(t *testing.T, open func(t *testing.T) Subject) {
	s := &suite{T: t, Subject: open(t)}
	c := s.start(s.spec(ann))
	n := 0
	fstest.Run(t, func(t *testing.T) fstest.Target {
		n++
		dir := fmt.Sprintf("/data/t%d", n)
		if out := s.shell(c, "mkdir "+dir); out != "" {
			t.Fatal(out)
		}
		target := fstest.Target{Client: c, Dir: dir, Root: true, Shell: true}
		if s.DataDir != nil {
			target.HostDir = filepath.Join(s.DataDir("ann"), filepath.Base(dir))
		}
		return target
	})
}
