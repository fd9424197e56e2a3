package sandbox

import (
	"context"
	"io"
	"time"
)

// Runtime makes containers and runs them. The Manager is its one caller and
// never calls two lifecycle methods (Create, Start, Stop, Delete) for the same
// Ref at once; Connect, Status, List and Usage may come at any time.
//
// Every error wraps one of this package's sentinels where one fits: ErrNotFound
// for a Ref that has no container, which also covers containers that are not
// Moorage's own or belong to another instance.
//
// The suite in sandbox/sandboxtest says the rest, and every Runtime passes it.
//
// # A life
//
//	Create(spec)   the record and a root filesystem, nothing runs
//	Start(ref)     the agent is PID 1 and runs
//	Connect(ref)   its connection, each time it dials anew
//	Stop(ref)      no process is left, files stay
//	Start(ref)     the same files again
//	Delete(ref)    record and root filesystem are gone, the bot's data stays
type Runtime interface {
	// Create makes the container's record and root filesystem from an image that
	// is in the store (see EnsureImage), or from Spec.FromSnapshot, whose data it
	// gets as its own. ErrAlreadyExists if the Ref is taken. After an error nothing
	// is left behind.
	Create(ctx context.Context, spec Spec) error

	// Start runs the container's agent. What remains of an earlier task of it
	// (crashed, killed, or left by a dead server) is removed first. Starting a
	// running container does nothing. After an error no process of it runs.
	Start(ctx context.Context, ref Ref) error

	// Connect waits until the container's agent dials, and returns that stream;
	// the peer is checked to be the container's PID 1. A stream handed out is the
	// caller's to close. While a stream is open the agent does not dial again.
	// ErrNotRunning as soon as the container's task is seen to have ended.
	Connect(ctx context.Context, ref Ref) (io.ReadWriteCloser, error)

	// Stop ends every process: SIGTERM, then SIGKILL after grace. Stopping a
	// stopped container does nothing.
	Stop(ctx context.Context, ref Ref, grace time.Duration) error

	// Delete kills and removes the container, its record and its active
	// snapshot. With data it also removes the bot's data, which other containers
	// of the bot then see emptied. What is half removed already is no error.
	Delete(ctx context.Context, ref Ref, data bool) error

	// Touch sets the record's UpdatedAt to now.
	Touch(ctx context.Context, ref Ref) error

	// Status returns the record of one container and its state.
	Status(ctx context.Context, ref Ref) (Status, error)

	// List returns those of one bot, or of all if bot is "", in no special order.
	List(ctx context.Context, bot Bot) ([]Status, error)

	// Usage measures a running container. ErrNotRunning if it does not run.
	Usage(ctx context.Context, ref Ref) (Usage, error)

	// ImageName normalises an image's name ("busybox" is
	// "docker.io/library/busybox:latest") without looking for it. ErrInvalid for
	// a name that is none.
	ImageName(name string) (string, error)

	// EnsureImage finds an image in the store, or fetches it. It returns the
	// normalised name. One fetch per name runs at a time, shared by those who
	// wait for it; it goes on when ctx ends, and the error is then
	// ErrImagePending. Else ErrImage with the cause, or ErrInvalid for a name
	// that is none.
	EnsureImage(ctx context.Context, name string, progress Progress) (string, error)
}

// ImageStore is what the operator's commands need of images.
type ImageStore interface {
	// Import reads an image tar (OCI layout or `docker save`, gzip allowed) and
	// returns the images that it held. If the tar names none, they get name.
	Import(ctx context.Context, tar io.Reader, name string) ([]Image, error)
	// Images lists the store, sorted by name.
	Images(ctx context.Context) ([]Image, error)
	// Pull fetches an image even if one of that name is there.
	Pull(ctx context.Context, name string, progress Progress) (Image, error)
}
