package image

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"

	"moorage/sandbox"
)

const (
	dialTimeout   = 10 * time.Second
	headerTimeout = 30 * time.Second // from request to the answer's header
	idleTimeout   = 60 * time.Second // without a byte in the middle of a blob
)

// builtIn is a registry that exists nowhere: its images are made here.
const builtIn = "moorage.local"

// resolver speaks to the registry of an image.
func (s *Store) resolver(ref string) (remotes.Resolver, error) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return nil, fmt.Errorf("image %.80q: %w: %v", ref, sandbox.ErrInvalid, err)
	}
	if reference.Domain(named) == builtIn {
		return nil, fmt.Errorf("image %s: %w: %s has only %s", ref, sandbox.ErrImage, builtIn, sandbox.BaseImage)
	}
	c := httpClient()
	return docker.NewResolver(docker.ResolverOptions{
		Hosts: docker.ConfigureDefaultRegistries(
			docker.WithClient(c),
			docker.WithPlainHTTP(s.plainHTTP),
			docker.WithAuthorizer(docker.NewDockerAuthorizer(
				docker.WithAuthClient(c), docker.WithAuthCreds(credentials),
			)),
		),
	}), nil
}

// plainHTTP: only to this machine, or where the operator says so.
func (s *Store) plainHTTP(host string) (bool, error) {
	if slices.Contains(s.opts.InsecureRegistries, host) {
		return true, nil
	}
	return docker.MatchLocalhost(host)
}

func httpClient() *http.Client {
	d := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	return &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := d.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return idleConn{c}, nil
		},
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          10,
		IdleConnTimeout:       30 * time.Second,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: headerTimeout,
	}}
}

// idleConn fails when the other end is silent for idleTimeout.
type idleConn struct{ net.Conn }

func (c idleConn) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(idleTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// credentials are those of `docker login` and of podman, if there are any.
func credentials(host string) (user, secret string, err error) {
	if host == "registry-1.docker.io" {
		host = "index.docker.io"
	}
	auth, err := authn.DefaultKeychain.Resolve(registryName(host))
	if err != nil {
		return "", "", fmt.Errorf("read credentials for %s: %w", host, err)
	}
	config, err := auth.Authorization()
	if err != nil {
		return "", "", fmt.Errorf("read credentials for %s: %w", host, err)
	}
	if config.IdentityToken != "" {
		return "", config.IdentityToken, nil
	}
	return config.Username, config.Password, nil
}

// registryName is an authn.Resource.
type registryName string

func (r registryName) String() string      { return string(r) }
func (r registryName) RegistryStr() string { return strings.TrimSuffix(string(r), "/") }
