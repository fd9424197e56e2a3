package fsbridge

import "time"

// Version is the wire's version. It changes when an older agent or server could
// misread a newer one; then the server restarts the container to put its own
// agent there.
const Version = 2

// Limits of the wire.
const (
	MaxJSON      = 4 << 20          // bytes of JSON in one frame
	MaxData      = 1 << 20          // bytes of data in one frame
	Window       = 1 << 20          // bytes of a stream that may be under way without credit
	MaxInFlight  = 1024             // requests in flight on one connection
	HelloTimeout = 5 * time.Second  // from accept to hello
	StallTimeout = 30 * time.Second // a frame that was begun must be whole after this
)

// Hello is what an agent says first.
type Hello struct {
	Version int    `json:"version"`
	Build   string `json:"build"`   // which agent binary: a hash of it, or "devel"
	BootID  string `json:"boot_id"` // random at the agent's start: the same after a redial
	PID     int    `json:"pid"`     // as the agent sees itself: 1 in a container
}

// Welcome is what the server answers.
type Welcome struct {
	Version int `json:"version"`
	// DataDir is where relative paths start and commands run by default.
	DataDir Path `json:"data_dir"`
}
