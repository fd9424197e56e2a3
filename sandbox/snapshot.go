package sandbox

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"time"
)

// SnapshotName is a bot's own name for a snapshot: SnapshotPattern. Two bots may
// use the same. Make it with ParseSnapshotName.
type SnapshotName string

// SnapshotPattern is what a snapshot's name must match, whole. It has room for
// the default name: a container's id, "-" and a time with nanoseconds.
const SnapshotPattern = `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`

var snapshotRE = regexp.MustCompile(`^` + SnapshotPattern + `$`)

// ParseSnapshotName checks a snapshot's name. The error wraps ErrInvalid.
func ParseSnapshotName(s string) (SnapshotName, error) {
	if !snapshotRE.MatchString(s) {
		return "", fmt.Errorf("snapshot_name %.140q: %w: a name is 1 to 128 of A-Z a-z 0-9 . _ - and begins with a letter or digit", s, ErrInvalid)
	}
	return SnapshotName(s), nil
}

// DefaultSnapshotName is <container>-<UTC time with nanoseconds>.
func DefaultSnapshotName(id ContainerID, t time.Time) SnapshotName {
	return SnapshotName(string(id) + "-" + t.UTC().Format("20060102T150405.000000000Z"))
}

// MaxNote is the most bytes that a snapshot's note may have.
const MaxNote = 1000

// Origin is why a snapshot was made.
type Origin string

// The origins of snapshots.
const (
	OriginAsked   Origin = "asked"   // by create_snapshot
	OriginRestore Origin = "restore" // a restore kept the state before it
	OriginImport  Origin = "import"  // from an image tar
)

// Snapshot is the kept state of a container: its root filesystem and the bot's
// data, both as they were at one moment. It never changes.
type Snapshot struct {
	Name   SnapshotName
	Bot    Bot
	Spec   Spec         // of the container that it was taken of, as it was then; Spec.Ref may be gone
	Parent SnapshotName // the snapshot on which the container's root filesystem stood; "" if on an image
	Origin Origin
	Note   string

	CreatedAt time.Time
	UpdatedAt time.Time
	Size      int64 // bytes on disk of what it holds beyond its parent, the data included
	Files     int64 // files and directories of that
	Labels    map[string]string
}

// SnapshotRequest asks for a snapshot of a container, running or not.
type SnapshotRequest struct {
	Ref    Ref
	Name   SnapshotName // ErrAlreadyExists if the bot has one of that name
	Origin Origin
	Note   string

	// Hold keeps the operations of the agents of these containers back until
	// release is called: nothing new begins. quiet says that nothing was in
	// flight either; if so nothing is until release. It is called right before
	// the state is fixed, and released as soon as it is; a second time if the
	// container turns out to be busier than it seemed. Nil: the runtime has to
	// take it that operations are in flight.
	Hold func(ctx context.Context) (release func(), quiet bool)
}

// Taken is a snapshot that was made.
type Taken struct {
	Snapshot Snapshot
	// Paused is how long processes were frozen, or operations held back,
	// whichever is longer. 0 if the container did not run.
	Paused time.Duration
	// Shared are the other running containers of the bot that were frozen for
	// that time too, because they share its data. Sorted.
	Shared []ContainerID
}

// RestoreRequest asks to put a container, and the data that it has, back to a
// snapshot.
type RestoreRequest struct {
	Ref    Ref
	Name   SnapshotName // to go back to
	Before SnapshotName // the present state is kept under this name
	Note   string       // of that
}

// DiffRequest asks what changed from a snapshot to another or to the present.
type DiffRequest struct {
	Bot  Bot
	From SnapshotName
	To   SnapshotName // "": the present state of Container
	// Container whose present state is compared if To is "". "": the one that
	// From was taken of, ErrNotFound if that is gone.
	Container ContainerID
	// Path, absolute in the container, limits it to this file or what is below
	// this directory. "" or "/": all.
	Path  string
	Patch bool // with unified diffs of text files

	Offset, Limit int // of changes, sorted by path
	MaxPatch      int // bytes of patches in all; what does not fit is left out and said in Change.PatchNote
}

// ChangeKind is what happened to a path.
type ChangeKind byte

// The kinds of changes.
const (
	Added    ChangeKind = 'A'
	Modified ChangeKind = 'M' // content, or only mode, owner, attributes or type
	Deleted  ChangeKind = 'D'
)

// Change is one path that differs. Data is told under the first of the
// containers' data mounts only.
type Change struct {
	Kind      ChangeKind
	Path      string // absolute, in the container
	Dir       bool
	Size      int64  // bytes, of a regular file, after; before if it was deleted
	Patch     string // unified diff, if asked for and there is one
	PatchNote string // why there is none: binary, too large, mode only
}

// Diff is a page of changes.
type Diff struct {
	Changes                  []Change
	Total                    int // of all pages
	Added, Modified, Deleted int // of all pages
}

// Snapshots is what a Runtime that can keep states of containers does besides.
// The Manager never calls two of its methods that change something for the same
// bot at once, nor together with Create or Delete of a container of that bot, nor
// with Start or Stop of the container that it is about and of those that share
// its data; reading ones may come at any time.
//
// Each change is complete or has not happened, also when the process is killed
// in the middle of it: Open finishes or undoes it.
type Snapshots interface {
	// TakeSnapshot keeps the container's state. Containers of the bot that share
	// its data are frozen with it. ErrAlreadyExists, ErrNotFound, ErrUnsupported
	// (a snapshotter that cannot), ErrNoSpace.
	TakeSnapshot(ctx context.Context, req SnapshotRequest) (Taken, error)

	// ListSnapshots returns those of one bot, or of all if bot is "", by creation
	// time, then name.
	ListSnapshots(ctx context.Context, bot Bot) ([]Snapshot, error)

	// DeleteSnapshot removes one. ErrConflict if a container was forked from it
	// and still exists. What of it other snapshots or containers stand on is kept,
	// unlisted, while they need it.
	DeleteSnapshot(ctx context.Context, bot Bot, name SnapshotName) error

	// RestoreSnapshot puts a container that does not run back; ErrConflict if it,
	// or another container that shares its data, runs. It returns the snapshot
	// that keeps the state before.
	RestoreSnapshot(ctx context.Context, req RestoreRequest) (Snapshot, error)

	// DiffSnapshot compares by the layers above what both have in common; the
	// image itself is never walked.
	DiffSnapshot(ctx context.Context, req DiffRequest) (Diff, error)

	// ExportSnapshot writes an OCI image tar that `docker load` takes too; the
	// data is its last layer.
	ExportSnapshot(ctx context.Context, bot Bot, name SnapshotName, w io.Writer) error

	// ImportSnapshot makes a snapshot of what ExportSnapshot has written, or of
	// any OCI image tar. ErrAlreadyExists, ErrImage if it is none.
	ImportSnapshot(ctx context.Context, bot Bot, name SnapshotName, tar io.Reader) (Snapshot, error)
}
