package sandboxtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// BinEnv names an environment variable with a directory that has the programs
// already, as `make build` leaves them in bin/.
const BinEnv = "MOORAGE_TEST_BIN"

// BuildAgent returns the path of the agent's binary: in BinEnv's directory if
// that is set, else built into dir, static.
func BuildAgent(dir string) (string, error) { return program(dir, "moorage-agent") }

// BuildShim is the same for the slim shim.
func BuildShim(dir string) (string, error) { return program(dir, "moorage-shim") }

func program(dir, name string) (string, error) {
	if bin := os.Getenv(BinEnv); bin != "" {
		path := filepath.Join(bin, name)
		_, err := os.Stat(path)
		return path, err
	}
	path := filepath.Join(dir, name)
	return path, build(path, "moorage/cmd/"+name)
}

func build(out, pkg string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", pkg, err, b)
	}
	return nil
}
