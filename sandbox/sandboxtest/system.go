package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// ContainerdEnv names an environment variable with a directory that has
// usr/bin/containerd and usr/bin/containerd-shim-runc-v2, as Debian's package
// unpacked by dpkg -x.
const ContainerdEnv = "MOORAGE_TEST_CONTAINERD"

// System is a system's containerd that a test has started for itself.
type System struct {
	Address string // of its socket

	bin, config, log string
	cmd              *exec.Cmd // nil when it does not run
}

// FindContainerd returns the directory with the binaries of a system's
// containerd, or why there is none.
func FindContainerd() (bin string, err error) {
	if dir := os.Getenv(ContainerdEnv); dir != "" {
		bin := filepath.Join(dir, "usr/bin")
		_, err := os.Stat(filepath.Join(bin, "containerd"))
		return bin, err
	}
	path, err := exec.LookPath("containerd")
	if err != nil {
		return "", errors.New("no containerd on PATH, and " + ContainerdEnv + " is not set")
	}
	return filepath.Dir(path), nil
}

// StartSystem starts a system's containerd, with its root, state and socket in
// dir. It is ended with the test. The test is skipped if there is none.
func StartSystem(t testing.TB, dir string) *System {
	t.Helper()
	bin, err := FindContainerd()
	if err != nil {
		t.Skipf("no system containerd: %v", err)
	}
	s := &System{Address: filepath.Join(dir, "c.sock"), log: filepath.Join(dir, "containerd.log")}
	s.bin, s.config = bin, filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n",
		filepath.Join(dir, "croot"), filepath.Join(dir, "cstate"), s.Address)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	s.start(t)
	return s
}

func (s *System) start(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(s.bin, "containerd"), "--config", s.config)
	cmd.Env = append(os.Environ(), "PATH="+s.bin+":"+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.cmd = cmd
	s.await(t)
}

// Restart kills it and starts it again, on the same directories.
func (s *System) Restart(t testing.TB) {
	t.Helper()
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.start(t)
}

// await waits until the socket answers.
func (s *System) await(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "unix", s.Address)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b, _ := os.ReadFile(s.log)
			t.Fatalf("containerd does not answer: %v\n%s", err, b)
		}
	}
}

// Stop ends it; the shims go on. It is safe to call it twice.
func (s *System) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
	s.cmd = nil
}
