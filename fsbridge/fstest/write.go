package fstest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

var writeCases = []testCase{
	{"Create", writeCreate},
	{"Replace", writeReplace},
	{"KeepOwner", writeKeepOwner},
	{"KeepAttributes", writeKeepAttributes},
	{"Mode", writeMode},
	{"Append", writeAppend},
	{"IfRevision", writeIfRevision},
	{"Links", writeLinks},
	{"Refused", writeRefused},
	{"Kernel", writeKernel},
	{"Large", writeLarge},
	{"BrokenSource", writeBrokenSource},
	{"Cancelled", writeCancelled},
	{"LeavesNoDirectory", writeLeavesNoDirectory},
}

func writeCreate(e *env) {
	res, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: e.path("a/b/c/f")}, []byte("text"))
	e.must(err)
	want := fsbridge.WriteResult{Path: e.path("a/b/c/f"), Size: 4, Revision: revisionOf("text"), Created: true}
	if res != want {
		e.Errorf("got %+v, want %+v", res, want)
	}
	for name, mode := range map[string]uint32{"a": 0o755, "a/b/c": 0o755, "a/b/c/f": 0o644} {
		st, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path(name)})
		e.must(err)
		if st.Mode != mode {
			e.Errorf("%s: got mode %#o, want %#o", name, st.Mode, mode)
		}
	}
	e.noTemps(e.path("a/b/c"))
}

func writeReplace(e *env) {
	path := e.put("f", "a longer text")
	res, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path}, []byte("short"))
	e.must(err)
	if res.Created || res.Size != 5 || e.get(path) != "short" {
		e.Errorf("got %+v, %q", res, e.get(path))
	}
	if res, err = e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path}, nil); err != nil || res.Size != 0 || e.get(path) != "" {
		e.Errorf("got %+v, %v", res, err)
	}
	e.noTemps(e.path("."))
}

func writeKeepOwner(e *env) {
	if !e.Root {
		e.Skip("the agent is not root")
	}
	path := e.put("f", "old")
	e.sh("chown 1234:2345 f && chmod 4751 f")
	e.put("f", "new")
	st, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: path})
	e.must(err)
	if st.UID != 1234 || st.GID != 2345 || st.Mode != 0o4751 {
		e.Errorf("got %d:%d %#o", st.UID, st.GID, st.Mode)
	}
	_, err = e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path, Append: true}, []byte("er"))
	e.must(err)
	if st, _, err = e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: path}); err != nil || st.UID != 1234 || st.Size != 5 {
		e.Errorf("got %+v, %v", st, err)
	}
}

func writeKeepAttributes(e *env) {
	if e.HostDir == "" {
		e.Skip("attributes are set by the host")
	}
	path := e.put("f", "old")
	host := filepath.Join(e.HostDir, "f")
	if err := unix.Setxattr(host, "user.note", []byte("kept"), 0); err != nil {
		e.Skip("no extended attributes:", err)
	}
	e.put("f", "new")
	value := make([]byte, 16)
	n, err := unix.Getxattr(host, "user.note", value)
	if err != nil || string(value[:n]) != "kept" || e.get(path) != "new" {
		e.Errorf("got %q, %v", value[:max(n, 0)], err)
	}
}

func writeMode(e *env) {
	for _, mode := range []uint32{0o600, 0o755, 0o4711, 0, 0o7777} {
		_, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: e.path("f"), Mode: ptr(mode)}, []byte("x"))
		e.must(err)
		st, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path("f")})
		e.must(err)
		if st.Mode != mode {
			e.Errorf("got mode %#o, want %#o", st.Mode, mode)
		}
	}
	e.put("f", "kept")
	if st, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path("f")}); err != nil || st.Mode != 0o7777 {
		e.Errorf("got %+v, %v", st, err)
	}
	_, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: e.path("f"), Mode: ptr(uint32(0o10000))}, nil)
	e.fails("write", err, fsbridge.ErrInvalid)
}

