package states

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
	"moorage/sandbox"
)

// filesDir is where a scene's files are, below / or the data.
const filesDir = "files"

// perDir is how many files a directory has.
const perDir = 100

// box is a container at work.
type box struct {
	*engine
	ref sandbox.Ref
	dir string // of the files
}

// newBox makes a running container of a bot of its own.
func (e *engine) newBox(ctx context.Context, bot sandbox.Bot, data bool) (*box, error) {
	b := &box{engine: e, ref: sandbox.Ref{Bot: bot, ID: "box"}, dir: "/" + filesDir}
	if data {
		b.dir = path.Join(e.DataDir(), filesDir)
	}
	e.made = append(e.made, b.ref)
	_, err := e.Create(ctx, sandbox.CreateRequest{Bot: bot, ID: b.ref.ID}, nil)
	return b, err
}

// sh runs a shell line to its end.
func (b *box) sh(ctx context.Context, id sandbox.ContainerID, line string) error {
	a, err := b.Agent(ctx, b.ref.Bot, id)
	if err != nil {
		return err
	}
	res, out, err := a.Exec(ctx, fsbridge.ExecRequest{Command: line, Wait: fsbridge.WaitMax, MaxOutput: 1 << 10}, nil)
	if err == nil && (res.ExitCode == nil || *res.ExitCode != 0) {
		err = fmt.Errorf("run %.60q: %s: %v %s", line, res.State, out, res.Signal)
	}
	return err
}

// fill makes n files of size bytes and syncs them.
func (b *box) fill(ctx context.Context, n int, size int64) error {
	line := fmt.Sprintf("mkdir -p %[1]s && dd if=/dev/urandom of=%[1]s/big bs=64k count=%[2]d 2>/dev/null", b.dir, max(1, size>>16))
	if n > 1 {
		line = fmt.Sprintf(`c=$(printf %%0%dd 7); i=0; while [ $i -lt %d ]; do
			d=%s/$((i/%d)); [ $((i%%%d)) = 0 ] && mkdir -p $d
			echo "$c" > $d/$i || exit 1; i=$((i+1)); done`, size-1, n, b.dir, perDir, perDir)
	}
	if err := b.sh(ctx, b.ref.ID, line); err != nil {
		return fmt.Errorf("make files: %w", err)
	}
	return b.sync()
}

// touch changes every file, and one a little more.
func (b *box) touch(ctx context.Context) error {
	if err := b.sh(ctx, b.ref.ID, "find "+b.dir+" -type f -exec touch {} +"); err != nil {
		return fmt.Errorf("touch files: %w", err)
	}
	return b.sync()
}

// change writes one small file, in the root filesystem and in the data.
func (b *box) change(ctx context.Context) error {
	return b.sh(ctx, b.ref.ID, "date > /changed; date > "+path.Join(b.DataDir(), "changed"))
}

// busy starts a process that writes a little and sleeps, and returns what ends it.
func (b *box) busy(ctx context.Context) (end func() error, err error) {
	a, err := b.Agent(ctx, b.ref.Bot, b.ref.ID)
	if err != nil {
		return nil, err
	}
	line := "while :; do echo busy >> /busy; usleep 5000; done"
	res, _, err := a.Exec(ctx, fsbridge.ExecRequest{Command: line}, nil)
	if err != nil {
		return nil, fmt.Errorf("start a process: %w", err)
	}
	return func() error {
		_, _, err := a.Follow(ctx, fsbridge.FollowRequest{ProcessID: res.ProcessID, Signal: "SIGKILL", Wait: time.Second}, nil)
		if err != nil {
			return fmt.Errorf("end a process: %w", err)
		}
		return b.sh(ctx, b.ref.ID, "rm -f /busy")
	}, nil
}

// sync waits until what was written is on the disk, so that it does not disturb
// what is measured next.
func (b *box) sync() error {
	d, err := os.Open(b.store.Dir())
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	err = unix.Syncfs(int(d.Fd()))
	return errors.Join(err, d.Close())
}
