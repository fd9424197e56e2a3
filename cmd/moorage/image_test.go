package main

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// bareImage holds one static program, /busybox, and nothing else: no shell, no /etc,
// no /tmp.
func bareImage(t *testing.T) v1.Image {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("%v; make test installs busybox-static", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err = w.WriteHeader(&tar.Header{Name: "busybox", Mode: 0o755, Size: int64(len(program)), Typeflag: tar.TypeReg})
	if err == nil {
		_, err = w.Write(program)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH, RootFS: mustRootFS(t, img),
		Config: v1.Config{Entrypoint: []string{"/no/such/program"}, User: "nobody", Env: []string{"FROM=image"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func mustRootFS(t *testing.T, img v1.Image) v1.RootFS {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return c.RootFS
}

// works runs the one program of a bare image, and reads and writes beside it.
func (c client) works(image string) {
	c.t.Helper()
	c.tool("create_container", map[string]any{"image": image})
	if got := c.text("exec", map[string]any{"argv": []string{"/busybox", "sh", "-c", "echo $FROM; id -u"}}); got != "image\n0\n" {
		c.t.Errorf("%s: exec by argv: %q", image, got)
	}
	if text := c.fails("unsupported", "exec", map[string]any{"command": "echo hi"}); !strings.Contains(text, "argv") {
		c.t.Errorf("%s: a shell line without a shell: %s", image, text)
	}
	c.tool("fs_write", map[string]any{"path": "/new/dir/file", "content": "x"})
	if got := c.text("fs_read", map[string]any{"path": "/new/dir/file"}); got != "x" {
		c.t.Errorf("%s: fs_read: %q", image, got)
	}
}

func TestImagePullFromRegistry(t *testing.T) {
	i := newInstance(t)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/test/bare:v1"
	tag, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, bareImage(t)); err != nil {
		t.Fatal(err)
	}
	if out := i.run("image", "pull", ref); !strings.Contains(out, ref) {
		t.Errorf("image pull: %s", out)
	}
	if out := i.run("image", "list"); !strings.Contains(out, ref) {
		t.Errorf("image list: %s", out)
	}
	i.client("ann").works(ref)
	// What a registry does not have is said, and why.
	c := i.client("bob")
	other := strings.Replace(ref, "bare", "other", 1)
	if text := c.fails("image_unavailable", "create_container", map[string]any{"image": other}); !strings.Contains(text, "other") {
		t.Errorf("an image that is not there: %s", text)
	}
	server.Close()
	c.fails("image_unavailable", "create_container", map[string]any{"image": other})
	c.works(ref) // it is in the store
}

func TestImageImport(t *testing.T) {
	i := newInstance(t)
	img := bareImage(t)
	saved := filepath.Join(t.TempDir(), "saved.tar")
	tag, err := name.NewTag("example.test/bare:saved")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(saved, tag, img); err != nil {
		t.Fatal(err)
	}
	if out := i.run("image", "import", saved); !strings.Contains(out, "example.test/bare:saved") {
		t.Errorf("import of a docker save tar: %s", out)
	}
	oci := filepath.Join(t.TempDir(), "oci.tar")
	writeLayout(t, img, oci)
	if out := i.run("image", "import", "--name", "example.test/bare:oci", oci); !strings.Contains(out, "example.test/bare:oci") {
		t.Errorf("import of an OCI layout: %s", out)
	}
	for _, image := range []string{"example.test/bare:saved", "example.test/bare:oci"} {
		i.client("ann").works(image)
	}
}

// writeLayout writes an OCI layout without a name as a tar.
func writeLayout(t *testing.T, img v1.Image, file string) {
	t.Helper()
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = p.AppendImage(img)
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
