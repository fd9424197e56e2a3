package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"moorage/sandbox"
)

// testRegistry is a registry on loopback, through whose handler a test can step.
type testRegistry struct {
	host   string
	blobs  atomic.Int64                                  // layers that were asked for
	before func(http.ResponseWriter, *http.Request) bool // true: it has answered
}

func newRegistry(t *testing.T) *testRegistry {
	t.Helper()
	r := &testRegistry{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/blobs/") {
			r.blobs.Add(1)
		}
		if r.before != nil && r.before(w, req) {
			return
		}
		inner.ServeHTTP(w, req)
	}))
	t.Cleanup(srv.Close)
	r.host = strings.TrimPrefix(srv.URL, "http://")
	return r
}

// image is one of random files, for a platform such as "linux/amd64".
func image(t *testing.T, platform string) v1.Image {
	t.Helper()
	img, err := random.Image(32<<10, 3)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, _ = strings.Cut(platform, "/")
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

// hugeConfig is an image whose configuration is over maxMetadata.
func hugeConfig(t *testing.T) v1.Image {
	t.Helper()
	config, err := image(t, platform()).ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Config.Env = []string{"A=" + strings.Repeat("x", maxMetadata)}
	img, err := mutate.ConfigFile(image(t, platform()), config)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func (r *testRegistry) push(t *testing.T, repo string, img v1.Image) string {
	t.Helper()
	ref, err := name.ParseReference(r.host + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	return ref.String()
}

func (r *testRegistry) pushIndex(t *testing.T, repo string, archs ...string) string {
	t.Helper()
	idx := v1.ImageIndex(empty.Index)
	for _, p := range archs {
		img := image(t, p)
		os, arch, _ := strings.Cut(p, "/")
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{
			Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: os, Architecture: arch}},
		})
	}
	ref, err := name.ParseReference(r.host + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, idx); err != nil {
		t.Fatal(err)
	}
	return ref.String()
}

func TestPull(t *testing.T) {
	s, r := newStore(t), newRegistry(t)
	ctx := context.Background()
	one := r.push(t, "one:1", image(t, platform()))
	var mu sync.Mutex
	var reports []string
	got, err := s.Ensure(ctx, one, func(done, total int64, what string) {
		mu.Lock()
		defer mu.Unlock()
		reports = append(reports, fmt.Sprintf("%d/%d %s", done, total, what))
	})
	if err != nil || got != one {
		t.Fatalf("%q, %v", got, err)
	}
	if len(reports) == 0 || !strings.HasSuffix(reports[len(reports)-1], "image is here") {
		t.Errorf("reports: %q", reports)
	}
	asked := r.blobs.Load()
	if _, err := s.Ensure(ctx, one, nil); err != nil || r.blobs.Load() != asked {
		t.Errorf("what is here was fetched again: %v", err)
	}
	if u, err := s.Unpacked(ctx, one, "overlayfs"); err != nil || u.ChainID == "" {
		t.Errorf("%+v, %v", u, err)
	}
	many := r.pushIndex(t, "many:1", "linux/s390x", platform())
	if img, err := s.Pull(ctx, many, nil); err != nil || img.Name != many || img.Size == 0 {
		t.Errorf("%+v, %v", img, err)
	}
	changed := r.push(t, "one:1", image(t, platform()))
	before, _ := s.Images(ctx)
	if _, err := s.Pull(ctx, changed, nil); err != nil {
		t.Fatal(err)
	}
	after, _ := s.Images(ctx)
	if len(before) != 2 || len(after) != 2 || before[1].Digest == after[1].Digest {
		t.Errorf("pulled again: %+v, then %+v", before, after)
	}
}

func TestPullFails(t *testing.T) {
	s := newStore(t)
	ctx := context.Background()
	status := func(code int, header ...string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			return true
		}
	}
	onLayer := func(f func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, req *http.Request) bool {
			return req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/blobs/") && f(w, req)
		}
	}
	for name, c := range map[string]struct {
		before func(http.ResponseWriter, *http.Request) bool
		want   string
	}{
		"unauthorised":      {status(401, "WWW-Authenticate", `Basic realm="x"`), "credentials"},
		"forbidden":         {status(403), "credentials"},
		"too many requests": {status(429), "too many requests"},
		"broken registry":   {status(500), "500"},
		"layer is gone":     {onLayer(status(404)), "not found"},
		"layer is garbage": {onLayer(func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = io.WriteString(w, "garbage")
			return true
		}), ""},
	} {
		r := newRegistry(t)
		ref := r.push(t, "x:1", image(t, platform()))
		r.before = c.before
		_, err := s.Ensure(ctx, ref, nil)
		t.Logf("%s: %v", name, err)
		expectCause(t, err, c.want)
	}
	expectNothing(t, s)
}

