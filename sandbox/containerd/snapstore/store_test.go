package snapstore

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
)

var errLost = errors.New("snapshotter not loaded")

// lost is a snapshotter that containerd no longer has.
type lost struct{ snapshots.Snapshotter }

func (lost) Walk(context.Context, snapshots.WalkFunc, ...string) error { return errLost }

// A snapshotter that had snapshots is asked for them whatever the configuration
// says now; if it does not answer, that is told, so that nothing is swept.
func TestLoadAsksWhoeverWasUsed(t *testing.T) {
	var asked []string
	o := Options{Instance: "i", Dir: t.TempDir(), Freed: func() {}, Log: slog.New(slog.DiscardHandler), Snapshotter: func(name string) snapshots.Snapshotter {
		asked = append(asked, name)
		return lost{}
	}}
	s := New(o)
	if err := errors.Join(s.Prepare(), s.MakeTree("s-1", "old")); err != nil {
		t.Fatal(err)
	}
	if err := New(o).Load(t.Context()); !errors.Is(err, errLost) || len(asked) != 1 || asked[0] != "old" {
		t.Errorf("%v was asked, and the outcome is %v", asked, err)
	}
}

// Only what belongs to nothing is swept.
func TestSweep(t *testing.T) {
	s := New(Options{Instance: "i", Dir: t.TempDir(), Freed: func() {}, Log: slog.New(slog.DiscardHandler)})
	err := errors.Join(s.Prepare(), s.MakeTree("s-listed", "x"), s.MakeTree("s-kept", "x"), s.MakeTree("s-loose", "x"),
		s.MakeOwn("m-1"), s.MakeOwn("m-2"), s.MakeTmp("s-tmp"))
	if err != nil {
		t.Fatal(err)
	}
	s.Published(Entry{ID: "s-listed", Bot: "b", Name: "n"})
	if err := s.Sweep(t.Context(), map[string]bool{"m-1": true}, map[string]bool{"s-kept": true}); err != nil {
		t.Fatal(err)
	}
	for path, stays := range map[string]bool{
		s.Data("s-listed"): true, s.Data("s-kept"): true, s.Data("s-loose"): false,
		s.Own("m-1"): true, s.Own("m-2"): false, s.Tmp("s-tmp"): false,
	} {
		if _, err := os.Stat(path); (err == nil) != stays {
			t.Errorf("%s: %v", path, err)
		}
	}
}
