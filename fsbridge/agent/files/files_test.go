package files

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTree(t *testing.T, boot string) (*Tree, string) {
	t.Helper()
	spool := t.TempDir()
	tree := New(Options{Spool: spool, Boot: boot})
	t.Cleanup(tree.Close)
	return tree, spool
}

func write(t *testing.T, tree *Tree, path, content string) error {
	t.Helper()
	_, err := tree.Write(t.Context(), &fsbridge.WriteRequest{Path: fsbridge.Path(path)}, Bytes([]byte(content)))
	return err
}

func temps(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, tempPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// mountTmpfs mounts a file system of its own, which goes with the test.
func mountTmpfs(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skip("no mount:", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	tree, _ := newTree(t, "b")
	dir := mountTmpfs(t, "size=256k")
	path := filepath.Join(dir, "f")
	if err := write(t, tree, path, strings.Repeat("x", 100_000)); err != nil {
		t.Fatal(err)
	}
	for _, app := range []bool{false, true} {
		req := &fsbridge.WriteRequest{Path: fsbridge.Path(path), Append: app}
		_, err := tree.Write(t.Context(), req, Bytes(make([]byte, 300_000)))
		if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, fsbridge.ErrLimit) {
			t.Errorf("append %v: got %v", app, err)
		}
	}
	// There is room for the temporary file, not for both.
	req := &fsbridge.WriteRequest{Path: fsbridge.Path(path), Append: true}
	if _, err := tree.Write(t.Context(), req, Bytes(make([]byte, 100_000))); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != strings.Repeat("x", 100_000) {
		t.Errorf("the file has %d bytes, %v", len(b), err)
	}
	if left := temps(t, dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	tree, _ := newTree(t, "b")
	dir := mountTmpfs(t, "")
	if err := write(t, tree, dir+"/f", "x"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir + "/f", dir + "/new", dir + "/new/f"} {
		if err := write(t, tree, path, "y"); !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// A write fails half way: what its source says comes back, nothing is left.
func TestSourceFails(t *testing.T) {
	tree, _ := newTree(t, "b")
	dir := t.TempDir()
	calls := 0
	src := func(context.Context) ([]byte, error) {
		if calls++; calls > 3 {
			return nil, io.ErrClosedPipe
		}
		return []byte("chunk"), nil
	}
	req := &fsbridge.WriteRequest{Path: fsbridge.Path(dir + "/new/f")}
	if _, err := tree.Write(t.Context(), req, src); err == nil || !strings.Contains(err.Error(), io.ErrClosedPipe.Error()) {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A killed agent's temporary files go, those of others stay.
func TestCleanAfterKill(t *testing.T) {
	spool, dir := t.TempDir(), t.TempDir()
	dir2 := filepath.Join(dir, "new\nline \xff")
	killed := New(Options{Spool: spool, Boot: "aaaa"})
	for _, d := range []string{dir, dir2} {
		if err := write(t, killed, d+"/f", "x"); err != nil {
			t.Fatal(err)
		}
	}
	killed.journal.file.Close() // and no more of it
	for name, stays := range map[string]bool{"aaaa-1": false, "aaaa-2": false, "aaaab-1": true, "bbbb-1": true, "cccc-1": true} {
		for _, d := range []string{dir, dir2} {
			path := filepath.Join(d, tempPrefix+name)
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if _, err := os.Lstat(path); (err == nil) != stays {
					t.Errorf("%q stays: %v, want %v", path, err == nil, stays)
				}
			}()
		}
	}
	next := New(Options{Spool: spool, Boot: "bbbb"})
	defer next.Close()
	next.Clean(t.Context())
	if entries, _ := os.ReadDir(spool); len(entries) != 0 {
		t.Errorf("the spool has %v", entries)
	}
	next.Clean(t.Context())
}

// The journal does not grow with the number of directories written to.
func TestJournalIsBounded(t *testing.T) {
	tree, spool := newTree(t, "b")
	for i := range journalMax + 10 {
		tree.journal.enter("/dir/" + strings.Repeat("x", i%50) + string(rune('a'+i%26)) + time.Duration(i).String())
		tree.journal.leave()
	}
	if n := len(tree.journal.noted); n > journalMax {
		t.Errorf("%d directories are noted", n)
	}
	if info, err := os.Stat(filepath.Join(spool, journalPrefix+"b")); err != nil || info.Size() > 10_000 {
		t.Errorf("got %v, %v", info, err)
	}
}

// Without a spool that can be written, writes go on.
func TestNoJournal(t *testing.T) {
	tree := New(Options{Spool: "/proc/none", Boot: "b"})
	defer tree.Close()
	tree.Clean(t.Context())
	if err := write(t, tree, t.TempDir()+"/f", "x"); err != nil {
		t.Error(err)
	}
}

// A revision is remembered only when the file is old enough that no write can
// hide in its times.
func TestRevisionsAreNotStale(t *testing.T) {
	tree, _ := newTree(t, "b")
	path := filepath.Join(t.TempDir(), "f")
	read := func() string {
		t.Helper()
		res, _, err := tree.Read(t.Context(), &fsbridge.ReadRequest{Path: fsbridge.Path(path)})
		if err != nil {
			t.Fatal(err)
		}
		return res.Revision
	}
	for i := range 50 {
		content := string(rune('a' + i))
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := read(); got != digestOf([]byte(content)).revision {
			t.Fatalf("write %d is not seen", i)
		}
	}
	if len(tree.revisions.now) > 0 {
		t.Error("a young file's revision is remembered")
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	old := unix.NsecToTimespec(time.Now().Add(-time.Hour).UnixNano())
	if st.Mtim = old; settled(&st) {
		t.Error("a file whose ctime is young counts as settled")
	}
	if st.Ctim = old; !settled(&st) {
		t.Error("an old file does not count as settled")
	}
	tree.revisions.put(&st, digest{revision: "x"})
	if d, ok := tree.revisions.get(versionOf(&st)); !ok || d.revision != "x" {
		t.Error("an old file's revision is not remembered")
	}
	for i := range 5 * generation {
		st.Ino = uint64(i)
		tree.revisions.put(&st, digest{})
	}
	if n := len(tree.revisions.now) + len(tree.revisions.old); n > 2*generation {
		t.Errorf("%d revisions are remembered", n)
	}
}

func TestLocksAreForgotten(t *testing.T) {
	var l locks
	p := place{1, 2, "f"}
	unlock, err := l.lock(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := l.lock(ctx, p); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	unlock()
	if len(l.held) != 0 {
		t.Errorf("%d locks are left", len(l.held))
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"README", "readme", 0}, {"notes", "notes.md", 1}, {"kitten", "sitting", 3}, {"", "abc", 3}, {"abc", "", 3}, {strings.Repeat("x", 300), "x", 255}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestModTimesFitJSON(t *testing.T) {
	for _, sec := range []int64{-1 << 62, -1 << 40, 0, 1 << 40, 1<<62 - 1} {
		if _, err := modTime(unix.Timespec{Sec: sec}).MarshalJSON(); err != nil {
			t.Errorf("%d: %v", sec, err)
		}
	}
}

func TestBigWalkIsBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range 30 {
		if err := os.Mkdir(filepath.Join(dir, string(rune('a'+i))), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	req := &fsbridge.ListRequest{Path: fsbridge.Path(dir), Depth: 5}
	l := newListing(t.Context(), req)
	l.left = 20
	root, err := openDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	entries, err := l.entries(int(root.Fd()))
	if err == nil {
		err = l.walk(int(root.Fd()), entries, "", l.depth)
	}
	if err != nil || !l.res.TotalIsMin || l.res.Total != 20 {
		t.Errorf("got %d entries, %+v, %v", l.res.Total, l.res.TotalIsMin, err)
	}
}

// TestUnknownKindIsLookedUp as some file systems do not say it in the directory.
func TestUnknownKindIsLookedUp(t *testing.T) {
	dir, err := openDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := unix.Mkfifo(filepath.Join(dir.Name(), "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := dirent{"pipe", unix.DT_UNKNOWN}
	if !d.look(int(dir.Fd())) || d.typeName() != fsbridge.TypeFIFO {
		t.Errorf("it is taken for a %s", d.typeName())
	}
	if d = (dirent{"gone", unix.DT_UNKNOWN}); d.look(int(dir.Fd())) {
		t.Error("what is not there is found")
	}
}
