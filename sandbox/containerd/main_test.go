package containerd

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"moorage/sandbox/sandboxtest"
)

// The agent's and the shim's binaries, found once for all tests.
var agentPath, shimPath string

// TestMain can also be a server that a test kills, see runChild.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		os.Exit(runChild(dir))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Geteuid() != 0 {
		return m.Run() // what makes a container is skipped
	}
	dir, err := os.MkdirTemp("", "moorage-bin")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	var err1, err2 error
	agentPath, err1 = sandboxtest.BuildAgent(dir)
	shimPath, err2 = sandboxtest.BuildShim(dir)
	if err := errors.Join(err1, err2); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
