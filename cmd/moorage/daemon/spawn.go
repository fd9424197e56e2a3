package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Bounds of starting a server.
const (
	readyTimeout = 30 * time.Second // from its start to ready
	startsMax    = 5                // one after the other, when each ends at once
	dialPause    = 20 * time.Millisecond
	reportMax    = 8 << 10 // bytes of a failed start's report
)

// readyEnv names the file descriptor on which a server that was started in the
// background says that it is ready, or why it is not.
const readyEnv = "MOORAGE_READY_FD"

// reportHeld begins its report if another server has its directories.
const reportHeld = "held: "

// DialOrStart connects to the server of these directories. If none runs it
// starts one, with these arguments, that outlives this process.
func DialOrStart(ctx context.Context, d Dirs, h Handshake, serveArgs []string) (Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	c, err := Dial(ctx, d.Socket(), h)
	if err == nil || !noServer(err) {
		return c, explain(err, d)
	}
	if os.Geteuid() != 0 {
		return Conn{}, fmt.Errorf("no server runs at %s and only root can start one; run: sudo moorage serve --root %s --run %s", d.Socket(), d.Root, d.Run)
	}
	startErr := start(ctx, d, serveArgs)
	// Another process may have started one at the same moment: then ours could
	// not have the lock, and theirs will be ready soon. Each may also be killed.
	for starts := 1; ; {
		if c, err := Dial(ctx, d.Socket(), h); err == nil || !noServer(err) {
			return c, err
		}
		if _, held, _ := FindHolder(d.Run); !held {
			if startErr != nil && (starts == startsMax || !errors.As(startErr, new(passingError))) {
				return Conn{}, startErr
			}
			if starts == startsMax {
				return Conn{}, fmt.Errorf("start the server: it ended as soon as it was ready, %d times; see %s", starts, d.Log())
			}
			starts++
			startErr = start(ctx, d, serveArgs)
			continue
		}
		select {
		case <-time.After(dialPause):
		case <-ctx.Done():
			return Conn{}, errors.Join(fmt.Errorf("wait for the server at %s: %w", d.Socket(), ctx.Err()), startErr)
		}
	}
}

// noServer says that nobody listens, or that who did ended before it answered.
func noServer(err error) bool {
	for _, e := range []error{fs.ErrNotExist, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, io.EOF} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func explain(err error, d Dirs) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; be root or a member of the group moorage to use %s", err, d.Socket())
	}
	return err
}

// passingError is of a start that failed by what has passed by now, if nobody
// holds the directories: another server was there, or this one was killed.
type passingError struct{ error }

// start runs "moorage serve" in a session of its own and waits until it is
// ready or has ended.
func start(ctx context.Context, d Dirs, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	if err := os.MkdirAll(d.Root, 0o711); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	stderr, err := os.OpenFile(filepath.Join(d.Root, "moorage.stderr"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	defer stderr.Close()
	ready, child, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	defer ready.Close()
	cmd := exec.Command(self, append([]string{"serve", "--root", d.Root, "--run", d.Run, "--log-file", d.Log()}, args...)...)
	cmd.Dir = "/"
	cmd.Stderr = stderr
	cmd.ExtraFiles = []*os.File{child}
	cmd.Env = append(os.Environ(), readyEnv+"=3")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	child.Close()
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	go cmd.Wait() // reaps it if it ends before this process; ends with this process otherwise
	return readReport(ctx, ready, d)
}

func readReport(ctx context.Context, ready *os.File, d Dirs) error {
	if t, ok := ctx.Deadline(); ok {
		ready.SetReadDeadline(t)
	}
	b, err := io.ReadAll(io.LimitReader(ready, reportMax))
	report, held := strings.CutPrefix(strings.TrimSpace(string(b)), reportHeld)
	switch {
	case held:
		return passingError{errors.New(report)}
	case report == "ready":
		return nil
	case report != "":
		return errors.New(report)
	case err != nil:
		return fmt.Errorf("wait for the server: %w; see %s", err, d.Log())
	}
	return passingError{fmt.Errorf("start the server: it ended before it was ready; see %s", d.Log())}
}

// reportReady tells the process that started this one, if it waits, how the
// start went. Only the first report counts.
func reportReady(err error) {
	if os.Getenv(readyEnv) != "3" {
		return
	}
	os.Unsetenv(readyEnv)
	f := os.NewFile(3, "ready")
	defer f.Close()
	switch {
	case err == nil:
		io.WriteString(f, "ready\n")
	case errors.As(err, new(*HeldError)):
		io.WriteString(f, reportHeld+err.Error()+"\n")
	default:
		io.WriteString(f, err.Error()+"\n")
	}
}
