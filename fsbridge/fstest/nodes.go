package fstest

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"moorage/fsbridge"
)

var nodeCases = []testCase{
	{"Mkdir", nodesMkdir},
	{"MkdirRefused", nodesMkdirRefused},
	{"Move", nodesMove},
	{"MoveRefused", nodesMoveRefused},
	{"MoveOverwrites", nodesMoveOverwrites},
	{"MoveAcross", nodesMoveAcross},
	{"Delete", nodesDelete},
	{"DeleteRefused", nodesDeleteRefused},
	{"DeleteLinks", nodesDeleteLinks},
	{"DeleteMounts", nodesDeleteMounts},
	{"DeleteCancelled", nodesDeleteCancelled},
}

func (e *env) mkdir(name string) (fsbridge.MkdirResult, error) {
	return e.Client.Mkdir(e.Context(), fsbridge.MkdirRequest{Path: e.path(name)})
}

func (e *env) move(from, to string, overwrite bool) (fsbridge.MoveResult, error) {
	return e.Client.Move(e.Context(), fsbridge.MoveRequest{Source: e.path(from), Destination: e.path(to), Overwrite: overwrite})
}

func (e *env) remove(name string, recursive bool) (fsbridge.DeleteResult, error) {
	return e.Client.Delete(e.Context(), fsbridge.DeleteRequest{Path: e.path(name), Recursive: recursive})
}

func nodesMkdir(e *env) {
	res, err := e.mkdir("a/b/c")
	if want := (fsbridge.MkdirResult{Path: e.path("a/b/c"), Created: true}); err != nil || res != want {
		e.Errorf("got %+v, %v", res, err)
	}
	if res, err = e.mkdir("a/b/c"); err != nil || res.Created {
		e.Errorf("again: got %+v, %v", res, err)
	}
	for name, mode := range map[string]uint32{"d/e": 0o1777, "a": 0o700} {
		_, err := e.Client.Mkdir(e.Context(), fsbridge.MkdirRequest{Path: e.path(name), Mode: &mode})
		e.must(err)
	}
	for name, mode := range map[string]uint32{"a": 0o755, "a/b/c": 0o755, "d": 0o755, "d/e": 0o1777} {
		if st, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path(name)}); err != nil || st.Mode != mode || st.Type != fsbridge.TypeDirectory {
			e.Errorf("%s: got %+v, %v", name, st, err)
		}
	}
	var made int
	results := make(chan bool, 8)
	parallel(8, func(int) {
		res, err := e.mkdir("at/once")
		if err != nil {
			e.Error(err)
		}
		results <- res.Created
	})
	for range 8 {
		if <-results {
			made++
		}
	}
	if made != 1 {
		e.Errorf("%d have made the directory", made)
	}
	e.sh("ln -s a/b/c link")
	if res, err = e.mkdir("link"); err != nil || res.Created {
		e.Errorf("a link to a directory: got %+v, %v", res, err)
	}
	if _, err = e.mkdir("link/below"); err != nil {
		e.Error(err)
	}
	if res, err := e.Client.Mkdir(e.Context(), fsbridge.MkdirRequest{Path: "/"}); err != nil || res.Created {
		e.Errorf("the root: got %+v, %v", res, err)
	}
}

