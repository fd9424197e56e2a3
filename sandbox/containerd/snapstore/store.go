package snapstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"

	"moorage/sandbox"
	"moorage/sandbox/copier"
)

// Options say where a Store keeps its things. All are required.
type Options struct {
	Instance string // of the runtime
	Dir      string // of that instance, absolute
	// Snapshotter gives containerd's snapshotter of a name.
	Snapshotter func(name string) snapshots.Snapshotter
	// Freed is told when there is something for containerd to collect.
	Freed func()
	Log   *slog.Logger
}

// Store is the snapshots of one instance. Its methods may be called from many
// goroutines.
type Store struct {
	opts Options

	used sync.Map // names of snapshotters that Uses has noted

	mu     sync.Mutex
	broken map[string]bool // ids whose records cannot be read: theirs is kept
	bots   map[sandbox.Bot]map[sandbox.SnapshotName]Entry
}

// New makes a Store whose index is empty; see Load.
func New(o Options) *Store {
	return &Store{opts: o, bots: map[sandbox.Bot]map[sandbox.SnapshotName]Entry{}}
}

// Load reads the index anew from the labels of the snapshots of every snapshotter
// that ever had one of ours. One whose record cannot be read is left out, kept, and
// logged. After an error it is not known which there are: nothing may be swept.
func (s *Store) Load(ctx context.Context) error {
	snapshotters, err := s.snapshotters()
	if err != nil {
		return err
	}
	found := map[sandbox.Bot]map[sandbox.SnapshotName]Entry{}
	broken := map[string]bool{}
	var errs []error
	for _, name := range snapshotters {
		err := s.opts.Snapshotter(name).Walk(ctx, func(_ context.Context, i snapshots.Info) error {
			e, listed, err := decode(i)
			if err != nil {
				broken[i.Name] = true
				s.opts.Log.Error("leave out a snapshot", "snapshot", i.Name, "err", err)
			} else if listed {
				put(found, e)
			}
			return nil
		}, fmt.Sprintf("labels.%q==%q,labels.%q==\"1\"", LabelInstance, s.opts.Instance, LabelLayer))
		if err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("list snapshots of %s: %w", name, err))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bots, s.broken = found, broken
	return errors.Join(errs...)
}

func put(in map[sandbox.Bot]map[sandbox.SnapshotName]Entry, e Entry) {
	if in[e.Bot] == nil {
		in[e.Bot] = map[sandbox.SnapshotName]Entry{}
	}
	in[e.Bot][e.Name] = e
}

// Get finds a snapshot. sandbox.ErrNotFound if the bot has none of that name.
func (s *Store) Get(bot sandbox.Bot, name sandbox.SnapshotName) (Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.bots[bot][name]
	if !ok {
		return Entry{}, fmt.Errorf("snapshot %s: %w", name, sandbox.ErrNotFound)
	}
	return e, nil
}

// ByID finds a snapshot by its id.
func (s *Store) ByID(bot sandbox.Bot, id string) (Entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.bots[bot] {
		if e.ID == id {
			return e, true
		}
	}
	return Entry{}, false
}

// All lists the snapshots of one bot, or of all if bot is "", by creation, then
// name.
func (s *Store) All(bot sandbox.Bot) []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Entry
	for b, m := range s.bots {
		if bot != "" && b != bot {
			continue
		}
		for _, e := range m {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, order)
	return all
}

// Published puts an entry into the index whose labels the commit has written.
func (s *Store) Published(e Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	put(s.bots, e)
}

// Publish makes a committed layer a listed snapshot. Uses must have been called
// for its snapshotter.
func (s *Store) Publish(ctx context.Context, e Entry) error {
	l, err := e.Labels(s.opts.Instance)
	if err != nil {
		return err
	}
	sn := s.opts.Snapshotter(e.Record.Spec.Snapshotter)
	if _, err := sn.Update(ctx, snapshots.Info{Name: e.ID, Labels: l}, "labels"); err != nil {
		return fmt.Errorf("write record of snapshot %s: %w", e.Name, err)
	}
	s.Published(e)
	return nil
}

// Unlist makes a snapshot one that no longer exists: containerd collects its
// layer as soon as nothing stands on it, and its tree is removed.
func (s *Store) Unlist(ctx context.Context, e Entry) error {
	if err := s.Release(ctx, e.Record.Spec.Snapshotter, e.ID); err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.bots[e.Bot], e.Name)
	s.mu.Unlock()
	if err := s.remeasure(ctx, e); err != nil {
		s.opts.Log.Warn("measure the snapshot after one that is deleted", "bot", e.Bot, "snapshot", e.Name, "err", err)
	}
	return s.RemoveTree(ctx, e.ID)
}

// remeasure counts for the snapshot after one that is gone the data that only
// that one was counted for: what both have is linked.
func (s *Store) remeasure(ctx context.Context, gone Entry) error {
	var before []string
	for _, e := range s.All(gone.Bot) {
		if e.Record.Source != gone.Record.Source {
			continue
		}
		if order(e, gone) < 0 {
			before = []string{s.Data(e.ID)}
			continue
		}
		bytes, _, err := copier.Usage(ctx, s.Data(e.ID), before...)
		if err != nil {
			return err
		}
		e.Record.DataBytes = bytes
		return s.Publish(ctx, e)
	}
	return nil
}

// Release leaves a layer of ours to containerd: it goes at once if nothing
// stands on it, else with the last that does.
func (s *Store) Release(ctx context.Context, snapshotter, id string) error {
	sn := s.opts.Snapshotter(snapshotter)
	_, err := sn.Update(ctx, snapshots.Info{Name: id, Labels: LayerLabels(s.opts.Instance, false)}, "labels")
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("release layer %s: %w", id, err)
	}
	err = sn.Remove(ctx, id)
	if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsFailedPrecondition(err) {
		return fmt.Errorf("remove layer %s: %w", id, err)
	}
	s.opts.Freed()
	return nil
}
