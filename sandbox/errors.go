package sandbox

import (
	"errors"
	"fmt"
)

// Sentinels of this package. A Runtime and the Manager wrap them with the value
// seen and the cause; nothing else about an error is promised.
var (
	ErrInvalid       = errors.New("invalid argument")
	ErrNotFound      = errors.New("not found")
	ErrAlreadyExists = errors.New("already exists")
	ErrConflict      = errors.New("conflict")
	ErrNotRunning    = errors.New("not running")
	// ErrImage: an image does not exist, cannot be fetched, or is no image.
	ErrImage = errors.New("image unavailable")
	// ErrImagePending: the wait for an image ended, its pull goes on.
	ErrImagePending = errors.New("image is still being pulled")
	ErrLimit        = errors.New("limit exceeded")
	ErrUnsupported  = errors.New("unsupported")
	// ErrNoSpace: a filesystem or a quota is full.
	ErrNoSpace = errors.New("no space left")
	// ErrUnavailable: the container, its agent or the engine cannot answer now.
	ErrUnavailable = errors.New("unavailable")
	// ErrPending: the wait for a change ended, the change goes on.
	ErrPending = errors.New("it is not done yet and goes on")
	// ErrNoSnapshot is the ErrNotFound of a snapshot.
	ErrNoSnapshot = fmt.Errorf("%w: there is no such snapshot", ErrNotFound)
)
