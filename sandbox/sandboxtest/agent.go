package sandboxtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// AgentEnv names an environment variable with the path of an agent's binary, to
// be used instead of building one.
const AgentEnv = "MOORAGE_TEST_AGENT"

// BuildAgent builds the agent from source into dir, static as it must be, and
// returns the binary's path.
func BuildAgent(dir string) (string, error) {
	if path := os.Getenv(AgentEnv); path != "" {
		return path, nil
	}
	path := filepath.Join(dir, "moorage-agent")
	return path, build(path, "moorage/cmd/moorage-agent")
}

// BuildShim builds the slim shim into dir and returns the binary's path.
func BuildShim(dir string) (string, error) {
	path := filepath.Join(dir, "moorage-shim")
	return path, build(path, "moorage/cmd/moorage-shim")
}

func build(out, pkg string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", pkg, err, b)
	}
	return nil
}
