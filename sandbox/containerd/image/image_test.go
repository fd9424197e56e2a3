package image

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"

	"moorage/sandbox"
	"moorage/sandbox/containerd/embed"
	"moorage/sandbox/sandboxtest"
)

// newStore opens a Store on a containerd of its own.
func newStore(t *testing.T) *Store {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("unpacking images needs root")
	}
	dir := sandboxtest.Dir(t)
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	e, err := embed.Start(context.Background(), embed.Options{
		Root: filepath.Join(dir, "root"), Run: filepath.Join(dir, "run"), Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := NewStore(e.Client(), Options{Namespace: "moorage", Snapshotter: "overlayfs", Owner: "test", Log: log})
	t.Cleanup(func() {
		s.Close()
		e.Close()
		sandboxtest.CheckClean(t, dir, "")
	})
	return s
}

// left tells everything that the store holds.
func left(t *testing.T, s *Store) []string {
	t.Helper()
	ctx := s.namespaced(context.Background())
	var all []string
	records, err := s.client.ImageService().List(ctx)
	for _, r := range records {
		all = append(all, "image "+r.Name)
	}
	cs := s.client.ContentStore()
	statuses, err2 := cs.ListStatuses(ctx)
	for _, st := range statuses {
		all = append(all, "half a blob "+st.Ref)
	}
	err3 := cs.Walk(ctx, func(i content.Info) error {
		all = append(all, "blob "+i.Digest.String())
		return nil
	})
	err4 := s.client.SnapshotService("overlayfs").Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		all = append(all, "snapshot "+i.Name)
		return nil
	})
	leases, err5 := s.client.LeasesService().List(ctx)
	for _, l := range leases {
		all = append(all, "lease "+l.ID)
	}
	if err := errors.Join(err, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	return all
}

func expectNothing(t *testing.T, s *Store) {
	t.Helper()
	if all := left(t, s); len(all) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(all, "\n"))
	}
}

// expectCause checks that err is an ErrImage that says want.
func expectCause(t *testing.T, err error, want string) {
	t.Helper()
	if !errors.Is(err, sandbox.ErrImage) || !strings.Contains(err.Error(), want) || len(err.Error()) > 600 {
		t.Errorf("expected an ErrImage with %q, got %v", want, err)
	}
}

func TestNormalise(t *testing.T) {
	for name, want := range map[string]string{
		"busybox":                         "docker.io/library/busybox:latest",
		" ann/tool:1 ":                    "docker.io/ann/tool:1",
		"localhost:5000/x":                "localhost:5000/x:latest",
		"moorage.local/base":              sandbox.BaseImage,
		"q.io/a@sha256:" + sixtyFour("a"): "q.io/a@sha256:" + sixtyFour("a"),
	} {
		if got, err := Normalise(name); err != nil || got != want {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "UPPER", "a b", "a:b:c", "-x", "../x", "a@sha256:12", strings.Repeat("a", 5000)} {
		if _, err := Normalise(name); !errors.Is(err, sandbox.ErrInvalid) || len(err.Error()) > 400 {
			t.Errorf("%.20q: %v", name, err)
		}
	}
}

func sixtyFour(s string) string { return strings.Repeat(s, 64) }

func TestBaseImage(t *testing.T) {
	a, err := baseTar(context.Background())
	if err != nil {
		t.Skip(err)
	}
	b, err := baseTar(context.Background())
	if err != nil || string(a) != string(b) {
		t.Errorf("made twice, it differs: %v", err)
	}
	s := newStore(t)
	ctx := context.Background()
	for range 2 {
		if name, err := s.Ensure(ctx, "moorage.local/base", nil); err != nil || name != sandbox.BaseImage {
			t.Fatalf("%q, %v", name, err)
		}
	}
	u, err := s.Unpacked(ctx, sandbox.BaseImage, "overlayfs")
	if err != nil || len(u.Env) != 1 || u.ChainID == "" {
		t.Errorf("%+v, %v", u, err)
	}
	if list, err := s.Images(ctx); err != nil || len(list) != 1 || list[0].Size < 500_000 || list[0].Digest == "" || list[0].CreatedAt.IsZero() {
		t.Errorf("images: %+v, %v", list, err)
	}
}

func TestBaseImageWithoutBusybox(t *testing.T) {
	defer func(was []string) { busyboxPaths = was }(busyboxPaths)
	for path, want := range map[string]string{
		"/does/not/exist": "apt-get install busybox-static",
		"/bin/ls":         "not static",
	} {
		busyboxPaths = []string{path}
		if _, err := findBusybox(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	busyboxPaths = nil
	s := newStore(t)
	_, err := s.Ensure(context.Background(), sandbox.BaseImage, nil)
	expectCause(t, err, "busybox-static")
	_, err = s.Ensure(context.Background(), "moorage.local/other", nil)
	expectCause(t, err, "moorage.local has only")
	expectNothing(t, s)
}