func writeAppend(e *env) {
	path := e.path("new/f")
	for i, want := range []string{"one\n", "one\ntwo\n"} {
		res, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path, Append: true}, []byte(want[4*i:]))
		e.must(err)
		if res.Created != (i == 0) || res.Size != int64(len(want)) || res.Revision != revisionOf(want) || e.get(path) != want {
			e.Errorf("got %+v, %q, want %q", res, e.get(path), want)
		}
	}
	big := strings.Repeat("0123456789abcdef", 3<<16)
	res, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path, Append: true}, []byte(big))
	e.must(err)
	if want := "one\ntwo\n" + big; res.Size != int64(len(want)) || e.get(path) != want {
		e.Errorf("streamed append: got %+v", res)
	}
	_, err = e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path, Append: true, IfRevision: ptr("")}, []byte("x"))
	e.fails("write", err, fsbridge.ErrConflict)
	e.noTemps(e.path("new"))
}

func writeIfRevision(e *env) {
	path := e.path("f")
	try := func(revision, content string) (fsbridge.WriteResult, error) {
		return e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path, IfRevision: &revision}, []byte(content))
	}
	_, err := try(revisionOf("x"), "y")
	if remote := e.fails("write", err, fsbridge.ErrConflict); remote.Revision != "" {
		e.Errorf("of no file: got revision %q", remote.Revision)
	}
	first, err := try("", "one")
	e.must(err)
	if !first.Created {
		e.Errorf("got %+v", first)
	}
	_, err = try("", "two")
	if remote := e.fails("write", err, fsbridge.ErrConflict); remote.Revision != first.Revision {
		e.Errorf("got revision %q, want %q", remote.Revision, first.Revision)
	}
	_, err = try(revisionOf("other"), "two")
	if remote := e.fails("write", err, fsbridge.ErrConflict); remote.Revision != first.Revision {
		e.Errorf("got revision %q, want %q", remote.Revision, first.Revision)
	}
	_, err = try("no revision at all", "two")
	e.fails("write", err, fsbridge.ErrConflict)
	_, err = try(first.Revision, "two")
	e.must(err)
	if got := e.get(path); got != "two" {
		e.Errorf("got %q", got)
	}
	big, err := e.Client.WriteFrom(e.Context(), fsbridge.WriteRequest{Path: path}, newPattern(fsbridge.RevisionMax+1))
	e.must(err)
	if _, err = try(big.Revision, "small again"); err != nil {
		e.Errorf("revision of a file over RevisionMax: %v", err)
	}
	e.noTemps(e.path("."))
}

func writeLinks(e *env) {
	e.sh("mkdir d && ln -s d/target link && ln -s link twice && ln -s .. d/dir && ln -s / root")
	res, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: e.path("twice")}, []byte("x"))
	e.must(err)
	if !res.Created || res.Path != e.path("twice") || e.get(e.path("d/target")) != "x" {
		e.Errorf("through a dangling link: got %+v", res)
	}
	for _, name := range []string{"d/dir", "root"} {
		_, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: e.path(name)}, nil)
		e.fails("write", err, syscall.EISDIR)
	}
	e.noTemps(e.path("d"))
}

func writeRefused(e *env) {
	e.put("d/f", "x")
	for _, path := range []fsbridge.Path{e.path("d"), "/", e.path(".")} {
		_, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path}, []byte("x"))
		e.fails("write", err, syscall.EISDIR)
	}
	e.sh("mkfifo fifo")
	for _, path := range []fsbridge.Path{e.path("fifo"), "/dev/null"} {
		for _, app := range []bool{false, true} {
			_, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path, Append: app}, []byte("x"))
			e.fails("write", err, fsbridge.ErrIrregular)
		}
	}
	e.noTemps(e.path("."))
}

