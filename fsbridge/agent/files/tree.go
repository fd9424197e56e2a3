package files

import (
	"context"
	"log/slog"
)

// Options are what a Tree may be told.
type Options struct {
	// Spool is a directory in which the Tree notes where it has temporary files;
	// "" means that those of a killed agent stay.
	Spool string
	// Boot is the agent's boot id: letters and digits, other in each life of it.
	Boot string
	Log  *slog.Logger // nil: discarded
}

// Tree is the container's file system. Its methods may be called from any number
// of goroutines; each blocks in system calls, so the caller bounds how many.
type Tree struct {
	boot      string
	log       *slog.Logger
	revisions revisions
	locks     locks
	journal   journal
	large     chan struct{} // held by a change of more than largeChange bytes
}

// largeChange is how large a file may be for any number of them to be changed at
// once; those above take turns, so that the agent's memory is bounded.
const largeChange = 1 << 20

// New makes a Tree. It starts nothing and touches no file.
func New(o Options) *Tree {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Tree{
		boot: o.Boot, log: o.Log, journal: journal{spool: o.Spool, boot: o.Boot}, large: make(chan struct{}, 1),
	}
}

// Clean removes the temporary files that agents before this one left when they
// were killed.
func (t *Tree) Clean(ctx context.Context) {
	if n := t.journal.clean(ctx); n > 0 {
		t.log.Info("temporary files of a killed agent removed", "files", n)
	}
}

// Close forgets what the Tree has open. No operation may be under way.
func (t *Tree) Close() { t.journal.close() }