func TestPullRefuses(t *testing.T) {
	s := newStore(t)
	ctx := context.Background()
	r := newRegistry(t)
	_, err := s.Ensure(ctx, r.host+"/none:1", nil)
	expectCause(t, err, "not found in the registry")
	_, err = s.Ensure(ctx, r.push(t, "foreign:1", image(t, "linux/s390x")), nil)
	expectCause(t, err, "no image for "+platform())
	_, err = s.Ensure(ctx, r.pushIndex(t, "foreign:2", "linux/s390x", "linux/ppc64le"), nil)
	expectCause(t, err, "no image for "+platform())
	_, err = s.Ensure(ctx, r.push(t, "huge:1", hugeConfig(t)), nil)
	expectCause(t, err, "at most")
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	_, err = s.Ensure(ctx, strings.TrimPrefix(down.URL, "http://")+"/x:1", nil)
	expectCause(t, err, "cannot be reached: connection refused")
	_, err = s.Ensure(ctx, "no-such-registry.invalid/x:1", nil)
	expectCause(t, err, "cannot be reached")
	_, err = s.Unpacked(ctx, "never:pulled", "overlayfs")
	expectCause(t, err, "not in the store")
	expectNothing(t, s)
}

// A pull that fails leaves an image of that name as it was.
func TestPullAgainFails(t *testing.T) {
	s, r := newStore(t), newRegistry(t)
	ctx := context.Background()
	ref := r.push(t, "x:1", image(t, platform()))
	if _, err := s.Ensure(ctx, ref, nil); err != nil {
		t.Fatal(err)
	}
	before := left(t, s)
	r.push(t, "x:1", image(t, "linux/s390x"))
	_, err := s.Pull(ctx, ref, nil)
	expectCause(t, err, "no image for")
	if after := left(t, s); strings.Join(before, " ") != strings.Join(after, " ") {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if _, err := s.Unpacked(ctx, ref, "overlayfs"); err != nil {
		t.Error(err)
	}
}

// One flight for all who ask; it goes on when they leave.
func TestPullIsShared(t *testing.T) {
	s, r := newStore(t), newRegistry(t)
	ref := r.push(t, "x:1", image(t, platform()))
	gate, asked := make(chan struct{}), make(chan struct{}, 100)
	r.before = func(_ http.ResponseWriter, req *http.Request) bool {
		if req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/blobs/") {
			asked <- struct{}{}
			<-gate
		}
		return false
	}
	ctx, leave := context.WithCancel(context.Background())
	pending := make(chan error, 1)
	go func() {
		_, err := s.Ensure(ctx, ref, nil)
		pending <- err
	}()
	<-asked
	leave()
	if err := <-pending; !errors.Is(err, sandbox.ErrImagePending) {
		t.Errorf("who leaves gets %v", err)
	}
	results := make(chan error, 5)
	for range cap(results) {
		go func() {
			_, err := s.Ensure(context.Background(), ref, nil)
			results <- err
		}()
	}
	close(gate)
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := r.blobs.Load(); n != 4 { // the configuration and three layers
		t.Errorf("%d blobs were asked for", n)
	}
}

func TestPullsAreBounded(t *testing.T) {
	s, r := newStore(t), newRegistry(t)
	gate := make(chan struct{})
	r.before = func(w http.ResponseWriter, req *http.Request) bool {
		select {
		case <-gate:
		case <-req.Context().Done():
		}
		return false
	}
	ctx, leave := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer leave()
	var wg sync.WaitGroup
	for i := range maxFlights {
		wg.Go(func() {
			if _, err := s.Ensure(ctx, fmt.Sprintf("%s/x:%d", r.host, i), nil); !errors.Is(err, sandbox.ErrImagePending) {
				t.Errorf("pull %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if _, err := s.Ensure(context.Background(), r.host+"/x:more", nil); !errors.Is(err, sandbox.ErrLimit) {
		t.Errorf("one too many: %v", err)
	}
	s.Close() // gives them up
	close(gate)
	if _, err := s.Ensure(context.Background(), r.host+"/x:late", nil); !errors.Is(err, sandbox.ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
	expectNothing(t, s)
}
