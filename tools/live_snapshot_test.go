package tools

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"moorage/sandbox"
)

// rows are the snapshots of a listing, by name in order.
func rows(t testing.TB, r toolResult) (names []string, by map[string]map[string]any) {
	t.Helper()
	by = map[string]map[string]any{}
	all, ok := r.Facts["snapshots"].([]any)
	if !ok {
		t.Fatalf("%s", r.raw)
	}
	for _, x := range all {
		row := x.(map[string]any)
		name := row["snapshot_name"].(string)
		names, by[name] = append(names, name), row
	}
	return names, by
}

// reads checks what a file of a container has.
func (c *testClient) reads(t testing.TB, container, path, want string) {
	t.Helper()
	c.call(t, "fs_read", args{"container_id": container, "path": path}).body(t, want)
}

// TestSnapshotMainJob: a snapshot before a risky step, what changed, and back.
func TestSnapshotMainJob(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "create_container", args{"container_id": "main"})
	l.call(t, "exec", args{"command": "echo one > /etc/one; echo data > d.txt; mkdir dir; echo in > dir/in"})
	r := l.call(t, "create_snapshot", args{"container_id": "main", "snapshot_name": "before", "note": "before the \x1b[31mrisky step"})
	r.wants(t, args{"snapshot_name": "before", "container_id": "main", "snapshotter": "overlayfs"})
	has(t, r.text(), "Snapshot before of container main is taken, root filesystem and data: ", "The container was paused for ", "restore_snapshot", "from_snapshot before")
	if r.Facts["size_bytes"].(float64) <= 0 || r.Facts["files"].(float64) < 4 || r.Facts["paused_ms"].(float64) <= 0 {
		t.Errorf("%v", r.Facts)
	}
	has(t, l.fails(t, "create_snapshot", args{"snapshot_name": "before"}), "already_exists: ", "before", "Choose another snapshot_name")

	l.call(t, "exec", args{"command": "echo two > /etc/one; rm -r dir; echo more >> d.txt; printf 'a\\0b' > bin; mkdir new; echo n > 'new/odd\tname'"})
	r = l.call(t, "diff_snapshot", args{"snapshot_name": "before"})
	has(t, r.Content[0].Text+"\n", "M /etc/one 4\n", "M /data/d.txt 10\n", "D /data/dir/\n", "D /data/dir/in 3\n", "A /data/bin 3\n", "A /data/new/\n", `A "/data/new/odd\tname" 2`+"\n")
	has(t, r.text(), "changes from snapshot before to the present state: ")
	if strings.Contains(r.text(), "/app") {
		t.Errorf("data is told twice: %s", r.text())
	}
	r = l.call(t, "diff_snapshot", args{"snapshot_name": "before", "patch": true, "path": "d.txt", "container_id": "main"})
	r.wants(t, args{"total": 1, "modified": 1, "added": 0, "deleted": 0, "returned": 1})
	has(t, r.Content[0].Text, "M /data/d.txt 10\n", "\n data\n+more")
	r = l.call(t, "diff_snapshot", args{"snapshot_name": "before", "patch": true, "path": "/app/bin"})
	has(t, r.Content[0].Text, "A /data/bin 3  (")

	r = l.call(t, "restore_snapshot", args{"snapshot_name": "before"})
	r.wants(t, args{"snapshot_name": "before", "container_id": "main", "stopped": "[main]", "started_again": "[main]"})
	back := r.Facts["before_snapshot"].(string)
	has(t, r.text(), "Container main is back at snapshot before", "kept as snapshot "+back, "Stopped for it, with all processes: main; started again.")
	l.reads(t, "main", "/etc/one", "one\n")
	l.reads(t, "main", "d.txt", "data\n")
	l.reads(t, "main", "/app/dir/in", "in\n")
	has(t, l.fails(t, "fs_stat", args{"path": "bin"}), "not_found")
	l.call(t, "diff_snapshot", args{"snapshot_name": "before"}).wants(t, args{"total": 0})

	// The restore is undone, of a container that is stopped, and it stays stopped.
	l.call(t, "stop_container", args{"container_id": "main", "grace_seconds": 0})
	r = l.call(t, "restore_snapshot", args{"snapshot_name": back, "container_id": "main"})
	r.wants(t, args{"stopped": "[]", "started_again": "[]"})
	has(t, r.text(), "No process ran.")
	has(t, l.call(t, "list_containers", "{}").text(), "main  stopped")
	l.reads(t, "main", "/etc/one", "two\n")
	l.call(t, "fs_stat", args{"path": "bin"}).wants(t, args{"size": 3})

	r = l.call(t, "list_snapshots", "{}")
	names, by := rows(t, r)
	if len(names) != 3 || names[0] != "before" || names[1] != back {
		t.Errorf("%v", names)
	}
	if row := by["before"]; row["kind"] != "committed" || row["container_id"] != "main" || row["note"] != "before the \x1b[31mrisky step" || row["labels"].(map[string]any)["moorage/origin"] != "asked" {
		t.Errorf("%v", row)
	}
	if row := by[back]; row["labels"].(map[string]any)["moorage/origin"] != "restore" || row["note"] != "state before the restore of before" {
		t.Errorf("%v", row)
	}
	if strings.ContainsRune(r.text(), '\x1b') {
		t.Errorf("%q", r.text())
	}
	has(t, r.text(), "kept by a restore", "[3 of 3 snapshots]")
	r = l.call(t, "delete_snapshot", args{"snapshot_name": "before"})
	r.wants(t, args{"snapshot_name": "before", "deleted": true})
	has(t, l.fails(t, "delete_snapshot", args{"snapshot_name": "before"}), "not_found: snapshot before: ", "list_snapshots shows yours")
	l.reads(t, "main", "/etc/one", "two\n") // what it stood on is there
}

