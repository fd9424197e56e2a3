package tools

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"moorage/fsbridge"
	"moorage/sandbox"
)

func callOn(container string) *call {
	c := &call{tool: "create_container"}
	c.in(container)
	return c
}

func TestErrorsAsTheyAreShown(t *testing.T) {
	missing := &fsbridge.Error{Op: "read", Path: "/data/mian.go", Code: fsbridge.CodeIO, Errno: syscall.ENOENT, Message: "no such file or directory", Parent: "/data", Close: []fsbridge.Path{"main.go", "a\x1bb"}}
	for _, x := range []struct {
		err       error
		container string
		want      string
	}{
		{missing, "", `not_found: read /data/mian.go: no such file or directory. The nearest directory that exists is /data, which has main.go, "a\x1bb".`},
		{&fsbridge.Error{Op: "patch", Path: "/data/new.go", Code: fsbridge.CodeIO, Errno: syscall.ENOENT, Message: "no such file or directory", Parent: "/data"}, "",
			`not_found: patch /data/new.go: no such file or directory. The nearest directory that exists is /data; a file that the patch makes has --- /dev/null as its old name, a rename the lines rename from and rename to.`},
		{&fsbridge.Error{Op: "patch", Path: "/x", Code: fsbridge.CodeIO, Errno: syscall.EEXIST, Message: "it exists already: a file"}, "",
			`already_exists: patch /x: it exists already: a file. Change what is there by hunks with --- a/FILE and +++ b/FILE, or delete it before.`},
		{&fsbridge.Error{Op: "patch", Path: "/x", Code: fsbridge.CodeConflict, Message: "a program has changed it meanwhile", Revision: "abc"}, "",
			`conflict: patch /x: a program has changed it meanwhile. Read the file again and make the patch anew.`},
		{&fsbridge.Error{Op: "patch", Path: "/x", Code: fsbridge.CodeConflict, Message: "a program has changed it meanwhile"}, "",
			`conflict: patch /x: a program has changed it meanwhile. Read the file again and make the patch anew.`},
		{&fsbridge.Error{Op: "write", Path: "/x", Code: fsbridge.CodeConflict, Revision: "abc"}, "", `conflict: /x has changed: its revision is now abc. Read it again, and give that revision as if_revision.`},
		{&fsbridge.Error{Op: "write", Path: "/x", Code: fsbridge.CodeConflict}, "", `conflict: /x does not exist. Call again with if_revision "" to make it.`},
		{&fsbridge.Error{Op: "read", Path: "/tmp", Code: fsbridge.CodeIO, Errno: syscall.EISDIR, Message: "is a directory"}, "", `invalid_argument: read /tmp: is a directory. List it with fs_list.`},
		{&fsbridge.Error{Op: "read", Path: "/p", Code: fsbridge.CodeIrregular, Message: "is a fifo"}, "", `unsupported: read /p: is a fifo. Only regular files are read and written; use exec for pipes, sockets and devices.`},
		{&fsbridge.Error{Op: "write", Path: "/sys/x", Code: fsbridge.CodeIO, Errno: syscall.EROFS, Message: "read-only file system"}, "", `permission_denied: write /sys/x: read-only file system. That file system is read-only.`},
		{&fsbridge.Error{Op: "write", Path: "/x", Code: fsbridge.CodeLimit, Errno: syscall.ENOSPC, Message: "no space left on device"}, "", `limit_exceeded: write /x: no space left on device. The disk is full; delete files that are not needed.`},
		{&fsbridge.Error{Op: "exec", Code: fsbridge.CodeTooLarge, Errno: syscall.E2BIG, Message: "arguments are too long"}, "", `too_large: arguments are too long. Give the data by stdin or a file instead.`},
		{&fsbridge.Error{Op: "exec", Code: fsbridge.CodeNoShell, Message: "no shell"}, "", `unsupported: the image has no /bin/sh, which command needs. Give argv instead, as ["/path/of/program","argument"].`},
		{&fsbridge.Error{Op: "read", Path: "/x\nnot_found: lie", Code: fsbridge.CodeIO, Errno: syscall.EIO, Message: "bad\x1b[2J"}, "", `unavailable: read "/x\nnot_found: lie": bad\x1b[2J. Call again.`},
		{fmt.Errorf("read: %w", fsbridge.ErrClosed), "", `unavailable: the connection to the container ended before the answer came; what was asked may or may not have been done. Check the state with a reading tool, then call again.`},
		{fmt.Errorf("agent x: %w", sandbox.ErrNotFound), "abc", `not_found: container "abc" does not exist. list_containers shows yours; create_container makes one.`},
		{fmt.Errorf("current container: %w: this bot has none", sandbox.ErrNotFound), "", `not_found: you have no container. Make one with create_container.`},
		{fmt.Errorf("pull x: %w: no such host", sandbox.ErrImage), "", `image_unavailable: pull x: image unavailable: no such host. Check the image's name, or leave image out for the default one.`},
		{fmt.Errorf("pull x: %w", sandbox.ErrImagePending), "", `timeout: the image is still being pulled, which goes on. Call create_container again with the same arguments in a while.`},
		{errors.Join(fmt.Errorf("start: %w: mount /var/lib/moorage/data/x failed", sandbox.ErrUnavailable), errors.New("undo")), "", `unavailable: start: unavailable: mount (path) failed; undo. Call again; if it stays so, make another container with create_container.`},
	} {
		if got := explain(t.Context(), x.err, callOn(x.container)).Error(); got != x.want {
			t.Errorf("%v\n-> %s\nwant %s", x.err, got, x.want)
		}
	}
}

