package containerd

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/containerd/containerd/v2/core/containers"

	"moorage/sandbox"
)

// Labels of a container. Together they are its whole record.
const (
	labelBot       = "moorage/bot"
	labelContainer = "moorage/container"
	labelInstance  = "moorage/instance"
	labelSpec      = "moorage/spec."      // and a number from 0: pieces of one JSON record
	labelSnapshot  = "moorage/snapshot"   // key of the active snapshot
	labelUpdated   = "moorage/updated"    // when it was made or touched, RFC 3339 with nanoseconds
	labelCreatedBy = "moorage/created-by" // always "moorage"
	// labelActive is on a snapshot: the key of the container whose root it is.
	labelActive = "moorage/active"
	// labelGCRoot keeps containerd from collecting what carries it.
	labelGCRoot = "containerd.io/gc.root"
)

const (
	// recordMax is the most bytes that a record's JSON may have.
	recordMax = 32 << 10
	// pieceMax is the most bytes of it in one label: containerd takes 4,096 of
	// key and value together.
	pieceMax = 3500
)

// record is what is known of a container beside its labels' own facts.
type record struct {
	Spec     sandbox.Spec `json:"spec"`
	ImageEnv []string     `json:"image_env,omitempty"` // the image may be gone when the container starts

	snapshot string    // its active snapshot
	created  time.Time // as containerd says
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
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	if len(b) > recordMax {
		return nil, fmt.Errorf("%w: image, env and limits have %d bytes as JSON, at most %d", sandbox.ErrInvalid, len(b), recordMax)
	}
	l := map[string]string{
		labelBot:       string(r.Spec.Ref.Bot),
		labelContainer: string(r.Spec.Ref.ID),
		labelInstance:  instance,
		labelSnapshot:  r.snapshot,
		labelUpdated:   stamp(r.updated),
		labelCreatedBy: "moorage",
	}
	for i := 0; len(b) > 0; i++ {
		n := pieceLen(b)
		l[labelSpec+strconv.Itoa(i)] = string(b[:n])
		b = b[n:]
	}
	return l, nil
}

// pieceLen is how much of b fits a label without cutting a character in two:
// label values cross gRPC as UTF-8.
func pieceLen(b []byte) int {
	if len(b) <= pieceMax {
		return len(b)
	}
	n := pieceMax
	for !utf8.RuneStart(b[n]) {
		n--
	}
	return n
}

// decode reads a record back.
func decode(c containers.Container) (record, error) {
	var b strings.Builder
	for i := 0; ; i++ {
		piece, ok := c.Labels[labelSpec+strconv.Itoa(i)]
		if !ok {
			break
		}
		b.WriteString(piece)
	}
	var r record
	if err := json.Unmarshal([]byte(b.String()), &r); err != nil {
		return record{}, fmt.Errorf("read record of %s: %w", c.ID, err)
	}
	r.Spec.Ref = sandbox.Ref{Bot: sandbox.Bot(c.Labels[labelBot]), ID: sandbox.ContainerID(c.Labels[labelContainer])}
	r.snapshot = c.Labels[labelSnapshot]
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