// TestForkHasDataOfItsOwn: neither a fork nor what it came from sees the other.
func TestForkHasDataOfItsOwn(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "create_container", args{"container_id": "main", "env": args{"A": "1", "B": "2"}, "limits": args{"memory_mb": 300}})
	l.call(t, "exec", args{"command": "echo root > /etc/r; echo data > d.txt"})
	l.call(t, "create_snapshot", args{"snapshot_name": "s"})
	l.call(t, "exec", args{"command": "echo later > d.txt"})
	fork := args{"container_id": "fork", "from_snapshot": "s", "env": args{"B": "3"}, "limits": args{"pids": 99}}
	r := l.call(t, "create_container", fork)
	r.wants(t, args{"container_id": "fork", "created": true, "state": "running", "data": "own", "from_snapshot": "s"})
	has(t, r.text(), "forked from snapshot s", "a copy of the snapshot's data of its own", "deleted with the container")
	l.call(t, "create_container", fork).wants(t, args{"created": false})
	has(t, l.fails(t, "create_container", args{"container_id": "main", "from_snapshot": "s"}), "already_exists: ", "from_snapshot is none")
	has(t, l.fails(t, "create_container", args{"from_snapshot": "s", "image": "other:1"}), "invalid_argument: ", "leave image out")
	has(t, l.fails(t, "create_container", args{"from_snapshot": "s", "snapshotter": "native"}), "invalid_argument: ", "leave snapshotter out")
	has(t, l.fails(t, "create_container", args{"from_snapshot": "none"}), "not_found: snapshot none: ")
	l.call(t, "create_container", args{"container_id": "twin", "from_snapshot": "s"})

	l.reads(t, "fork", "d.txt", "data\n")
	l.call(t, "exec", args{"container_id": "fork", "command": "echo forked | tee d.txt /etc/r; echo $A$B"}).body(t, "forked\n13\n")
	l.reads(t, "main", "d.txt", "later\n")
	l.reads(t, "main", "/etc/r", "root\n")
	l.reads(t, "twin", "/app/d.txt", "data\n")
	l.reads(t, "twin", "/etc/r", "root\n")
	has(t, l.call(t, "list_containers", args{"container_id": "fork"}).text(), "forked from snapshot s", "data of its own", "300 MiB", "99 processes")

	// A fork's own snapshots and restores concern nobody else.
	l.call(t, "create_snapshot", args{"container_id": "fork", "snapshot_name": "f"})
	l.call(t, "exec", args{"container_id": "fork", "command": "rm d.txt"})
	l.call(t, "restore_snapshot", args{"snapshot_name": "f"}).wants(t, args{"container_id": "fork", "stopped": "[fork]"})
	l.reads(t, "fork", "d.txt", "forked\n")
	l.reads(t, "main", "d.txt", "later\n")
	names, _ := rows(t, l.call(t, "list_snapshots", args{"container_id": "main", "snapshotter": "overlayfs"}))
	if fmt.Sprint(names) != "[s]" {
		t.Errorf("%v", names)
	}
	if names, _ := rows(t, l.call(t, "list_snapshots", args{"snapshotter": "other"})); len(names) != 0 {
		t.Errorf("%v", names)
	}

	has(t, l.fails(t, "delete_snapshot", args{"snapshot_name": "s"}), "conflict: ", "fork", "twin")
	l.call(t, "delete_container", args{"container_id": "twin"})
	r = l.call(t, "delete_container", args{"container_id": "fork", "delete_data": true})
	r.wants(t, args{"deleted": true, "data_deleted": true})
	has(t, r.text(), "its own copy of the data", "share under /data stays")
	l.reads(t, "main", "d.txt", "later\n")
	l.call(t, "delete_snapshot", args{"snapshot_name": "s"})

	// A container that is gone comes back by a fork.
	l.call(t, "delete_container", args{"container_id": "main", "delete_data": true}).wants(t, args{"data_deleted": true})
	has(t, l.fails(t, "restore_snapshot", args{"snapshot_name": "f"}), "not_found: the container that snapshot f was taken of does not exist any more", "create_container with from_snapshot")
	has(t, l.fails(t, "diff_snapshot", args{"snapshot_name": "f"}), "not_found: the container that snapshot f", "against")
	l.call(t, "create_container", args{"container_id": "again", "from_snapshot": "f"})
	l.reads(t, "again", "d.txt", "forked\n")
}

