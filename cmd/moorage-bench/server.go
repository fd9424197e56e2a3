package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"moorage/cmd/moorage-bench/client"
)

const (
	readyTimeout = 30 * time.Second
	stopTimeout  = 15 * time.Second
	pollPause    = 500 * time.Microsecond // its share in the start's time is small
)

// server is a `moorage serve` that this process started.
type server struct {
	binary, root, run string
	cmd               *exec.Cmd
	stderr            client.Tail
	ended             chan struct{} // closed when the process was waited for
}

// startServer starts a server with its state below dir and waits until its
// socket answers; took is the time from one to the other.
func startServer(ctx context.Context, binary, dir string) (s *server, took time.Duration, err error) {
	s = &server{binary: binary, root: filepath.Join(dir, "root"), run: filepath.Join(dir, "run"), ended: make(chan struct{})}
	s.cmd = exec.Command(binary, "serve", "--root", s.root, "--run", s.run, "--log-level", "warn")
	s.cmd.Stderr = &s.stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's interrupt is for the bench, which stops it
	begun := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, 0, fmt.Errorf("start the server: %w", err)
	}
	go func() {
		defer close(s.ended)
		_ = s.cmd.Wait() // stop tells how it ended
	}()
	if err := s.awaitReady(ctx); err != nil {
		return nil, 0, errors.Join(err, s.stop())
	}
	return s, time.Since(begun), nil
}

func (s *server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(pollPause)
	defer tick.Stop()
	for {
		err := s.greet(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.ended:
			return fmt.Errorf("start the server: it ended; it said: %s", s.stderr.String())
		case <-ctx.Done():
			return fmt.Errorf("wait for the server: %w: %w", ctx.Err(), err)
		}
	}
}

// greet connects to the socket, says the handshake line and reads the answer.
func (s *server) greet(ctx context.Context) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", filepath.Join(s.run, "moorage.sock"))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(readyTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, `{"moorage":1,"mode":"mcp","bot":"bench"}`+"\n"); err != nil {
		return err
	}
	answer, err := bufio.NewReaderSize(c, 4<<10).ReadSlice('\n')
	if err == nil && !bytes.Contains(answer, []byte(`"ok":true`)) {
		err = fmt.Errorf("greet the server: it answered %s", answer)
	}
	return err
}

// connect starts a `moorage stdio` for a bot.
func (s *server) connect(ctx context.Context, bot string) (*client.Client, error) {
	return client.Start(ctx, "moorage stdio", s.binary, "stdio", "--root", s.root, "--run", s.run, "--bot", bot)
}

// rss is the server's resident memory in bytes.
func (s *server) rss() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("measure the server: %w", err)
	}
	_, rest, _ := bytes.Cut(b, []byte("VmRSS:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0, errors.New("measure the server: its status has no VmRSS")
	}
	kb, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("measure the server: %w", err)
	}
	return kb << 10, nil
}

// stopAll stops what runs in the server's containers, whoever made them, and the
// server. Containers go on without a server that has died; see stopLeft.
func (s *server) stopAll() error {
	return errors.Join(s.stopContainers(), s.stop(), stopLeft(s.binary, filepath.Dir(s.root)))
}

// stopLeft starts a server on a state below dir whose own has died, if one of its
// containers still runs, and stops them.
func stopLeft(binary, dir string) error {
	left, err := mountedBelow(dir)
	if err != nil || !left {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	s, _, err := startServer(ctx, binary, dir)
	if err != nil {
		return err
	}
	return errors.Join(s.stopContainers(), s.stop())
}

func (s *server) stopContainers() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, s.binary, "stop", "--containers", "--root", s.root, "--run", s.run).CombinedOutput()
	if err != nil {
		return fmt.Errorf("stop the containers: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// stop ends the server and waits for it. Its containers would go on running.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-s.ended:
	case <-time.After(stopTimeout):
		_ = s.cmd.Process.Kill()
		<-s.ended
		return fmt.Errorf("stop the server: it did not end within %s and was killed; it said: %s", stopTimeout, s.stderr.String())
	}
	if state := s.cmd.ProcessState; !state.Success() {
		return fmt.Errorf("stop the server: %s; it said: %s", state, s.stderr.String())
	}
	return nil
}
