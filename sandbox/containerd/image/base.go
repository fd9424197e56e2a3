package image

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"moorage/sandbox"
)

// busyboxPaths are where distributions put it.
var busyboxPaths = []string{"/bin/busybox", "/usr/bin/busybox"}

// makeBase makes the built-in image from the host's static busybox. The same
// busybox makes the same image, to the byte.
func (s *Store) makeBase(ctx context.Context) (sandbox.Image, error) {
	b, err := baseTar(ctx)
	if err != nil {
		return sandbox.Image{}, fmt.Errorf("image %s: %w: %v", sandbox.BaseImage, sandbox.ErrImage, err)
	}
	list, err := s.Import(ctx, bytes.NewReader(b), sandbox.BaseImage)
	if err != nil {
		return sandbox.Image{}, explain(sandbox.BaseImage, err)
	}
	return list[0], nil
}

// baseTar is the image as an OCI layout.
func baseTar(ctx context.Context) ([]byte, error) {
	busybox, err := findBusybox()
	if err != nil {
		return nil, err
	}
	bin, err := os.ReadFile(busybox)
	if err != nil {
		return nil, err
	}
	applets, err := listApplets(ctx, busybox)
	if err != nil {
		return nil, err
	}
	layer, err := baseLayer(bin, applets)
	if err != nil {
		return nil, err
	}
	return layout(layer, ocispec.ImageConfig{
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Cmd: []string{"/bin/sh"}, WorkingDir: "/",
	})
}

// findBusybox wants a static one: the image has no libraries.
func findBusybox() (string, error) {
	const advice = "apt-get install busybox-static"
	for _, p := range busyboxPaths {
		f, err := elf.Open(p)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("open %s: %w", p, err)
		}
		dynamic := slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
		f.Close()
		if dynamic {
			return "", fmt.Errorf("%s is not static: %s", p, advice)
		}
		return p, nil
	}
	return "", fmt.Errorf("there is no static busybox: %s", advice)
}

// listApplets are the paths, without the first slash, of its commands.
func listApplets(ctx context.Context, busybox string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, busybox, "--list-full").Output()
	if err != nil {
		return nil, fmt.Errorf("run %s --list-full: %w", busybox, err)
	}
	var applets []string
	for _, a := range strings.Fields(string(out)) {
		if a = strings.TrimPrefix(path.Clean("/"+a), "/"); a != "bin/busybox" && a != "linuxrc" {
			applets = append(applets, a)
		}
	}
	slices.Sort(applets)
	return slices.Compact(applets), nil
}

var baseDirs = []struct {
	name string
	mode int64
}{
	{"bin", 0o755}, {"dev", 0o755}, {"etc", 0o755}, {"home", 0o755}, {"proc", 0o755}, {"root", 0o700},
	{"run", 0o755}, {"sbin", 0o755}, {"sys", 0o755}, {"tmp", 0o1777}, {"usr", 0o755}, {"usr/bin", 0o755},
	{"usr/local", 0o755}, {"usr/local/bin", 0o755}, {"usr/sbin", 0o755}, {"var", 0o755}, {"var/tmp", 0o1777},
}

var baseFiles = []struct{ name, text string }{
	{"etc/group", "root:x:0:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n"},
	{"etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"},
	{"etc/nsswitch.conf", "hosts: files dns\n"},
	{"etc/os-release", "ID=moorage-base\nNAME=\"Moorage base\"\n"},
	{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
}

// baseLayer is the one layer, uncompressed: it is never sent anywhere.
func baseLayer(busybox []byte, applets []string) ([]byte, error) {
	var buf bytes.Buffer
	w := &tarWriter{w: tar.NewWriter(&buf)}
	for _, d := range baseDirs {
		w.add(tar.Header{Typeflag: tar.TypeDir, Name: d.name + "/", Mode: d.mode}, nil)
	}
	for _, f := range baseFiles {
		w.add(tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644}, []byte(f.text))
	}
	w.add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, busybox)
	for _, a := range applets {
		up := strings.Repeat("../", strings.Count(a, "/"))
		w.add(tar.Header{Typeflag: tar.TypeSymlink, Name: a, Linkname: up + "bin/busybox", Mode: 0o777}, nil)
	}
	err := w.close()
	return buf.Bytes(), err
}

// layout wraps one layer into an OCI image layout for this platform.
func layout(layer []byte, config ocispec.ImageConfig) ([]byte, error) {
	var buf bytes.Buffer
	w := &tarWriter{w: tar.NewWriter(&buf)}
	blob := func(mediaType string, b []byte) ocispec.Descriptor {
		d := digest.FromBytes(b)
		w.add(tar.Header{Typeflag: tar.TypeReg, Name: "blobs/sha256/" + d.Encoded(), Mode: 0o644}, b)
		return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
	}
	epoch := time.Unix(0, 0).UTC()
	layerDesc := blob(ocispec.MediaTypeImageLayer, layer)
	configDesc := blob(ocispec.MediaTypeImageConfig, mustJSON(ocispec.Image{
		Created: &epoch, Platform: platforms.DefaultSpec(), Config: config,
		RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{layerDesc.Digest}},
	}))
	manifest := blob(ocispec.MediaTypeImageManifest, mustJSON(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: configDesc, Layers: []ocispec.Descriptor{layerDesc},
	}))
	manifest.Annotations = map[string]string{images.AnnotationImageName: sandbox.BaseImage}
	w.add(tar.Header{Typeflag: tar.TypeReg, Name: ocispec.ImageIndexFile, Mode: 0o644}, mustJSON(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{manifest},
	}))
	w.add(tar.Header{Typeflag: tar.TypeReg, Name: ocispec.ImageLayoutFile, Mode: 0o644},
		mustJSON(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}))
	err := w.close()
	return buf.Bytes(), err
}

// tarWriter keeps the first error for the end.
type tarWriter struct {
	w   *tar.Writer
	err error
}

func (t *tarWriter) add(h tar.Header, b []byte) {
	h.Size = int64(len(b))
	h.ModTime = time.Unix(0, 0)
	h.Format = tar.FormatPAX
	if t.err == nil {
		t.err = t.w.WriteHeader(&h)
	}
	if t.err == nil {
		_, t.err = t.w.Write(b)
	}
}

func (t *tarWriter) close() error {
	if t.err != nil {
		return t.err
	}
	return t.w.Close()
}

// mustJSON encodes types that cannot fail to.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
