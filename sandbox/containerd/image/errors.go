package image

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"

	"moorage/sandbox"
)

// Causes that are found here and not by containerd.
var (
	errTooLong  = fmt.Errorf("given up after %s", pullTimeout)
	errPlatform = errors.New("it is for another platform")
	errNoImage  = errors.New("it is an artifact, but no container image")
)

func isPlatform(err error) bool {
	return errors.Is(err, errPlatform) || strings.Contains(err.Error(), "no match for platform")
}

// isFull also looks at the text, which is all that parts of containerd keep.
func isFull(err error) bool {
	for _, full := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, full) || strings.Contains(err.Error(), full.Error()) {
			return true
		}
	}
	return false
}

// maxCause is the most bytes of a cause that is passed on as it is.
const maxCause = 300

// explain makes an ErrImage with a short, plain cause of an error of containerd.
// An error that wraps a sentinel of ours already is left as it is.
func explain(ref string, err error) error {
	for _, own := range []error{sandbox.ErrImage, sandbox.ErrInvalid, sandbox.ErrUnavailable, sandbox.ErrLimit} {
		if errors.Is(err, own) {
			return err
		}
	}
	return fmt.Errorf("image %s: %w: %s", ref, sandbox.ErrImage, cause(err))
}

func cause(err error) string {
	host, text := "", err.Error()
	if u := (*url.Error)(nil); errors.As(err, &u) {
		if parsed, perr := url.Parse(u.URL); perr == nil {
			host = " " + parsed.Host
		}
	}
	var status remoteerrors.ErrUnexpectedStatus
	switch {
	case isPlatform(err):
		return "there is no image for " + platform()
	case errors.Is(err, docker.ErrInvalidAuthorization), strings.Contains(text, "authorization failed"):
		return "the registry wants (other) credentials, or the image does not exist"
	case errors.As(err, &status):
		return answer(status)
	case isNetwork(err):
		return "the registry" + host + " cannot be reached: " + network(err)
	case errdefs.IsNotFound(err):
		return "not found in the registry"
	case errors.Is(err, context.Canceled):
		return "the pull was given up, the server is closing"
	default:
		return clip(text)
	}
}

// answer says in words what an HTTP status means.
func answer(s remoteerrors.ErrUnexpectedStatus) string {
	switch s.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "the registry wants (other) credentials, or the image does not exist"
	case http.StatusNotFound:
		return "not found in the registry"
	case http.StatusTooManyRequests:
		return "the registry has had too many requests; try again later"
	default:
		return "the registry answered " + clip(s.Status)
	}
}

func isNetwork(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	var u *url.Error
	return errors.As(err, &op) || errors.As(err, &dns) || errors.As(err, &u)
}

func network(err error) string {
	var dns *net.DNSError
	var errno syscall.Errno
	var timeout net.Error
	switch {
	case errors.As(err, &dns):
		return "its name is not known (" + clip(dns.Err) + ")"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		return "it does not answer"
	}
	var u *url.Error
	if errors.As(err, &u) {
		return clip(u.Err.Error())
	}
	return clip(err.Error())
}

func clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxCause {
		return strings.ToValidUTF8(s[:maxCause], "") + " ..."
	}
	return s
}
