package fstest

import (
	"context"
	"errors"
	"path"
	"strings"
	"testing"
	"time"

	"moorage/fsbridge"
)

// Target is what a test works on.
type Target struct {
	Client *fsbridge.Client
	// Dir is a directory for this test alone, empty and writable: an absolute
	// path as the agent sees it.
	Dir string
	// Root says that the agent may do all that root may.
	Root bool
	// Shell says that commands run by /bin/sh, with the tools of busybox.
	Shell bool
	// HostDir is Dir as the test's own process sees it, or "".
	HostDir string
}

// prompt is how soon an answer must come that does not depend on size or on
// work: a cancelled call's. It is wide enough for a busy machine.
const prompt = 100 * time.Millisecond

// Run runs the suite. open is called for each test.
func Run(t *testing.T, open func(t *testing.T) Target) {
	groups := []struct {
		name  string
		cases []testCase
	}{
		{"Read", readCases}, {"Slices", sliceCases}, {"Paths", pathCases}, {"Write", writeCases},
		{"Atomic", atomicCases}, {"List", listCases}, {"Stat", statCases}, {"Exec", execCases},
		{"Edit", editCases}, {"Patch", patchCases}, {"Nodes", nodeCases}, {"Search", searchCases},
		{"Follow", followCases}, {"Ends", endCases}, {"Load", loadCases},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, c := range g.cases {
				t.Run(c.name, func(t *testing.T) { c.run(&env{T: t, Target: open(t)}) })
			}
		})
	}
}

type testCase struct {
	name string
	run  func(*env)
}

// env is a test and what it works on.
type env struct {
	*testing.T
	Target
}

// path returns a path below the test's directory.
func (e *env) path(name string) fsbridge.Path { return fsbridge.Path(path.Join(e.Dir, name)) }

// put makes a file.
func (e *env) put(name, content string) fsbridge.Path {
	e.Helper()
	_, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: e.path(name)}, []byte(content))
	e.must(err)
	return e.path(name)
}

// get returns a file's content.
func (e *env) get(path fsbridge.Path) string {
	e.Helper()
	var b strings.Builder
	_, err := e.Client.ReadTo(e.Context(), path, 0, -1, &b)
	e.must(err)
	return b.String()
}

// read is Client.Read that succeeds.
func (e *env) read(req fsbridge.ReadRequest) (fsbridge.ReadResult, string) {
	e.Helper()
	res, _, body, err := e.Client.Read(e.Context(), req)
	e.must(err)
	return res, string(body)
}

// sh runs a shell line in the test's directory, which must succeed, and returns
// its output. Without a shell the test is skipped.
func (e *env) sh(line string) string {
	e.Helper()
	if !e.Shell {
		e.Skip("no shell in the target")
	}
	res, out, err := e.Client.Exec(e.Context(), e.command(line), nil)
	e.must(err)
	if res.State != fsbridge.Exited || *res.ExitCode != 0 {
		e.Fatalf("%s: %+v %s%s", line, res, out.StdoutHead, out.StderrHead)
	}
	return string(out.StdoutHead)
}

func (e *env) command(line string) fsbridge.ExecRequest {
	return fsbridge.ExecRequest{Command: line, Cwd: fsbridge.Path(e.Dir), Wait: fsbridge.WaitMax}
}

// exec runs a command that can be started.
func (e *env) exec(req fsbridge.ExecRequest, stdin string) (fsbridge.ExecResult, fsbridge.Output) {
	e.Helper()
	if !e.Shell {
		e.Skip("no shell in the target")
	}
	res, out, err := e.Client.Exec(e.Context(), req, []byte(stdin))
	e.must(err)
	return res, out
}

func (e *env) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// fails checks that err is target, and an *fsbridge.Error of op, which it returns.
func (e *env) fails(op string, err, target error) *fsbridge.Error {
	e.Helper()
	var remote *fsbridge.Error
	if !errors.Is(err, target) || !errors.As(err, &remote) {
		e.Fatalf("got error %v, want %v", err, target)
	}
	if remote.Op != op || remote.Message == "" {
		e.Fatalf("got error %+v of %q, want one of %q with a message", remote, remote.Op, op)
	}
	if e.Client.Err() != nil {
		e.Fatalf("the connection ended: %v", e.Client.Err())
	}
	return remote
}

// noTemps checks that no temporary file is left in a directory.
func (e *env) noTemps(dir fsbridge.Path) {
	e.Helper()
	res, err := e.Client.List(e.Context(), fsbridge.ListRequest{Path: dir, Hidden: true})
	e.must(err)
	for _, entry := range res.Entries {
		if strings.Contains(string(entry.Name), "moorage-tmp") {
			e.Errorf("temporary file %q is left", entry.Name)
		}
	}
}

// eventually waits until f is true: for what another process does.
func (e *env) eventually(what string, f func() bool) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			e.Fatalf("waited in vain for %s", what)
		}
	}
}

// alive reports whether a process of the target runs. One that has ended counts
// until it is reaped if the agent is PID 1, whose duty that is.
func (e *env) alive(pid string) bool {
	e.Helper()
	pid = strings.TrimSpace(pid)
	ended := `""|*") Z "*`
	if e.Client.Hello().PID == 1 {
		ended = `""`
	}
	return e.sh(`case "$(cat /proc/`+pid+`/stat 2>/dev/null)" in `+ended+`) ;; *) echo yes ;; esac`) != ""
}

func ptr[T any](v T) *T { return &v }
