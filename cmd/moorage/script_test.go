package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the command line as a person does. Each script has a server's
// directories of its own, in MOORAGE_ROOT and MOORAGE_RUN.
func TestScripts(t *testing.T) {
	needRoot(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			i := newInstance(e.T().(testing.TB))
			e.Setenv("MOORAGE_ROOT", i.Root)
			e.Setenv("MOORAGE_RUN", i.Run)
			e.Setenv("PATH", binDir+":"+os.Getenv("PATH"))
			return nil
		},
	})
}
