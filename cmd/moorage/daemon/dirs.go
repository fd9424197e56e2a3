package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Dirs are the two directories of a server.
type Dirs struct {
	Root string // durable
	Run  string // sockets and the like
}

// Abs makes both absolute and clean.
func (d Dirs) Abs() (Dirs, error) {
	root, err1 := filepath.Abs(d.Root)
	run, err2 := filepath.Abs(d.Run)
	return Dirs{root, run}, errors.Join(err1, err2)
}

// Socket is the path of the server's socket.
func (d Dirs) Socket() string { return filepath.Join(d.Run, "moorage.sock") }

// Log is the path of the log of a server that was started in the background.
func (d Dirs) Log() string { return filepath.Join(d.Root, "moorage.log") }

// Tokens is the path of the bearer tokens' file.
func (d Dirs) Tokens() string { return filepath.Join(d.Root, "tokens.json") }

// Holder is who holds a directory's lock.
type Holder struct {
	PID     int       `json:"pid"`
	Socket  string    `json:"socket"`
	Since   time.Time `json:"since"`
	Version string    `json:"version"`
}

// HeldError says that another server has the directory.
type HeldError struct {
	Dir    string
	Holder Holder
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("lock %s: it is in use by moorage serve, pid %d, since %s, with the socket %s; use that server, stop it with `moorage stop`, or choose other directories with --root and --run",
		e.Dir, e.Holder.PID, e.Holder.Since.Format(time.RFC3339), e.Holder.Socket)
}

// Lock is the hold on a server's directories. It ends with Close or with the
// process, however that ends.
type Lock struct{ files []*os.File }

// Acquire makes the directories and locks them. A *HeldError says who else has
// one of them.
func Acquire(d Dirs, version string) (*Lock, error) {
	l := &Lock{}
	holder := Holder{PID: os.Getpid(), Socket: d.Socket(), Since: time.Now(), Version: version}
	for _, dir := range []string{d.Root, d.Run} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, errors.Join(fmt.Errorf("make directory of the server: %w", err), l.Close())
		}
		f, err := lockFile(dir, holder)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.files = append(l.files, f)
	}
	return l, nil
}

// Close frees the directories.
func (l *Lock) Close() error {
	var errs []error
	for _, f := range l.files {
		errs = append(errs, f.Close())
	}
	l.files = nil
	return errors.Join(errs...)
}

func lockPath(dir string) string { return filepath.Join(dir, "lock") }

func lockFile(dir string, h Holder) (*os.File, error) {
	f, err := os.OpenFile(lockPath(dir), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	// A lock of the open file, not of the process: it can be asked for without
	// being taken, see FindHolder.
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		f.Close()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			other, _ := readHolder(dir)
			return nil, &HeldError{dir, other}
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	b, err := json.Marshal(h)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(append(b, '\n'), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

func readHolder(dir string) (Holder, error) {
	var h Holder
	b, err := os.ReadFile(lockPath(dir))
	if err == nil {
		err = json.Unmarshal(b, &h)
	}
	return h, err
}

// FindHolder returns who holds a directory; ok is false when nobody does.
func FindHolder(dir string) (h Holder, ok bool, err error) {
	f, err := os.Open(lockPath(dir))
	if errors.Is(err, os.ErrNotExist) {
		return Holder{}, false, nil
	}
	if err != nil {
		return Holder{}, false, fmt.Errorf("look at the lock of %s: %w", dir, err)
	}
	defer f.Close()
	probe := unix.Flock_t{Type: unix.F_RDLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &probe); err != nil {
		return Holder{}, false, fmt.Errorf("look at the lock of %s: %w", dir, err)
	}
	if probe.Type == unix.F_UNLCK {
		return Holder{}, false, nil
	}
	h, err = readHolder(dir)
	return h, true, err
}