// writeKernel: what cannot be made or replaced says so.
func writeKernel(e *env) {
	if _, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: "/proc/self/status"}); err != nil {
		e.Skip("no /proc")
	}
	for _, app := range []bool{false, true} {
		for _, path := range []fsbridge.Path{"/proc/sys/kernel/hostname", "/proc/self/comm"} {
			_, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path, Append: app}, []byte("x"))
			if remote := e.fails("write", err, fsbridge.ErrIrregular); !strings.Contains(remote.Message, "cannot be replaced: it is on proc") || remote.Path != path {
				e.Errorf("%s: got %+v", path, remote)
			}
		}
		for _, path := range []fsbridge.Path{"/proc/none", "/proc/none/deep/er", "/proc/self/none"} {
			_, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path, Append: app}, []byte("x"))
			if remote := e.fails("write", err, fs.ErrPermission); !strings.Contains(remote.Message, "it is on proc") || remote.Path != path {
				e.Errorf("%s: got %+v", path, remote)
			}
		}
	}
	if _, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: "/sys/kernel"}); err != nil {
		return
	}
	_, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: "/sys/none"}, nil)
	e.fails("write", err, fs.ErrPermission)
}

func writeLarge(e *env) {
	content := strings.Repeat("0123456789abcde\n", 3<<16)
	res, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: e.path("f")}, []byte(content))
	e.must(err)
	if res.Size != int64(len(content)) || res.Revision != revisionOf(content) || e.get(e.path("f")) != content {
		e.Errorf("got %+v", res)
	}
	exact := content[:fsbridge.MaxData]
	if res, err = e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: e.path("f")}, []byte(exact)); err != nil || res.Revision != revisionOf(exact) {
		e.Errorf("got %+v, %v", res, err)
	}
}

func writeBrokenSource(e *env) {
	path := e.put("f", "old")
	for _, broken := range []error{errBroken, io.ErrUnexpectedEOF} {
		for _, n := range []int{0, 10, 5 << 20} {
			_, err := e.Client.WriteFrom(e.Context(), fsbridge.WriteRequest{Path: path}, &brokenReader{n, broken})
			if !errors.Is(err, broken) {
				e.Errorf("after %d bytes: got %v", n, err)
			}
		}
	}
	e.must(e.Client.Ping(e.Context()))
	if got := e.get(path); got != "old" {
		e.Errorf("got %.20q", got)
	}
	e.eventually("the temporary files to go", func() bool { return e.temps() == 0 })
	_, err := e.Client.WriteFrom(e.Context(), fsbridge.WriteRequest{Path: path, IfRevision: ptr("")}, newPattern(50<<20))
	e.fails("write", err, fsbridge.ErrConflict)
}

// temps counts the temporary files in the test's directory.
func (e *env) temps() (n int) {
	e.Helper()
	res, err := e.Client.List(e.Context(), fsbridge.ListRequest{Path: e.path("."), Hidden: true})
	e.must(err)
	for _, entry := range res.Entries {
		if strings.Contains(string(entry.Name), "moorage-tmp") {
			n++
		}
	}
	return n
}

func writeCancelled(e *env) {
	path := e.put("f", "old")
	for _, n := range []int{1, 3 << 20} {
		ctx, cancel := context.WithCancel(e.Context())
		var start time.Time
		r := &stuckReader{ctx: ctx, n: n, stuck: func() { start = time.Now(); cancel() }}
		_, err := e.Client.WriteFrom(ctx, fsbridge.WriteRequest{Path: path}, r)
		if !errors.Is(err, context.Canceled) || time.Since(start) > prompt {
			e.Errorf("got %v after %v", err, time.Since(start))
		}
	}
	e.eventually("the temporary files to go", func() bool { return e.temps() == 0 })
	if got := e.get(path); got != "old" {
		e.Errorf("got %.20q", got)
	}
}

func writeLeavesNoDirectory(e *env) {
	_, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: e.path("new/dir/f"), IfRevision: ptr(revisionOf("x"))}, nil)
	e.fails("write", err, fsbridge.ErrConflict)
	if _, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path("new")}); !errors.Is(err, os.ErrNotExist) {
		e.Errorf("the directory is left: %v", err)
	}
}
