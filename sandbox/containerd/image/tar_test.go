package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"moorage/sandbox"
	"moorage/sandbox/sandboxtest"
)

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestImport(t *testing.T) {
	s := newStore(t)
	ctx := context.Background()
	file := sandboxtest.File{Name: "f", Mode: 0o644, Data: []byte("x")}
	layoutTar, err := baseTar(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		tar    []byte
		asked  string
		expect string
	}{
		"docker save":        {sandboxtest.ImageTar(t, "tool:1", []string{"A=1"}, file), "", "docker.io/library/tool:1"},
		"name of the tar":    {sandboxtest.ImageTar(t, "tool:2", nil, file), "other:3", "docker.io/library/tool:2"},
		"gzip":               {gzipped(t, sandboxtest.ImageTar(t, "zipped", nil, file)), "", "docker.io/library/zipped:latest"},
		"no name":            {sandboxtest.ImageTar(t, "", nil, file), "named:4", "docker.io/library/named:4"},
		"OCI layout":         {layoutTar, "", sandbox.BaseImage},
		"a static binary":    {sandboxtest.StaticTar(t, "static:1"), "", "docker.io/library/static:1"},
		"the same again":     {sandboxtest.ImageTar(t, "tool:1", []string{"A=2"}, file), "", "docker.io/library/tool:1"},
		"one byte at a time": {sandboxtest.ImageTar(t, "slow", nil, file), "", "docker.io/library/slow:latest"},
	} {
		var r io.Reader = bytes.NewReader(c.tar)
		if name == "one byte at a time" {
			r = iotest.OneByteReader(r)
		}
		list, err := s.Import(ctx, r, c.asked)
		if err != nil || len(list) != 1 || list[0].Name != c.expect {
			t.Errorf("%s: %+v, %v", name, list, err)
			continue
		}
		if u, err := s.Unpacked(ctx, c.expect, "overlayfs"); err != nil || u.Name != c.expect {
			t.Errorf("%s: unpacked: %+v, %v", name, u, err)
		}
	}
}

func TestImportOfNoImage(t *testing.T) {
	s := newStore(t)
	ctx := context.Background()
	good := sandboxtest.ImageTar(t, "x", nil, sandboxtest.File{Name: "f", Data: bytes.Repeat([]byte("x"), 4096)})
	var other bytes.Buffer
	w := tar.NewWriter(&other)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "README", Size: 5, Mode: 0o644}), write(w, "hello"), w.Close()); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"nothing":        nil,
		"garbage":        bytes.Repeat([]byte("garbage"), 1000),
		"zeros":          make([]byte, 4096),
		"another tar":    other.Bytes(),
		"cut short":      good[:len(good)/2],
		"broken gzip":    gzipped(t, good)[:200],
		"no layer":       bytes.Replace(good, []byte("layer.tar"), []byte("lager.tar"), 1),
		"broken config":  bytes.Replace(good, []byte(`{"architecture"`), []byte(`["architecture"`), 1),
		"wrong diff id":  flipDiffID(good),
		"wrong manifest": bytes.Replace(good, []byte(`"Layers"`), []byte(`"Lagers"`), 1),
	} {
		_, err := s.Import(ctx, bytes.NewReader(b), "")
		if !errors.Is(err, sandbox.ErrImage) || !strings.Contains(err.Error(), "tar") {
			t.Errorf("%s: %v", name, err)
		}
	}
	expectNothing(t, s)
}

func TestImportRefuses(t *testing.T) {
	s := newStore(t)
	ctx := context.Background()
	good := sandboxtest.ImageTar(t, "x", nil)
	if _, err := s.Import(ctx, bytes.NewReader(sandboxtest.ForeignTar(t, "foreign")), ""); err == nil || !errors.Is(err, sandbox.ErrImage) || !strings.Contains(err.Error(), platform()) {
		t.Errorf("for another machine: %v", err)
	}
	huge := sandboxtest.ImageTar(t, "huge", []string{"A=" + strings.Repeat("x", maxMetadata)})
	if _, err := s.Import(ctx, bytes.NewReader(huge), ""); !errors.Is(err, sandbox.ErrImage) || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a configuration of over 4 MiB: %v", err)
	}
	unnamed := sandboxtest.ImageTar(t, "", nil)
	if _, err := s.Import(ctx, bytes.NewReader(unnamed), ""); !errors.Is(err, sandbox.ErrInvalid) {
		t.Errorf("no name at all: %v", err)
	}
	if _, err := s.Import(ctx, bytes.NewReader(good), "Bad Name"); !errors.Is(err, sandbox.ErrInvalid) {
		t.Errorf("bad name: %v", err)
	}
	broken := errors.New("the wire broke")
	if _, err := s.Import(ctx, io.MultiReader(bytes.NewReader(good[:700]), iotest.ErrReader(broken)), ""); !errors.Is(err, broken) {
		t.Errorf("a reader that fails: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Import(cancelled, bytes.NewReader(good), ""); err == nil {
		t.Error("imported under a context that has ended")
	}
	expectNothing(t, s)
}

func write(w io.Writer, s string) error {
	_, err := io.WriteString(w, s)
	return err
}

// flipDiffID changes a digit of the layer's digest in the configuration.
func flipDiffID(good []byte) []byte {
	b := bytes.Clone(good)
	at := bytes.Index(b, []byte("sha256:")) + len("sha256:")
	b[at] = "0123456789abcdef0"[strings.IndexByte("0123456789abcdef", b[at])+1]
	return b
}
