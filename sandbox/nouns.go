package sandbox

import (
	"fmt"
	"regexp"
	"time"
)

// Bot is the name of a caller: [A-Za-z0-9_-]{1,64}. Make it with ParseBot.
type Bot string

// ContainerID is a bot's own name for a container: [a-z0-9][a-z0-9._-]{0,62}.
// Two bots may use the same. Make it with ParseContainerID.
type ContainerID string

// Ref names one container.
type Ref struct {
	Bot Bot
	ID  ContainerID
}

func (r Ref) String() string { return string(r.Bot) + "/" + string(r.ID) }

const (
	botPattern = `[A-Za-z0-9_-]{1,64}`
	// IDPattern is what a container id must match, whole.
	IDPattern = `[a-z0-9][a-z0-9._-]{0,62}`
)

var (
	botRE = regexp.MustCompile(`^` + botPattern + `$`)
	idRE  = regexp.MustCompile(`^` + IDPattern + `$`)
)

// ParseBot checks a bot's name. The error wraps ErrInvalid.
func ParseBot(s string) (Bot, error) {
	if !botRE.MatchString(s) {
		return "", fmt.Errorf("bot name %.80q: %w: a bot's name is 1 to 64 of A-Z a-z 0-9 _ -", s, ErrInvalid)
	}
	return Bot(s), nil
}

// ParseContainerID checks a container id. The error wraps ErrInvalid.
func ParseContainerID(s string) (ContainerID, error) {
	if !idRE.MatchString(s) {
		return "", fmt.Errorf("container_id %.80q: %w: an id is 1 to 63 of a-z 0-9 . _ - and begins with a letter or digit", s, ErrInvalid)
	}
	return ContainerID(s), nil
}

// Limits bound what a container may use. A zero field means the default of the
// Manager's options.
type Limits struct {
	MemoryMB int64   `json:"memory_mb,omitempty"` // MiB, swap included
	CPUs     float64 `json:"cpus,omitempty"`      // CPU seconds per second
	PIDs     int64   `json:"pids,omitempty"`      // processes and threads, without the agent's
}

// Spec is a container as it was asked for, every default filled in. It is kept
// as JSON in the container's labels.
type Spec struct {
	Ref         Ref               `json:"-"`
	Image       string            `json:"image"` // normalised, with tag or digest
	Snapshotter string            `json:"snapshotter"`
	Env         map[string]string `json:"env,omitempty"`
	Limits      Limits            `json:"limits"`

	// FromSnapshot is the snapshot that a fork was made from; "" if none.
	FromSnapshot SnapshotName `json:"from_snapshot,omitempty"`
	// OwnData: /data is this container's own, a fork's, and goes with it. Else it
	// is the bot's, which all its other containers share.
	OwnData bool `json:"own_data,omitempty"`
}

// State is where a container is in its life.
type State string

// The states of a container. Any call that needs a Stopped one starts it.
const (
	StateRunning State = "running"
	StateStopped State = "stopped"
	StatePaused  State = "paused"
)

// Status is a container as it is.
type Status struct {
	Spec        Spec
	State       State
	SnapshotKey string
	CreatedAt   time.Time
	UpdatedAt   time.Time // of its record: created, or asked for again
	Labels      map[string]string
	DataMounts  []string // where the bot's data is in the container
	Userns      bool     // root in it is an unprivileged user of the host, when it runs
}

// Usage is what a running container uses at the moment.
type Usage struct {
	MemoryBytes int64   `json:"memory_bytes"`
	PIDs        int64   `json:"pids"`        // processes and threads, without the agent's
	CPUSeconds  float64 `json:"cpu_seconds"` // since the task started
}

// Image is an image in the store.
type Image struct {
	Name      string    // normalised
	Digest    string    // of its manifest or index
	Size      int64     // bytes of its blobs, compressed as stored
	CreatedAt time.Time // when it came into the store
}

// Progress is told while an image is fetched. Total is 0 while it is not known.
// The function must return at once.
type Progress func(done, total int64, what string)