// TestSharersArePausedAndStopped: containers that share data go together.
func TestSharersArePausedAndStopped(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	for _, id := range []string{"a", "b", "c"} {
		l.call(t, "create_container", args{"container_id": id})
	}
	l.call(t, "stop_container", args{"container_id": "b", "grace_seconds": 0})
	l.call(t, "exec", args{"container_id": "c", "command": "while :; do date +%N > busy; done", "wait_seconds": 0})
	r := l.call(t, "create_snapshot", args{"container_id": "a", "snapshot_name": "s"})
	r.wants(t, args{"also_paused": "[c]"})
	has(t, r.text(), "and so were those that share its data: c.")
	l.call(t, "exec", args{"container_id": "c", "command": "echo x > /etc/only-c; echo y > later"})
	r = l.call(t, "restore_snapshot", args{"snapshot_name": "s"})
	r.wants(t, args{"container_id": "a", "stopped": "[a c]", "started_again": "[a c]"})
	has(t, r.text(), "all processes: a, c; started again. They share the data.")
	l.reads(t, "c", "/etc/only-c", "x\n") // another one's root filesystem stays
	has(t, l.fails(t, "fs_stat", args{"container_id": "c", "path": "later"}), "not_found")
	has(t, l.call(t, "list_containers", args{"container_id": "b"}).text(), "b  stopped")
	// A snapshot of another's, put into this one: its root filesystem too.
	l.call(t, "create_snapshot", args{"container_id": "c", "snapshot_name": "of-c"})
	l.call(t, "restore_snapshot", args{"snapshot_name": "of-c", "container_id": "b"}).wants(t, args{"container_id": "b", "started_again": "[a c]"})
	l.reads(t, "b", "/etc/only-c", "x\n")
}