func TestErrorsThatEndedWithTheCall(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := explain(ctx, ctx.Err(), callOn("")).Error(); got != "cancelled: the call was cancelled." {
		t.Errorf("%s", got)
	}
	ctx, cancel = context.WithTimeoutCause(t.Context(), -1, errCallTime)
	defer cancel()
	if got := explain(ctx, ctx.Err(), callOn("")).Error(); !strings.HasPrefix(got, "timeout: the call took too long. ") {
		t.Errorf("%s", got)
	}
	if got := explain(ctx, fmt.Errorf("create: %w", sandbox.ErrImagePending), callOn("")).Error(); !strings.HasPrefix(got, "timeout: the image is still being pulled") {
		t.Errorf("%s", got)
	}
}

func TestUnknownErrorsAreHidden(t *testing.T) {
	f := explain(t.Context(), errors.New("open /var/lib/moorage/secret: boom"), callOn(""))
	if text := f.Error(); !strings.HasPrefix(text, "internal: ") || strings.Contains(text, "boom") || strings.Contains(text, "/var") {
		t.Errorf("%s", text)
	}
	if !strings.Contains(f.err.Error(), "boom") || !strings.Contains(f.Error(), strings.TrimPrefix(f.err.Error()[:18], "reference ")) {
		t.Errorf("%v is not found by %v", f.err, f)
	}
}

func TestErrorsAreBounded(t *testing.T) {
	long := strings.Repeat("x\x1b\xff", 10_000)
	for _, err := range []error{
		&fsbridge.Error{Op: "read", Path: fsbridge.Path(long), Code: fsbridge.CodeIO, Errno: syscall.ENOENT, Message: long, Parent: fsbridge.Path(long), Close: []fsbridge.Path{fsbridge.Path(long), fsbridge.Path(long)}},
		&fsbridge.Error{Op: "write", Path: fsbridge.Path(long), Code: fsbridge.CodeConflict, Revision: long},
		fmt.Errorf("%s: %w", long, sandbox.ErrImage),
		fail(invalidArgument, long, "%s", long),
	} {
		if n := len(explain(t.Context(), err, callOn(long)).Error()); n > 4000 {
			t.Errorf("%.60v: %d bytes", err, n)
		}
	}
	if n := len(noContainer(long).Error()); n > 400 {
		t.Errorf("%d bytes", n)
	}
}

func TestHostPathsAreHidden(t *testing.T) {
	for in, want := range map[string]string{
		`runc: open /run/moorage/x.sock: denied`:         `runc: open (path): denied`,
		`mount "/var/lib/a b"`:                           `mount "(path) b"`,
		`pull docker.io/library/x:latest: not found`:     `pull docker.io/library/x:latest: not found`,
		`Get "https://127.0.0.1:5000/v2/x/manifests/y"`:  `Get "https://127.0.0.1:5000/v2/x/manifests/y"`,
		`source=/var/lib/moorage/bots/b target=/data ok`: `source=(path) target=/data ok`,
	} {
		if got := hidePaths(in); got != want {
			t.Errorf("%s -> %s, want %s", in, got, want)
		}
	}
}