func nodesMkdirRefused(e *env) {
	e.put("f", "x")
	_, err := e.mkdir("f")
	if remote := e.fails("mkdir", err, fs.ErrExist); !strings.Contains(remote.Message, "a file is there") {
		e.Errorf("got %+v", remote)
	}
	_, err = e.mkdir("f/below/it")
	if remote := e.fails("mkdir", err, syscall.ENOTDIR); !strings.Contains(remote.Message, `"f"`) {
		e.Errorf("got %+v", remote)
	}
	_, err = e.Client.Mkdir(e.Context(), fsbridge.MkdirRequest{Path: e.path("d"), Mode: ptr(uint32(0o10000))})
	e.fails("mkdir", err, fsbridge.ErrInvalid)
	_, err = e.mkdir("new/" + strings.Repeat("x", 256))
	e.fails("mkdir", err, syscall.ENAMETOOLONG)
	e.absent("new")
	_, err = e.Client.Mkdir(e.Context(), fsbridge.MkdirRequest{Path: "/proc/none/deep"})
	e.fails("mkdir", err, fs.ErrPermission)
	e.sh("ln -s none dangling && ln -s self self")
	_, err = e.mkdir("dangling")
	e.fails("mkdir", err, fs.ErrExist)
	_, err = e.mkdir("self")
	e.fails("mkdir", err, syscall.ELOOP)
}

func nodesMove(e *env) {
	e.put("f", "x")
	res, err := e.move("f", "new/dir/g", false)
	if want := (fsbridge.MoveResult{Source: e.path("f"), Destination: e.path("new/dir/g")}); err != nil || res != want {
		e.Errorf("got %+v, %v", res, err)
	}
	e.absent("f")
	if e.get(e.path("new/dir/g")) != "x" {
		e.Error("the content is another")
	}
	if _, err = e.move("new", "moved", false); err != nil || e.get(e.path("moved/dir/g")) != "x" {
		e.Error(err)
	}
	if res, err = e.move("moved", "moved/../moved", false); err != nil || res.Replaced {
		e.Errorf("to itself: got %+v, %v", res, err)
	}
	e.sh("ln -s moved link")
	if _, err = e.move("link", "link2", false); err != nil {
		e.Error(err)
	}
	if st, _, err := e.Client.Stat(e.Context(), fsbridge.StatRequest{Path: e.path("link2")}); err != nil || st.Target != "moved" {
		e.Errorf("got %+v, %v", st, err)
	}
	if _, err = e.move("link2/dir", "moved/../link2/dir", false); err != nil {
		e.Errorf("to itself through a link: %v", err)
	}
}

func nodesMoveRefused(e *env) {
	e.put("f", "f")
	e.put("d/g", "g")
	for _, c := range []struct {
		from, to string
		target   error
		says     string
	}{
		{"none", "x/y", fs.ErrNotExist, ""},
		{"f", "d", fs.ErrExist, "give the new name in it"},
		{"f", "d/g", fs.ErrExist, "overwrite"},
		{"d", "d/in/it", fsbridge.ErrInvalid, "into itself"},
		{"f", "f/below", syscall.ENOTDIR, `"f"`},
		{"f/below", "x", syscall.ENOTDIR, ""},
	} {
		_, err := e.move(c.from, c.to, false)
		if remote := e.fails("move", err, c.target); !strings.Contains(remote.Message, c.says) {
			e.Errorf("%s to %s: got %+v", c.from, c.to, remote)
		}
	}
	e.absent("x")
	e.absent("d/in")
	for _, from := range []fsbridge.Path{"/", "/proc"} {
		_, err := e.Client.Move(e.Context(), fsbridge.MoveRequest{Source: from, Destination: e.path("x")})
		e.fails("move", err, fsbridge.ErrMount)
	}
	_, err := e.Client.Move(e.Context(), fsbridge.MoveRequest{Source: "/proc/self/comm", Destination: e.path("x")})
	e.fails("move", err, fsbridge.ErrIrregular)
	_, err = e.Client.Move(e.Context(), fsbridge.MoveRequest{Source: e.path("f"), Destination: "/proc/none"})
	e.fails("move", err, fs.ErrPermission)
	if e.get(e.path("f")) != "f" || e.get(e.path("d/g")) != "g" {
		e.Error("something changed")
	}
}

