package containerd

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/containerd/containerd/v2/core/containers"

	"moorage/sandbox"
	"moorage/sandbox/containerd/idmap"
	"moorage/sandbox/containerd/labels"
)

// Labels of a container. Together they are its whole record.
const (
	labelBot       = "moorage/bot"
	labelContainer = "moorage/container"
	labelInstance  = "moorage/instance"
	labelSnapshot  = "moorage/snapshot"   // key of the active snapshot
	labelIDs       = "moorage/ids"        // host ids as idmap.Range writes them, of its last start
	labelUpdated   = "moorage/updated"    // when it was made or touched, RFC 3339 with nanoseconds
	labelCreatedBy = "moorage/created-by" // always "moorage"
	// labelActive is on a snapshot: the key of the container whose root it is.
	labelActive = "moorage/active"
	// labelGCRoot keeps containerd from collecting what carries it.
	labelGCRoot = "containerd.io/gc.root"
)

// record is what is known of a container beside its labels' own facts.
type record struct {
	Spec     sandbox.Spec `json:"spec"`
	ImageEnv []string     `json:"image_env,omitempty"` // the image may be gone when the container starts

	ForkOf string `json:"fork_of,omitempty"` // id of the snapshot that it was made from

	snapshot string      // its active snapshot
	ids      idmap.Range // of its next or present task; zero without a user namespace
	created  time.Time   // as containerd says
	updated  time.Time
	image    string
}

// keyOf is how containerd and runc know a container.
func keyOf(instance string, ref sandbox.Ref) string {
	sum := sha256.Sum256([]byte(instance + "\x00" + string(ref.Bot) + "\x00" + string(ref.ID)))
	return "m-" + hex.EncodeToString(sum[:12])
}

// labels encodes a record. ErrInvalid if it is too large.
func (r record) labels(instance string) (map[string]string, error) {
	l := map[string]string{
		labelBot:       string(r.Spec.Ref.Bot),
		labelContainer: string(r.Spec.Ref.ID),
		labelInstance:  instance,
		labelSnapshot:  r.snapshot,
		labelIDs:       r.ids.String(),
		labelUpdated:   stamp(r.updated),
		labelCreatedBy: "moorage",
	}
	if err := labels.Put(l, r); errors.As(err, new(labels.TooLargeError)) {
		return nil, fmt.Errorf("image, env and limits: %w: %w", sandbox.ErrInvalid, err)
	} else if err != nil {
		return nil, err
	}
	return l, nil
}

// decode reads a record back.
func decode(c containers.Container) (record, error) {
	var r record
	if err := labels.Get(c.Labels, &r); err != nil {
		return record{}, fmt.Errorf("read record of %s: %w", c.ID, err)
	}
	r.Spec.Ref = sandbox.Ref{Bot: sandbox.Bot(c.Labels[labelBot]), ID: sandbox.ContainerID(c.Labels[labelContainer])}
	r.snapshot = c.Labels[labelSnapshot]
	r.ids = idsOf(c)
	r.created = c.CreatedAt
	r.image = c.Image
	var err error
	if r.updated, err = time.Parse(time.RFC3339Nano, c.Labels[labelUpdated]); err != nil {
		r.updated = c.UpdatedAt
	}
	return r, nil
}

// stamp has all nine digits, so that stamps sort as they are.
func stamp(t time.Time) string {
	return t.UTC().Format("2006-01-02T15:04:05.000000000Z07:00")
}

// checkSpec refuses what would not survive in a process's environment.
func checkSpec(s sandbox.Spec) error {
	for k, v := range s.Env {
		if k == "" || strings.ContainsAny(k, "=\x00") || strings.Contains(v, "\x00") {
			return fmt.Errorf("env %.80q: %w: a name has no = and no NUL, a value no NUL", k, sandbox.ErrInvalid)
		}
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("env %.80q: %w: not UTF-8", k, sandbox.ErrInvalid)
		}
	}
	if s.Limits.MemoryMB < 0 || s.Limits.CPUs < 0 || s.Limits.PIDs < 0 {
		return fmt.Errorf("limits %+v: %w: none may be below 0", s.Limits, sandbox.ErrInvalid)
	}
	return nil
}
