package sandboxtest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// File is a file of an image's layer.
type File struct {
	Name string // without the first slash
	Mode int64
	Data []byte
}

// ImageTar makes an image as `docker save` writes it, with one layer. tag may be
// "": then the tar names no image.
func ImageTar(t testing.TB, tag string, env []string, files ...File) []byte {
	t.Helper()
	return imageTar(t, tag, runtime.GOARCH, env, files)
}

// ForeignTar is an image for a machine that this one is not.
func ForeignTar(t testing.TB, tag string) []byte {
	t.Helper()
	arch := "s390x"
	if runtime.GOARCH == arch {
		arch = "riscv64"
	}
	return imageTar(t, tag, arch, nil, []File{{Name: "x", Mode: 0o644}})
}

func imageTar(t testing.TB, tag, arch string, env []string, files []File) []byte {
	t.Helper()
	layer := tarOf(t, files)
	sum := sha256.Sum256(layer)
	config := toJSON(t, map[string]any{
		"architecture": arch, "os": "linux",
		"config": map[string]any{"Env": env, "Entrypoint": []string{"/does/not/exist"}, "User": "nobody-knows"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	tags := []string{}
	if tag != "" {
		tags = append(tags, tag)
	}
	return tarOf(t, []File{
		{Name: "layer.tar", Mode: 0o644, Data: layer},
		{Name: "config.json", Mode: 0o644, Data: config},
		{Name: "manifest.json", Mode: 0o644, Data: toJSON(t, []any{map[string]any{
			"Config": "config.json", "RepoTags": tags, "Layers": []string{"layer.tar"},
		}})},
	})
}

// StaticTar is an image that holds one static binary and nothing else: no shell,
// no directory but that of the binary.
func StaticTar(t testing.TB, tag string) []byte {
	t.Helper()
	src := filepath.Join(t.TempDir(), "hello.go")
	const program = "package main\n\nfunc main() { println(\"hello\") }\n"
	if err := os.WriteFile(src, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(filepath.Dir(src), "hello")
	if err := build(bin, src); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	return ImageTar(t, tag, nil, File{Name: "hello", Mode: 0o755, Data: b})
}

func tarOf(t testing.TB, files []File) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Mode: f.Mode, Size: int64(len(f.Data))}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func toJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hostBusybox reads the host's static busybox; the test is skipped without one.
func hostBusybox(t testing.TB) []byte {
	t.Helper()
	for _, path := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		if b, err := os.ReadFile(path); err == nil {
			return b
		}
	}
	t.Skip("needs busybox-static")
	return nil
}