func nodesMoveOverwrites(e *env) {
	e.put("f", "f")
	e.put("g", "g")
	res, err := e.move("f", "g", true)
	if err != nil || !res.Replaced || e.get(e.path("g")) != "f" {
		e.Errorf("got %+v, %v", res, err)
	}
	e.sh("mkdir empty && ln g hard")
	if res, err = e.move("g", "empty", true); err != nil || !res.Replaced || e.get(e.path("empty")) != "f" {
		e.Errorf("over an empty directory: got %+v, %v", res, err)
	}
	if res, err = e.move("hard", "empty", true); err != nil || !res.Replaced || e.get(e.path("empty")) != "f" {
		e.Errorf("over its other name: got %+v, %v", res, err)
	}
	e.absent("hard")
	e.absent("g")
	e.put("d/h", "h")
	if res, err = e.move("d", "empty", true); err != nil || !res.Replaced || e.get(e.path("empty/h")) != "h" {
		e.Errorf("a directory over a file: got %+v, %v", res, err)
	}
	e.put("full/x", "x")
	_, err = e.move("empty", "full", true)
	if remote := e.fails("move", err, syscall.ENOTEMPTY); !strings.Contains(remote.Message, "1 entries") {
		e.Errorf("got %+v", remote)
	}
	_, err = e.move("full/x", "full", true)
	e.fails("move", err, syscall.ENOTEMPTY)
	e.noTemps(e.path("."))
}

// nodesMoveAcross moves to another file system and back, if /dev or /dev/shm is
// one.
func nodesMoveAcross(e *env) {
	other := "/dev/shm/fstest" + strings.ReplaceAll(e.Dir, "/", "-")
	e.put("tree/sub/f", "x")
	e.sh(`cd tree && ln -s sub/f link && mkfifo fifo && ln sub/f hard && chmod 750 sub && chmod 4711 sub/f && touch -d '2001-02-03 04:05:06' sub/f sub && mkdir -p /dev/shm && dd if=/dev/zero of=sparse bs=1 count=1 seek=10000000 2>/dev/null`)
	defer e.Client.Delete(context.WithoutCancel(e.Context()), fsbridge.DeleteRequest{Path: fsbridge.Path(other), Recursive: true})
	const facts = " && find . | sort | while read f; do stat -c '%n %f %u %g %Y' \"$f\"; done"
	list := e.sh("cd tree" + facts)
	res, err := e.Client.Move(e.Context(), fsbridge.MoveRequest{Source: e.path("tree"), Destination: fsbridge.Path(other + "/new/tree")})
	e.must(err)
	if !res.Copied {
		e.Skip("one file system only")
	}
	e.absent("tree")
	if got := e.sh("cd " + other + "/new/tree" + facts); got != list {
		e.Errorf("got\n%s\nwant\n%s", got, list)
	}
	if out := e.sh("cd " + other + "/new/tree && [ sub/f -ef hard ] && cat link && du -k sparse | cut -f1"); !strings.HasPrefix(out, "x") || len(out) > 4 {
		e.Errorf("got %q", out)
	}
	back := fsbridge.MoveRequest{Source: fsbridge.Path(other + "/new/tree/sub/f"), Destination: e.put("there", "y")}
	_, err = e.Client.Move(e.Context(), back)
	e.fails("move", err, fs.ErrExist)
	back.Overwrite = true
	if res, err = e.Client.Move(e.Context(), back); err != nil || !res.Copied || !res.Replaced || e.get(e.path("there")) != "x" {
		e.Errorf("got %+v, %v", res, err)
	}
	e.noTemps(e.path("."))
	e.noTemps(fsbridge.Path(other + "/new"))
}

