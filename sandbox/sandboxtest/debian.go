package sandboxtest

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"runtime"
	"testing"
)

// DebianEnv names an environment variable with the path of a tar: the root
// filesystem of a Debian with apt, and packages in its /repo. .ci/deps makes one.
const DebianEnv = "MOORAGE_TEST_DEBIAN"

// DebianTar is an image of that Debian, as ImageTar makes one, to be read once. The
// test is skipped if there is none.
func DebianTar(t testing.TB, tag string) io.Reader {
	t.Helper()
	path := os.Getenv(DebianEnv)
	if path == "" {
		t.Skip(DebianEnv + " is not set: .ci/deps test makes a Debian with mmdebstrap")
	}
	layer, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { layer.Close() })
	sum := sha256.New()
	size, err := io.Copy(sum, layer)
	if err == nil {
		_, err = layer.Seek(0, io.SeekStart)
	}
	if err != nil {
		t.Fatal(err)
	}
	config := toJSON(t, map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{"Env": []string{"DEBIAN_FRONTEND=noninteractive"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum.Sum(nil))}},
	})
	manifest := toJSON(t, []any{map[string]any{"Config": "config.json", "RepoTags": []string{tag}, "Layers": []string{"layer.tar"}}})
	in, out := io.Pipe()
	t.Cleanup(func() { in.Close() })
	go func() {
		w := tar.NewWriter(out)
		err := addTar(w, "config.json", config)
		if err == nil {
			err = addTar(w, "manifest.json", manifest)
		}
		if err == nil {
			err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "layer.tar", Mode: 0o644, Size: size})
		}
		if err == nil {
			_, err = io.Copy(w, layer)
		}
		if err == nil {
			err = w.Close()
		}
		out.CloseWithError(err)
	}()
	return in
}

func addTar(w *tar.Writer, name string, data []byte) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}
