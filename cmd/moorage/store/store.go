package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Store is an open store.
type Store struct {
	kind   Kind
	root   string
	log    *slog.Logger
	closed bool
}

// Image is the file of a Root's loop store.
func Image(root string) string { return filepath.Join(root, "store.xfs") }

func mountPath(root string) string { return filepath.Join(root, "store") }

// fellBackPath is there if a loop store was asked for and could not be made.
func fellBackPath(root string) string { return filepath.Join(root, "store.plain") }

// Open opens the store of a Root, which exists and whose lock is held, and makes
// it if there is none. If the host lacks what a new loop store needs it opens a
// plain one and logs why. A nil log discards.
func Open(root string, spec Spec, log *slog.Logger) (*Store, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Store{kind: Plain, root: root, log: log}
	if err := Check(root, spec); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	holds, err := Holds(root)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	switch {
	case holds == Loop:
		err = s.mount(spec.Size)
	case spec.Kind == Loop && holds == Plain:
		s.warnFilled()
	case spec.Kind == Loop:
		err = s.make(spec.Size)
	}
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", Image(root), err)
	}
	return s, nil
}

// Check refuses a kind of store that is not the one that a Root has in use.
func Check(root string, spec Spec) error {
	holds, err := Holds(root)
	switch {
	case err != nil:
		return err
	case spec.Kind == "" || holds == "" || holds == spec.Kind:
		return nil
	case holds == Loop:
		return fmt.Errorf("%s is a loop store, and --store plain is asked for: leave --store out, or choose another --root", Image(root))
	}
	if exists(fellBackPath(root)) {
		return nil
	}
	return fmt.Errorf("%s holds containers or data in a plain store, and --store loop is asked for: leave --store out, choose another --root, or delete all containers with their data first", root)
}

// make makes a loop store and mounts it. What the host lacks for that is logged,
// remembered, and the store is plain.
func (s *Store) make(size int64) error {
	err := makeImage(s.root, size)
	if err == nil {
		if err = s.mount(0); errors.Is(err, ErrUnable) {
			err = errors.Join(err, removeIfThere(Image(s.root)))
		}
	}
	mark := fellBackPath(s.root)
	switch {
	case errors.Is(err, ErrUnable):
		s.log.Warn("no loop store: going on with a plain one, which copies more and limits no disk", "root", s.root, "err", err)
		return os.WriteFile(mark, []byte(err.Error()+"\n"), 0o644)
	case err != nil:
		return err
	}
	if left := filepath.Join(s.root, "containerd"); exists(left) {
		s.log.Warn("images of the plain store are not used any more: import or pull them again, and remove what is left", "left", left)
	}
	return removeIfThere(mark)
}

// warnFilled says why the store is not the one that is asked for.
func (s *Store) warnFilled() {
	why, _ := os.ReadFile(fellBackPath(s.root)) // only told
	s.log.Warn("the store is plain, and stays so: it was filled when there could be no loop store; delete all containers with their data to change that",
		"root", s.root, "why", strings.TrimSpace(string(why)))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Holds is the kind of store that a Root has in use; "" if none is.
func Holds(root string) (Kind, error) {
	if _, err := os.Stat(Image(root)); err == nil {
		return Loop, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	// What cannot be had again: outputs of containers' commands, which each
	// container that ever ran has; the bots' data; snapshots. Not images.
	for _, dir := range []string{"spool", "data/bots", "data/own", "data/snapshots"} {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if len(entries) > 0 {
			return Plain, nil
		}
	}
	return "", nil
}

// DataDir is where a server on Root keeps the bots' data; pending if that is in a
// loop store which is not mounted now.
func DataDir(root string, asked Spec) (dir string, pending bool, err error) {
	holds, err := Holds(root)
	if err != nil || holds == Plain || holds == "" && asked.Kind != Loop {
		return filepath.Join(root, "data"), false, err
	}
	on, err := Mounted(root)
	return filepath.Join(mountPath(root), "data"), !on, err
}

// Kind is the kind of store that was opened.
func (s *Store) Kind() Kind { return s.kind }

// Dir is where things are to be kept.
func (s *Store) Dir() string {
	if s.kind == Loop {
		return mountPath(s.root)
	}
	return s.root
}

// Bounds of waiting for the last user of a mount and of a device.
const (
	unmountTimeout = 3 * time.Second
	unmountPause   = 20 * time.Millisecond
)

// Close unmounts a loop store that no container uses. One that is in use stays
// mounted, for the next server to find; the log says so.
func (s *Store) Close() error {
	if s.kind != Loop || s.closed {
		return nil
	}
	s.closed = true
	at := mountPath(s.root)
	used, err := inContainers(at)
	if err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	if used {
		s.log.Info("the store stays mounted: containers run on it; moorage stop --containers ends them", "at", at)
		return nil
	}
	for end := time.Now().Add(unmountTimeout); ; time.Sleep(unmountPause) {
		err := unix.Unmount(at, unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EBUSY) && time.Now().Before(end) {
			continue
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w; see who uses it: fuser -vm %s", at, err, at)
		}
		s.log.Info("store unmounted", "at", at)
		return s.awaitDetach(end)
	}
}

// awaitDetach waits for the end of the device, which is a moment later: when the
// mount namespaces of the last containers are gone, and nobody looks at it.
func (s *Store) awaitDetach(end time.Time) error {
	f, err := os.Open(Image(s.root))
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		dev, err := findDevice(f)
		if err != nil || dev == nil {
			return err
		}
		dev.Close()
		if time.Now().After(end) {
			s.log.Warn("the loop device is still in use by others; it detaches itself after that", "device", dev.Name())
			return nil
		}
		time.Sleep(unmountPause)
	}
}
