package containerd

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"moorage/sandbox"
	"moorage/sandbox/containerd/imagetar"
	"moorage/sandbox/sandboxtest"
)

// endingReader ends a context when half of a tar is read.
type endingReader struct {
	io.Reader
	left int
	end  func()
}

func (r *endingReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if r.left -= n; r.left < 0 {
		r.end()
	}
	return n, err
}

// What is no image, or a bad one, is refused, and nothing of it stays.
func TestImportHostile(t *testing.T) {
	good := exported(t, exportOnly).b
	other := exporter{newFixture(t, engines[0])}
	before := other.held()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for name, c := range map[string]struct {
		tar  io.Reader
		want error
	}{
		"nothing":          {strings.NewReader(""), sandbox.ErrImage},
		"garbage":          {strings.NewReader(strings.Repeat("no tar", 1000)), sandbox.ErrImage},
		"cut short":        {bytes.NewReader(good[:len(good)/2]), sandbox.ErrImage},
		"no blobs":         {bytes.NewReader(only(t, good, func(n string) bool { return !strings.HasPrefix(n, "blobs/") })), sandbox.ErrImage},
		"a blob missing":   {bytes.NewReader(only(t, good, withoutOne())), sandbox.ErrImage},
		"other platform":   {bytes.NewReader(sandboxtest.ForeignTar(t, "foreign:1")), sandbox.ErrImage},
		"wrong digest":     {bytes.NewReader(hostile(t, nil, func(i *imagetar.Image) { i.Layers[0].DiffID = digest.FromString("other") })), sandbox.ErrImage},
		"a wrong record":   {bytes.NewReader(hostile(t, nil, func(i *imagetar.Image) { i.Record.ImageLayers = 5 })), sandbox.ErrImage},
		"bad data mount":   {bytes.NewReader(hostile(t, nil, func(i *imagetar.Image) { i.Record.DataMount = "../x" })), sandbox.ErrImage},
		"bad container":    {bytes.NewReader(hostile(t, nil, func(i *imagetar.Image) { i.Record.Container = "../x" })), sandbox.ErrImage},
		"bad image":        {bytes.NewReader(hostile(t, nil, func(i *imagetar.Image) { i.Record.Spec.Image = "UPPER CASE" })), sandbox.ErrImage},
		"long note":        {bytes.NewReader(hostile(t, nil, func(i *imagetar.Image) { i.Record.Note = strings.Repeat("n", 2000) })), sandbox.ErrImage},
		"large env":        {bytes.NewReader(hostile(t, nil, func(i *imagetar.Image) { i.Record.ImageEnv = []string{strings.Repeat("n", 40_000)} })), sandbox.ErrImage},
		"bad env":          {bytes.NewReader(hostile(t, nil, func(i *imagetar.Image) { i.Record.Spec.Env = map[string]string{"a=b": ""} })), sandbox.ErrImage},
		"escape in root":   {bytes.NewReader(hostile(t, entries("../x"), nil)), sandbox.ErrImage},
		"escape in data":   {bytes.NewReader(hostile(t, nil, func(i *imagetar.Image) { i.Layers[1] = measured(t, entries("data/../../x")) })), sandbox.ErrImage},
		"data elsewhere":   {bytes.NewReader(hostile(t, nil, func(i *imagetar.Image) { i.Layers[1] = measured(t, entries("etc/x")) })), sandbox.ErrImage},
		"twice in root":    {bytes.NewReader(hostile(t, entries("x", "x"), nil)), sandbox.ErrImage},
		"garbage for data": {bytes.NewReader(hostile(t, nil, func(i *imagetar.Image) { i.Layers[1] = measured(t, []byte("no tar")) })), sandbox.ErrImage},
		"redirect":         {bytes.NewReader(hostile(t, redirect(), nil)), sandbox.ErrImage},
		"huge file":        {bytes.NewReader(hostile(t, huge(), nil)), sandbox.ErrImage},
		"10,000 layers":    {bytes.NewReader(hostile(t, nil, manyLayers)), sandbox.ErrImage},
		"10,000 files":     {bytes.NewReader(entries(numbers(10_000)...)), sandbox.ErrImage},
		"given up":         {&endingReader{bytes.NewReader(good), len(good) / 2, cancel}, context.Canceled},
	} {
		within := context.Background()
		if errors.Is(c.want, context.Canceled) {
			within = ctx
		}
		_, err := other.ImportSnapshot(within, "bob", "bad", c.tar)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, expected %v", name, err, c.want)
		}
		sandboxtest.Eventually(t, waitFor, func() bool { return slices.Equal(other.held(), before) },
			func() string { return fmt.Sprintf("after %s there is %q, before %q", name, other.held(), before) })
	}
	other.imports("bob", "bad", good)
	broken := errors.New("not to be read")
	if _, err := other.ImportSnapshot(ctx, "bob", "bad", failing{broken}); !errors.Is(err, sandbox.ErrAlreadyExists) {
		t.Errorf("under a name that is taken: %v", err)
	}
	if _, err := other.ImportSnapshot(context.Background(), "bob", "more", failing{broken}); !errors.Is(err, broken) {
		t.Errorf("from a reader that fails: %v", err)
	}
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

// only keeps some files of a tar.
func only(t *testing.T, b []byte, keep func(name string) bool) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, content := range tarFiles(t, b) {
		if !keep(name) {
			continue
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		w.Write(content)
	}
	w.Close()
	return out.Bytes()
}

// withoutOne leaves out the first blob that comes.
func withoutOne() func(string) bool {
	seen := false
	return func(name string) bool {
		first := !seen && strings.HasPrefix(name, "blobs/")
		seen = seen || first
		return !first
	}
}

// entries is a tar of empty files.
func entries(names ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, n := range names {
		w.WriteHeader(&tar.Header{Name: n, Mode: 0o644})
	}
	w.Close()
	return b.Bytes()
}

func numbers(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint("blobs/", i))
	}
	return all
}

// redirect is a directory that would show another one.
func redirect() []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr.trusted.overlay.redirect": "/etc"}})
	w.Close()
	return b.Bytes()
}

// huge says that it has a file of 8 PiB.
func huge() []byte {
	var b bytes.Buffer
	tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "x", Mode: 0o644, Size: 1 << 53})
	return b.Bytes()
}

func measured(t *testing.T, b []byte) imagetar.Layer {
	t.Helper()
	l, err := imagetar.Measure(t.Context(), "test", func(_ context.Context, w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func manyLayers(i *imagetar.Image) {
	for range 10_000 {
		i.Layers = append(i.Layers, i.Layers[0])
	}
	i.Record.ImageLayers = 10_000
}

// hostile is a snapshot without an image below, with something wrong in it.
func hostile(t *testing.T, root []byte, spoil func(*imagetar.Image)) []byte {
	t.Helper()
	if root == nil {
		root = entries("x")
	}
	i := imagetar.Image{Tag: "bad", Config: imagespec.Image{Platform: platforms.DefaultSpec()}, Layers: []imagetar.Layer{measured(t, root), measured(t, entries("data/f"))}}
	i.Record = imagetar.Record{Container: "c", Spec: sandbox.Spec{Image: "docker.io/library/x:latest"}, DataMount: "/data"}
	if spoil != nil {
		spoil(&i)
	}
	var b bytes.Buffer
	if err := imagetar.Write(t.Context(), &b, i); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
