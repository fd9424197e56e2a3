package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"moorage/fsbridge"
)

// serverEnv makes this test's program a server that can be killed: it takes the
// listener as its descriptor 3.
const serverEnv = "MOORAGE_TEST_SERVER"

// begun is what that server says when it has started a command.
type begun struct {
	ProcessID string
	Cursor    string
	Path      fsbridge.Path
}

// serveOnce accepts the agent, starts a command, has a first answer of it, and
// waits in a Follow until it is killed.
func serveOnce() int {
	if err := serve(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return 1
}

func serve(ctx context.Context) error {
	listen, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	conn, err := listen.Accept()
	if err != nil {
		return err
	}
	client, err := fsbridge.Connect(ctx, conn, fsbridge.Welcome{DataDir: "/data"})
	if err != nil {
		return err
	}
	const line = `while read x; do echo "err $x" >&2; echo "got $x"; done; echo over; exit 4`
	res, _, err := client.Exec(ctx, fsbridge.ExecRequest{Command: line, StdinOpen: true}, nil)
	if err != nil {
		return err
	}
	req := fsbridge.FollowRequest{ProcessID: res.ProcessID, WaitFor: "got 1", Wait: fsbridge.WaitMax}
	first, _, err := client.Follow(ctx, req, []byte("1\n"))
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(begun{res.ProcessID, first.NextCursor, res.StdoutPath}); err != nil {
		return err
	}
	req.WaitFor = "never"
	_, _, err = client.Follow(ctx, req, []byte("2\n"))
	return err
}

// TestServerKilled: kill -9 of a server, in the middle of a wait, costs nothing
// of what a command has read or written; the next one goes on from the cursor.
func TestServerKilled(t *testing.T) {
	c := newContainer(t, program, limits{})
	c.busybox()
	c.start()
	file, err := c.listen.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	server := exec.Command(os.Args[0])
	server.Env = append(os.Environ(), serverEnv+"=1")
	server.ExtraFiles = []*os.File{file}
	server.Stderr = testWriter{t}
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait()
	defer server.Process.Kill()
	var b begun
	if err := json.NewDecoder(out).Decode(&b); err != nil {
		t.Fatal(err)
	}
	spool := filepath.Join(c.bundle, "rootfs", string(b.Path))
	waitFor(t, func() bool {
		kept, _ := os.ReadFile(spool)
		return bytes.Equal(kept, []byte("got 1\ngot 2\n"))
	})
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	client := c.connect()
	req := fsbridge.FollowRequest{ProcessID: b.ProcessID, Cursor: b.Cursor, Close: true, Wait: fsbridge.WaitMax}
	res, output, err := client.Follow(t.Context(), req, []byte("3\n"))
	if err != nil || string(output.StdoutHead) != "got 2\ngot 3\nover\n" || res.State != fsbridge.Exited || *res.ExitCode != 4 ||
		!strings.HasSuffix(string(output.StderrHead), "err 2\nerr 3\n") {
		t.Errorf("got %q %q, %+v, %v", output.StdoutHead, output.StderrHead, res, err)
	}
}