func TestSnapshotNamesAndLimits(t *testing.T) {
	l := newLive(t, sandbox.Options{NoAutoCreate: true, MaxSnapshots: 3})
	has(t, l.fails(t, "create_snapshot", "{}"), "not_found: you have no container")
	has(t, l.fails(t, "create_snapshot", args{"container_id": "none"}), `not_found: container "none" does not exist`)
	l.call(t, "create_container", args{"container_id": "x"})
	for tool, bad := range map[string]args{
		"create_snapshot": {"snapshot_name": "a b"}, "restore_snapshot": {"snapshot_name": ".x"}, "delete_snapshot": {"snapshot_name": "../y"},
		"diff_snapshot": {"snapshot_name": "ä"}, "create_container": {"from_snapshot": strings.Repeat("a", 129)},
	} {
		has(t, l.fails(t, tool, bad), "invalid_argument: ", "takes 1 to 128 of")
	}
	has(t, l.fails(t, "create_snapshot", args{"note": strings.Repeat("ä", sandbox.MaxNote/2+1)}), "invalid_argument: note ", "at most 1000")
	for _, tool := range []string{"restore_snapshot", "delete_snapshot", "diff_snapshot"} {
		has(t, l.fails(t, tool, args{"snapshot_name": "none"}), "not_found: ", "snapshot none", "list_snapshots")
		has(t, l.fails(t, tool, args{"snapshot_name": ""}), "invalid_argument: snapshot_name")
	}
	r := l.call(t, "list_snapshots", "{}")
	r.wants(t, args{"total": 0, "snapshots": "[]", "snapshotter": "overlayfs"})
	has(t, r.text(), "There is no such snapshot")

	first := l.call(t, "create_snapshot", "{}").Facts["snapshot_name"].(string)
	if _, err := time.Parse("x-20060102T150405.000000000Z", first); err != nil {
		t.Errorf("the default name is %s", first)
	}
	for _, name := range []string{"two", "three"} {
		l.call(t, "exec", args{"command": "echo " + name + " >> log"})
		l.call(t, "create_snapshot", args{"snapshot_name": name})
	}
	has(t, l.fails(t, "create_snapshot", "{}"), "limit_exceeded: ", "has 3 snapshots, at most 3 are allowed", "the oldest are "+first+" (")
	running := l.call(t, "exec", args{"command": "sleep 1000", "wait_seconds": 0}).Facts["process_id"]
	has(t, l.fails(t, "restore_snapshot", args{"snapshot_name": "two"}), "limit_exceeded: ", "keep the state before")
	l.call(t, "process", args{"action": "read", "process_id": running, "wait_seconds": 0}).wants(t, args{"state": "running"}) // nothing was stopped

	r = l.call(t, "list_snapshots", args{"limit": 1, "offset": 1})
	r.wants(t, args{"total": 3, "next_offset": 2})
	has(t, r.text(), "two", "[1 of 3 snapshots; the rest: list_snapshots with offset 2]")
	l.call(t, "diff_snapshot", args{"snapshot_name": "two", "against": "three"}).body(t, "M /data/log 10")
	has(t, l.fails(t, "diff_snapshot", args{"snapshot_name": "two", "against": "three", "container_id": "x"}), "invalid_argument: ", "Leave one of them out")
	has(t, l.fails(t, "diff_snapshot", args{"snapshot_name": "two", "against": "four"}), "not_found: snapshot four")

	// By bytes, on another server of the same bot.
	small := NewServer(sandbox.NewManager(engine.runtime, sandbox.Options{MaxSnapshotBytes: 1}), Options{})
	has(t, dial(t, small, l.bot).fails(t, "create_snapshot", args{"container_id": "x"}), "limit_exceeded: ", "at most 1 B are allowed", "the biggest are ")
}

// TestDiffPages: pages joined are the whole, and each is bounded.
func TestDiffPages(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "create_snapshot", args{"container_id": l.call(t, "create_container", "{}").Facts["container_id"], "snapshot_name": "s"})
	l.call(t, "exec", args{"command": "i=0; while [ $i -lt 700 ]; do i=$((i+1)); echo line $i > a-rather-long-name-of-a-file-with-a-number-$i; done; head -c 300000 /dev/zero | tr '\\0' x > wide"})
	whole := map[string]bool{}
	for offset := 0; ; {
		r := l.call(t, "diff_snapshot", args{"snapshot_name": "s", "limit": 600, "offset": offset, "path": "/data", "patch": true})
		r.wants(t, args{"total": 701, "added": 701})
		if n := len(r.text()); n > ResultChars {
			t.Errorf("a page of %d characters", n)
		}
		n := int(r.Facts["returned"].(float64))
		for _, line := range strings.SplitN(r.Content[0].Text, "\n", n+1)[:n] {
			whole[line] = true
		}
		next, more := r.Facts["next_offset"].(float64)
		if !more {
			break
		}
		has(t, r.text(), fmt.Sprintf("the rest: diff_snapshot with offset %d]", int(next)))
		offset = int(next)
	}
	if len(whole) != 701 {
		t.Errorf("%d different lines", len(whole))
	}
}

