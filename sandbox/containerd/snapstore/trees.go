package snapstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"moorage/sandbox"
	"moorage/sandbox/copier"
)

// Paths on the host.

func (s *Store) dir(id string) string { return filepath.Join(s.opts.Dir, "snapshots", id) }

// Data is the tree of a snapshot's data.
func (s *Store) Data(id string) string { return filepath.Join(s.dir(id), "data") }

// Own is the data of a container of its own.
func (s *Store) Own(key string) string { return filepath.Join(s.opts.Dir, "own", key) }

// Tmp is where a tree is made that then gets another place.
func (s *Store) Tmp(id string) string { return filepath.Join(s.opts.Dir, "tmp", id) }

// The records that a snapshot can have.
const (
	dataRecord = "data.rec"
	rootRecord = "root.rec"
)

// Prepare makes the directories that all is below.
func (s *Store) Prepare() error {
	for _, d := range []string{"snapshots", "own", "tmp"} {
		if err := os.MkdirAll(filepath.Join(s.opts.Dir, d), 0o700); err != nil {
			return fmt.Errorf("make directory of snapshots: %w", err)
		}
	}
	return nil
}

// Uses notes that a snapshotter has snapshots of ours, or is about to: without that
// a server with another configuration would take their trees for nobody's.
func (s *Store) Uses(snapshotter string) error {
	if _, noted := s.used.Load(snapshotter); noted {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(s.opts.Dir, "snapshotters", snapshotter), 0o700); err != nil {
		return fmt.Errorf("note snapshotter: %w", err)
	}
	s.used.Store(snapshotter, true)
	return nil
}

func (s *Store) snapshotters() (names []string, err error) {
	entries, err := os.ReadDir(filepath.Join(s.opts.Dir, "snapshotters"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list snapshotters: %w", err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// MakeTree makes a snapshot's directory with an empty tree of data. snapshotter is
// what its layer will be of.
func (s *Store) MakeTree(id, snapshotter string) error {
	if err := s.Uses(snapshotter); err != nil {
		return err
	}
	return s.make(s.Data(id))
}

// MakeTmp makes an empty directory to be filled and moved.
func (s *Store) MakeTmp(id string) error { return s.make(s.Tmp(id)) }

func (s *Store) make(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("make directory of a snapshot: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make directory of a snapshot: %w", err)
	}
	return nil
}

// MakeOwn makes an empty directory for a container's own data.
func (s *Store) MakeOwn(key string) error { return s.make(s.Own(key)) }

// RemoveTree removes what a snapshot has beside its layer.
func (s *Store) RemoveTree(ctx context.Context, id string) error {
	return remove(ctx, s.dir(id))
}

// RemoveTmp removes what was being made.
func (s *Store) RemoveTmp(ctx context.Context, id string) error { return remove(ctx, s.Tmp(id)) }

// RemoveOwn removes a container's own data.
func (s *Store) RemoveOwn(ctx context.Context, key string) error { return remove(ctx, s.Own(key)) }

func remove(ctx context.Context, dir string) error {
	if err := copier.Remove(ctx, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove tree: %w", err)
	}
	return nil
}

// SaveData keeps the record of the copy that a snapshot's data is.
func (s *Store) SaveData(id string, r *copier.Record) error { return s.save(id, dataRecord, r) }

// SaveRoot keeps the record of the copy that its layer is.
func (s *Store) SaveRoot(id string, r *copier.Record) error { return s.save(id, rootRecord, r) }

// LoadData reads what SaveData has kept; nil if there is none that can be read.
func (s *Store) LoadData(id string) *copier.Record { return s.load(id, dataRecord) }

// LoadRoot reads what SaveRoot has kept; nil if there is none that can be read.
func (s *Store) LoadRoot(id string) *copier.Record { return s.load(id, rootRecord) }

func (s *Store) save(id, name string, r *copier.Record) (err error) {
	f, err := os.Create(filepath.Join(s.dir(id), name))
	if err != nil {
		return fmt.Errorf("keep record of a copy: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := r.WriteTo(f); err != nil {
		return fmt.Errorf("keep record of a copy: %w", err)
	}
	return nil
}

// load: without a record more has to be copied and compared, nothing else.
func (s *Store) load(id, name string) *copier.Record {
	f, err := os.Open(filepath.Join(s.dir(id), name))
	if err != nil {
		return nil
	}
	defer f.Close()
	r, err := copier.ReadRecord(io.Reader(f))
	if err != nil {
		s.opts.Log.Warn("record of a copy cannot be read", "snapshot", id, "err", err)
		return nil
	}
	return r
}

// Reference is the newest snapshot of the same data, for the copier to take
// unchanged files from; nil if there is none.
func (s *Store) Reference(bot sandbox.Bot, source string) *copier.Reference {
	all := s.All(bot)
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Record.Source != source {
			continue
		}
		if r := s.LoadData(all[i].ID); r != nil {
			return &copier.Reference{Tree: s.Data(all[i].ID), Record: r}
		}
	}
	return nil
}

// Sweep removes trees that belong to nothing: what was being made, snapshots
// that are not in the index, and own data of containers that are not in keys.
// keep are ids that are still being worked on.
func (s *Store) Sweep(ctx context.Context, keys, keep map[string]bool) error {
	listed := map[string]bool{}
	for _, e := range s.All("") {
		listed[e.ID] = true
	}
	s.mu.Lock()
	maps.Copy(listed, s.broken)
	s.mu.Unlock()
	var errs []error
	for dir, stays := range map[string]func(string) bool{
		"tmp":       func(id string) bool { return keep[id] },
		"snapshots": func(id string) bool { return listed[id] || keep[id] },
		"own":       func(key string) bool { return keys[key] },
	} {
		entries, err := os.ReadDir(filepath.Join(s.opts.Dir, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			if !stays(e.Name()) {
				errs = append(errs, remove(ctx, filepath.Join(s.opts.Dir, dir, e.Name())))
			}
		}
	}
	return errors.Join(errs...)
}
