package freezer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroup is a directory of a hierarchy that can freeze.
type cgroup struct {
	dir string
	v2  bool
}

// state is how far a cgroup is frozen.
type state int

const (
	running  state = iota
	freezing       // it has been told to
	frozen
)

// freezable reports whether a directory is a cgroup that can freeze. The root of
// a hierarchy is none.
func freezable(dir string) (cgroup, bool) {
	for file, v2 := range map[string]bool{"cgroup.freeze": true, "freezer.state": false} {
		if unix.Access(filepath.Join(dir, file), unix.F_OK) == nil {
			return cgroup{dir, v2}, true
		}
	}
	return cgroup{}, false
}

func (c cgroup) freeze() error {
	if c.v2 {
		return c.write("cgroup.freeze", "1")
	}
	return c.write("freezer.state", "FROZEN")
}

func (c cgroup) thaw() error {
	if c.v2 {
		return c.write("cgroup.freeze", "0")
	}
	return c.write("freezer.state", "THAWED")
}

// state tells what was asked for and whether it has come about. A cgroup that is
// frozen by one above it is frozen.
func (c cgroup) state() (state, error) {
	if !c.v2 {
		return c.stateV1()
	}
	events, err := c.read("cgroup.events")
	if err != nil {
		return running, err
	}
	for line := range strings.Lines(events) {
		if strings.TrimSpace(line) == "frozen 1" {
			return frozen, nil
		}
	}
	asked, err := c.read("cgroup.freeze")
	if err == nil && strings.TrimSpace(asked) == "1" {
		return freezing, nil
	}
	return running, err
}

func (c cgroup) stateV1() (state, error) {
	text, err := c.read("freezer.state")
	switch text = strings.TrimSpace(text); {
	case err != nil:
		return running, err
	case text == "FROZEN":
		return frozen, nil
	case text == "FREEZING":
		return freezing, nil
	case text == "THAWED":
		return running, nil
	default:
		return running, fmt.Errorf("freezer.state is %.40q: FROZEN, FREEZING or THAWED is expected", text)
	}
}

// How await looks for the end: soon at first, since an idle container is frozen
// within some 10 µs.
const (
	firstPause = 20 * time.Microsecond
	lastPause  = time.Millisecond
	// freshStart is after how many looks a cgroup of v1 is thawed for a moment.
	freshStart = 100
)

// await waits until a cgroup that was told to freeze is frozen, or gone.
//
// v1 loses a race with processes that fork or come in while it freezes: they run
// on, and the state stays FREEZING until it is written again. When that is not
// enough, a moment of running lets them come to where they can be stopped
// (kernel, freezer-subsystem; runc does the same).
func (c cgroup) await(ctx context.Context) error {
	timer := time.NewTimer(firstPause)
	defer timer.Stop()
	for look, wait := 1, firstPause; ; look, wait = look+1, min(2*wait, lastPause) {
		st, err := c.state()
		if err == nil && st != frozen && !c.v2 {
			if look%freshStart == 0 {
				err = c.thaw()
			} else {
				err = c.freeze()
			}
		}
		if gone(err) || err == nil && st == frozen {
			return nil
		}
		if err != nil {
			return err
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fmt.Errorf("its processes do not stop: %w", context.Cause(ctx))
		}
	}
}

// write opens without O_CREAT and O_TRUNC: a cgroup that is gone stays so.
func (c cgroup) write(file, text string) error {
	f, err := os.OpenFile(filepath.Join(c.dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// maxState is more than the kernel has to say in one of these files.
const maxState = 4096

func (c cgroup) read(file string) (string, error) {
	f, err := os.Open(filepath.Join(c.dir, file))
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxState))
	return string(b), err
}

// gone: the directory does not exist, or was removed while a file was open.
func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV)
}