// TestSnapshotWhileFilesAreWritten: calls are held back for a moment, none fails.
func TestSnapshotWhileFilesAreWritten(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "create_container", args{"container_id": "x"})
	stop, writer := make(chan struct{}), dial(t, l.Server, l.bot)
	var wg sync.WaitGroup
	written := 0
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			writer.call(t, "fs_write", args{"path": "counter", "content": fmt.Sprint(written)}).wants(t, args{"path": "/data/counter"})
			written++
		}
	})
	for range 10 {
		l.call(t, "create_snapshot", "{}")
	}
	close(stop)
	wg.Wait()
	l.reads(t, "x", "counter", fmt.Sprint(written-1))
}

// TestForeignSnapshotsAreUnknown: another bot's answers as one that does not exist.
func TestForeignSnapshotsAreUnknown(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "create_container", args{"container_id": "x"})
	l.call(t, "create_snapshot", args{"snapshot_name": "secret"})
	other := l.another(t, "other")
	other.call(t, "create_container", args{"container_id": "x"})
	other.call(t, "create_snapshot", args{"snapshot_name": "mine"})
	for tool, a := range map[string]args{
		"restore_snapshot": {}, "delete_snapshot": {}, "diff_snapshot": {}, "create_container": {"from_snapshot": "secret"},
	} {
		param := "snapshot_name"
		if tool == "create_container" {
			param = "from_snapshot"
		}
		a[param] = "secret"
		foreign := other.fails(t, tool, a)
		a[param] = "nosuch"
		if unknown := other.fails(t, tool, a); strings.ReplaceAll(foreign, "secret", "nosuch") != unknown || !strings.HasPrefix(foreign, "not_found: ") {
			t.Errorf("%s: %q and %q", tool, foreign, unknown)
		}
	}
	if names, _ := rows(t, other.call(t, "list_snapshots", "{}")); fmt.Sprint(names) != "[mine]" {
		t.Errorf("%v", names)
	}
	other.call(t, "create_snapshot", args{"snapshot_name": "secret"}) // the name is free
}

// TestSnapshotGoesOnWithoutItsCall: who leaves finds it later.
func TestSnapshotGoesOnWithoutItsCall(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "create_container", args{"container_id": "x"})
	l.call(t, "exec", args{"command": "head -c 50000000 /dev/urandom > big"})
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Microsecond)
	defer cancel()
	for n := 0; ; n++ { // until one is left in the middle
		_, err := l.manager.TakeSnapshot(ctx, l.bot, "x", sandbox.SnapshotName(fmt.Sprintf("left-%d", n)), "")
		if f := explain(ctx, err, &call{tool: "create_snapshot"}); err != nil && strings.Contains(f.Error(), "goes on") {
			has(t, f.Error(), "timeout: take snapshot left-", "list_snapshots shows when it is done")
			break
		}
		if n == 50 {
			t.Skip("every snapshot was done, or not begun, when its caller left")
		}
		again, stop := context.WithTimeout(context.Background(), time.Duration(n+1)*time.Millisecond)
		defer stop()
		ctx = again
	}
	// The next change of the bot waits for it.
	l.call(t, "create_snapshot", args{"snapshot_name": "after"})
	names, _ := rows(t, l.call(t, "list_snapshots", args{"limit": 1000}))
	if last := names[len(names)-1]; last != "after" || !strings.HasPrefix(names[len(names)-2], "left-") {
		t.Errorf("%v", names)
	}
}

// TestCloseCutsSnapshotsShort: it is there whole or not at all, and Close does
// not wait for the whole of it.
func TestCloseCutsSnapshotsShort(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "create_container", args{"container_id": "x"})
	l.call(t, "exec", args{"command": "head -c 200000000 /dev/urandom > big"})
	done := make(chan error, 1)
	go func() {
		_, err := l.manager.TakeSnapshot(context.Background(), l.bot, "x", "cut", "")
		done <- err
	}()
	for held := false; !held && len(done) == 0; { // the bot's lock: then it has begun
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		_, err := l.manager.DeleteSnapshot(ctx, l.bot, "none")
		held = errors.Is(err, context.DeadlineExceeded)
		cancel()
	}
	if err := l.manager.Close(); err != nil {
		t.Error(err)
	}
	taken := <-done
	all, err := l.manager.ListSnapshots(context.Background(), l.bot, "", "")
	if err != nil || len(all) == 1 != (taken == nil) {
		t.Errorf("%d snapshots, though taking it ended with %v; %v", len(all), taken, err)
	}
	if _, err := l.manager.TakeSnapshot(context.Background(), l.bot, "x", "late", ""); err == nil {
		t.Error("a snapshot was taken after Close")
	}
}
