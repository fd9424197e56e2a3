package containerd

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

const agentName = "moorage-agent"

// installAgent copies the agent's binary to a path that contains its hash, so
// that a running container keeps the one it was started with and a newer one is
// seen as a change of the specification. Other versions are removed: whoever
// runs one holds it open by its mount.
func installAgent(src, dir string) (string, error) {
	if err := checkStatic(src); err != nil {
		return "", err
	}
	b, err := os.ReadFile(src)
	if err != nil {
		return "", fmt.Errorf("read agent: %w", err)
	}
	sum := sha256.Sum256(b)
	name := hex.EncodeToString(sum[:8])
	dst := filepath.Join(dir, name, agentName)
	if err := makeDir(filepath.Dir(dst), 0o755); err != nil {
		return "", err
	}
	if fi, err := os.Stat(dst); err != nil || fi.Size() != int64(len(b)) {
		if err := writeFile(dst, b, 0o755); err != nil {
			return "", fmt.Errorf("install agent: %w", err)
		}
	}
	return dst, removeOthers(dir, map[string]bool{name: true})
}

// checkStatic refuses a binary that would need a loader and libraries: an image
// may have neither.
func checkStatic(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("open agent: %w", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("agent %s is not static: build it with CGO_ENABLED=0", path)
		}
	}
	return nil
}

// writeFile replaces path whole or not at all, also when the machine fails.
func writeFile(path string, b []byte, mode os.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(b)
	for _, step := range []func() error{func() error { return f.Chmod(mode) }, f.Sync} {
		if err == nil {
			err = step()
		}
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// makeDir makes a directory with its parents (0711, so that a container's
// unprivileged ids may pass) and gives it the mode whatever the umask.
func makeDir(dir string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if err := os.Mkdir(dir, mode); err != nil && !os.IsExist(err) {
		return fmt.Errorf("make directory: %w", err)
	}
	if err := os.Chmod(dir, mode); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return nil
}

// removeOthers removes all entries of dir that are not in keep.
func removeOthers(dir string, keep map[string]bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("clean up: %w", err)
	}
	for _, e := range entries {
		if keep[e.Name()] {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("clean up: %w", err)
		}
	}
	return nil
}
