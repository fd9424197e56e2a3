package containerd

import (
	"testing"

	"moorage/sandbox/sandboxtest"
)

func TestSuite(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			sandboxtest.Run(t, func(t *testing.T) sandboxtest.Subject { return subject(t, e) })
		})
	}
}

func TestSnapshots(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			sandboxtest.RunSnapshots(t, func(t *testing.T) sandboxtest.Subject { return subject(t, e) })
		})
	}
}

func TestFiles(t *testing.T) {
	sandboxtest.RunFiles(t, func(t *testing.T) sandboxtest.Subject { return subject(t, engines[0]) })
}

func subject(t *testing.T, e engine) sandboxtest.Subject {
	t.Helper()
	f := newFixture(t, e)
	return sandboxtest.Subject{
		Runtime: f.Runtime,
		Restart: func() sandboxtest.Runtime {
			f.restart()
			return f.Runtime
		},
		DataDir: f.dataDir,
	}
}