func nodesDelete(e *env) {
	for _, name := range []string{"none", "none/deep"} {
		if res, err := e.remove(name, false); err != nil || res != (fsbridge.DeleteResult{Path: e.path(name)}) {
			e.Errorf("got %+v, %v", res, err)
		}
	}
	e.put("f", "x")
	if res, err := e.remove("f/below", false); err != nil || res.Deleted {
		e.Errorf("got %+v, %v", res, err)
	}
	if res, err := e.remove("f", false); err != nil || !res.Deleted || res.Count != 1 {
		e.Errorf("got %+v, %v", res, err)
	}
	e.put("d/a/b/f", "x")
	e.put("d/g", "x")
	_, err := e.remove("d", false)
	if remote := e.fails("delete", err, syscall.ENOTEMPTY); !strings.Contains(remote.Message, "2 entries") || !strings.Contains(remote.Message, "recursive") {
		e.Errorf("got %+v", remote)
	}
	if res, err := e.remove("d", true); err != nil || res.Count != 5 {
		e.Errorf("got %+v, %v", res, err)
	}
	e.absent("d")
	_, err = e.mkdir("empty")
	e.must(err)
	if res, err := e.remove("empty", false); err != nil || res.Count != 1 {
		e.Errorf("got %+v, %v", res, err)
	}
}

func nodesDeleteRefused(e *env) {
	for _, path := range []fsbridge.Path{"/", "/proc", "/../proc/."} {
		_, err := e.Client.Delete(e.Context(), fsbridge.DeleteRequest{Path: path, Recursive: true})
		e.fails("delete", err, fsbridge.ErrMount)
	}
	for _, path := range []fsbridge.Path{"/proc/self", "/proc/sys", "/proc/self/status"} {
		_, err := e.Client.Delete(e.Context(), fsbridge.DeleteRequest{Path: path, Recursive: true})
		e.fails("delete", err, fsbridge.ErrIrregular)
	}
}

// nodesDeleteLinks: a link goes, what it leads to stays.
func nodesDeleteLinks(e *env) {
	e.put("kept/f", "x")
	e.sh("ln -s kept link && mkdir d && ln -s ../kept d/link && ln -s self self && mkfifo d/fifo && ln -s none dangling")
	for _, name := range []string{"link", "self", "dangling", "d"} {
		if res, err := e.remove(name, true); err != nil || !res.Deleted {
			e.Errorf("%s: got %+v, %v", name, res, err)
		}
		e.absent(name)
	}
	if e.get(e.path("kept/f")) != "x" {
		e.Error("what a link leads to was deleted")
	}
}

// nodesDeleteMounts: a mount point is found also behind a link, and from above.
func nodesDeleteMounts(e *env) {
	mounts := e.sh("cut -d' ' -f5 /proc/self/mountinfo")
	if !strings.Contains("\n"+mounts, "\n/dev/pts\n") || !e.Root {
		e.Skip("no /dev/pts")
	}
	e.sh("ln -s /dev dev && ln -s / root")
	for name, says := range map[string]string{"root/dev": "mount point", "dev/pts": "it is a mount point"} {
		_, err := e.remove(name, true)
		if remote := e.fails("delete", err, fsbridge.ErrMount); !strings.Contains(remote.Message, says) {
			e.Errorf("%s: got %+v", name, remote)
		}
	}
	if res, err := e.remove("dev", true); err != nil || res.Count != 1 {
		e.Errorf("the link: got %+v, %v", res, err)
	}
}

func nodesDeleteCancelled(e *env) {
	e.sh("mkdir d && cd d && i=0; while [ $i -lt 200 ]; do mkdir d$i; (cd d$i; touch 0 1 2 3 4 5 6 7 8 9); i=$((i+1)); done")
	ctx, cancel := context.WithCancel(e.Context())
	time.AfterFunc(time.Millisecond, cancel)
	start := time.Now()
	_, err := e.Client.Delete(ctx, fsbridge.DeleteRequest{Path: e.path("d"), Recursive: true})
	if err != nil && !errors.Is(err, context.Canceled) || time.Since(start) > prompt+time.Second {
		e.Errorf("got %v after %v", err, time.Since(start))
	}
	if _, err := e.remove("d", true); err != nil {
		e.Error(err)
	}
	e.absent("d")
}
