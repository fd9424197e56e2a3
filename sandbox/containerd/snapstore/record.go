package snapstore

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"

	"moorage/sandbox"
	"moorage/sandbox/containerd/labels"
)

// Labels of committed snapshots. LabelInstance is the one that containers have.
const (
	LabelInstance = "moorage/instance"
	// LabelLayer marks a layer of a container's root filesystem: one that was
	// committed, as against those of images.
	LabelLayer = "moorage/layer"
	labelBot   = "moorage/bot"
	labelName  = "moorage/snapshot-name"
	labelMade  = "moorage/origin"
	// LabelGCRoot keeps containerd from collecting what carries it.
	LabelGCRoot = "containerd.io/gc.root"
)

// Record is what is known of a snapshot.
type Record struct {
	Container sandbox.ContainerID  `json:"container"`
	Spec      sandbox.Spec         `json:"spec"` // of that container
	ImageEnv  []string             `json:"image_env,omitempty"`
	Parent    sandbox.SnapshotName `json:"parent,omitempty"`
	Origin    sandbox.Origin       `json:"origin"`
	Note      string               `json:"note,omitempty"`
	Created   time.Time            `json:"created"`
	// Source names the data that it keeps: "" is the bot's, else the key of the
	// container whose own it was.
	Source    string `json:"source,omitempty"`
	RootBytes int64  `json:"root_bytes"` // of the layer
	DataBytes int64  `json:"data_bytes"` // of the data that no earlier snapshot has
	Files     int64  `json:"files"`      // of both
	// Unlinked: it is known that no file of the layer has several names.
	Unlinked bool `json:"unlinked,omitempty"`
}

// Entry is a snapshot in the index.
type Entry struct {
	ID     string // of the committed snapshot and of the directory
	Bot    sandbox.Bot
	Name   sandbox.SnapshotName
	Record Record
	Under  string // what its layer stands on: a layer of ours, or of an image

	updated time.Time
}

var idRE = regexp.MustCompile(`^s-[0-9a-f]{24}$`)

// NewID is a name for a snapshot that was never used.
func NewID() string {
	raw := make([]byte, 12)
	rand.Read(raw) // never fails, says crypto/rand
	return "s-" + hex.EncodeToString(raw)
}

// LayerLabels are those of a layer that belongs to no listed snapshot. root says
// that it stays although nothing stands on it.
func LayerLabels(instance string, root bool) map[string]string {
	l := map[string]string{LabelInstance: instance, LabelLayer: "1"}
	if root {
		l[LabelGCRoot] = time.Now().UTC().Format(time.RFC3339)
	}
	return l
}

// Labels are those that make a committed snapshot a listed one.
func (e Entry) Labels(instance string) (map[string]string, error) {
	l := LayerLabels(instance, true)
	l[labelBot], l[labelName], l[labelMade] = string(e.Bot), string(e.Name), string(e.Record.Origin)
	if err := labels.Put(l, e.Record); err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", e.Name, err)
	}
	return l, nil
}

// decode reads an entry back; listed is false for a layer that is none.
func decode(i snapshots.Info) (e Entry, listed bool, err error) {
	if i.Labels[labelName] == "" || i.Kind != snapshots.KindCommitted {
		return e, false, nil
	}
	e = Entry{ID: i.Name, Under: i.Parent, Bot: sandbox.Bot(i.Labels[labelBot]), Name: sandbox.SnapshotName(i.Labels[labelName]), updated: i.Updated}
	if !idRE.MatchString(e.ID) {
		return e, false, fmt.Errorf("read record of snapshot %.80q: that is no id", e.ID)
	}
	if err := labels.Get(i.Labels, &e.Record); err != nil {
		return e, false, fmt.Errorf("read record of snapshot %s: %w", e.ID, err)
	}
	e.Record.Spec.Ref = sandbox.Ref{Bot: e.Bot, ID: e.Record.Container}
	return e, true, nil
}

// IsLoose reports whether a layer of ours belongs to no listed snapshot.
func IsLoose(i snapshots.Info) bool {
	return i.Kind == snapshots.KindCommitted && i.Labels[LabelLayer] != "" && i.Labels[labelName] == ""
}

// Snapshot is the entry as the Manager sees it.
func (e Entry) Snapshot() sandbox.Snapshot {
	r := e.Record
	l := map[string]string{labelBot: string(e.Bot), labelName: string(e.Name), labelMade: string(r.Origin)}
	spec := r.Spec
	spec.Ref = sandbox.Ref{Bot: e.Bot, ID: r.Container}
	updated := e.updated
	if updated.Before(r.Created) {
		updated = r.Created
	}
	return sandbox.Snapshot{
		Name: e.Name, Bot: e.Bot, Spec: spec, Parent: r.Parent, Origin: r.Origin, Note: r.Note,
		CreatedAt: r.Created, UpdatedAt: updated, Size: r.RootBytes + r.DataBytes, Files: r.Files, Labels: l,
	}
}

// order sorts by creation, then name.
func order(a, b Entry) int {
	if c := a.Record.Created.Compare(b.Record.Created); c != 0 {
		return c
	}
	return strings.Compare(string(a.Name), string(b.Name))
}
