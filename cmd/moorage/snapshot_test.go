package main

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSnapshotExportImport sends a bot's state to another bot of another server.
func TestSnapshotExportImport(t *testing.T) {
	i := newInstance(t)
	ann := i.client("ann")
	ann.tool("create_container", map[string]any{"container_id": "work", "env": map[string]any{"WHO": "ann"}})
	ann.tool("exec", map[string]any{"command": "echo root > /root.txt; rm /bin/vi; ln /root.txt /hard; echo data > /data/d.txt; chmod 640 d.txt"})
	ann.tool("create_snapshot", map[string]any{"container_id": "work", "snapshot_name": "state", "note": "to \x1b[31mgo"})
	if out := i.run("snapshot", "list", "--bot", "ann"); !strings.Contains(out, "state") || !strings.Contains(out, "work") || strings.Contains(out, "\x1b") {
		t.Errorf("snapshot list: %q", out)
	}
	file := filepath.Join(t.TempDir(), "moved.tar")
	i.run("snapshot", "export", "--bot", "ann", "state", file)
	if names := tarNames(t, file); !names["index.json"] || !names["oci-layout"] || !names["manifest.json"] {
		t.Errorf("the tar has %v", names)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	streamed, err := i.command("snapshot", "export", "--bot", "ann", "state", "-").Output()
	if whole, _ := os.ReadFile(file); err != nil || len(streamed) != len(whole) {
		t.Errorf("exported to a pipe: %v, %d bytes, to a file %d", err, len(streamed), len(whole))
	}

	other := newInstance(t)
	if out := other.run("snapshot", "import", "--bot", "bob", file); !strings.Contains(out, "moved") || !strings.Contains(out, "import") {
		t.Errorf("snapshot import: %s", out)
	}
	bob := other.client("bob")
	bob.tool("create_container", map[string]any{"container_id": "fork", "from_snapshot": "moved"})
	if got := bob.text("exec", map[string]any{"command": "cat /root.txt /hard d.txt; stat -c %a d.txt; ls /bin/vi 2>&1; echo $WHO"}); !strings.HasPrefix(got, "root\nroot\ndata\n640\nls: ") {
		t.Errorf("in the fork: %q", got)
	}
	if out, err := other.command("snapshot", "import", "--bot", "bob", file).CombinedOutput(); err == nil || !strings.Contains(string(out), "already exists") {
		t.Errorf("import under a name that is taken: %v, %s", err, out)
	}
	if out, err := other.command("snapshot", "delete", "--bot", "bob", "moved").CombinedOutput(); err == nil || !strings.Contains(string(out), "fork") {
		t.Errorf("delete what was forked: %v, %s", err, out)
	}
	bob.tool("delete_container", map[string]any{"container_id": "fork"})
	if out := other.run("snapshot", "delete", "--bot", "bob", "moved"); !strings.Contains(out, "deleted snapshot moved of bot bob") {
		t.Errorf("snapshot delete: %s", out)
	}
	if out := other.run("snapshot", "list", "--bot", "bob"); !strings.Contains(out, "bot bob has no snapshots") {
		t.Errorf("snapshot list: %s", out)
	}
}

// TestSnapshotExportCutShort: a file is there whole or as it was.
func TestSnapshotExportCutShort(t *testing.T) {
	i := newInstance(t)
	c := i.client("ann")
	c.tool("exec", map[string]any{"command": "head -c 100000000 /dev/urandom > big"})
	c.tool("create_snapshot", map[string]any{"snapshot_name": "big"})
	dir := t.TempDir()
	file := filepath.Join(dir, "big.tar")
	if err := os.WriteFile(file, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := i.command("snapshot", "export", "--bot", "ann", "big", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "some of the export", func() bool {
		parts, _ := filepath.Glob(filepath.Join(dir, ".big.tar-*"))
		if len(parts) == 0 {
			return false
		}
		fi, err := os.Stat(parts[0])
		return err == nil && fi.Size() > 0
	})
	server, err := os.FindProcess(i.serverPID())
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Log("the export was quicker than the kill")
		return
	}
	left, err := os.ReadDir(dir)
	if b, _ := os.ReadFile(file); err != nil || string(b) != "before" || len(left) != 1 {
		t.Errorf("after an export that failed: %d bytes in the file, beside it %v, %v", len(b), left, err)
	}
}

func tarNames(t *testing.T, file string) map[string]bool {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	names := map[string]bool{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names[h.Name] = true
	}
}

func TestWriteWhole(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	say := func(text string, err error) func(io.Writer) error {
		return func(w io.Writer) error {
			_, writeErr := io.WriteString(w, text)
			return errors.Join(err, writeErr)
		}
	}
	want := func(text string) {
		t.Helper()
		left, err := os.ReadDir(dir)
		if b, _ := os.ReadFile(file); err != nil || string(b) != text || len(left) > 1 {
			t.Errorf("the file has %q, want %q; beside it %v, %v", b, text, left, err)
		}
	}
	broken := errors.New("broken")
	if err := writeWhole(file, say("half", broken)); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	want("")
	if err := writeWhole(file, say("one", nil)); err != nil {
		t.Error(err)
	}
	want("one")
	if err := writeWhole(file, say("half", broken)); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	want("one")
	if err := writeWhole(file, say("two", nil)); err != nil {
		t.Error(err)
	}
	want("two")
	for _, bad := range []string{"/dev/null", dir, filepath.Join(dir, "none", "f"), filepath.Join(file, "f")} {
		if err := writeWhole(bad, say("x", nil)); err == nil {
			t.Errorf("%s was written", bad)
		}
	}
	want("two")
}

func TestImportName(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for file, want := range map[string]string{
		"a.tar": "a", "/x/y/b.tar.gz": "b", "c.tgz": "c", "d": "d", "v1.2": "v1.2",
		"-": "import-20260102T030405.000000006Z", "with space.tar": "import-20260102T030405.000000006Z", ".tar": "import-20260102T030405.000000006Z",
	} {
		if got := importName(file, now); got != want {
			t.Errorf("%s: %s, want %s", file, got, want)
		}
	}
}
