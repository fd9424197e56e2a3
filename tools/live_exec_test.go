package tools

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"moorage/sandbox"
)

func TestCommands(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	r := l.call(t, "exec", args{"argv": []string{"echo", "a b", "$HOME"}})
	r.body(t, "a b $HOME\n")
	r = l.call(t, "exec", args{"command": "true"})
	r.body(t, "")
	has(t, r.Content[len(r.Content)-1].Text, "[(no output) exit code 0]")
	l.call(t, "exec", args{"command": "cat; echo $X; pwd", "stdin": "in\x00put", "env": args{"X": "y"}, "cwd": "/tmp"}).body(t, "in\x00puty\n/tmp\n")
	r = l.call(t, "exec", args{"command": "kill -9 $$"})
	r.wants(t, args{"state": "signaled", "signal": "SIGKILL"})
	has(t, r.text(), "ended by SIGKILL")
	r = l.call(t, "exec", args{"command": "sleep 60", "timeout_seconds": 0.2})
	r.wants(t, args{"state": "timed_out"})
	has(t, r.text(), "killed, as it ran longer than timeout_seconds 200ms")
	r = l.call(t, "exec", args{"command": `printf 'ok\377\n'; printf '\033[31mred'`})
	r.body(t, "ok\uFFFD\n\x1b[31mred")
	has(t, r.text(), "stdout is not all UTF-8")
	r = l.call(t, "exec", args{"command": "tty; echo err >&2", "tty": true})
	has(t, r.Content[0].Text, "/dev/", "err")

	r = l.call(t, "exec", args{"command": "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"})
	r.wants(t, args{"truncated": true, "exit_code": 0})
	has(t, r.Content[0].Text, "line 0\n", "bytes left out ...", "line 19999\n")
	if n := len(r.text()); n > ResultChars {
		t.Errorf("%d characters", n)
	}
	head, _, _ := strings.Cut(r.Content[0].Text, "\n... ")
	has(t, r.text(), fmt.Sprintf("with byte_offset %d", len(head)))
	rest := l.call(t, "fs_read", args{"path": r.Facts["output_path"], "byte_offset": len(head), "byte_limit": 100})
	if len(rest.Content[0].Text) != 100 {
		t.Errorf("%s", rest.raw)
	}

	for want, a := range map[string]args{
		"invalid_argument: exec takes either command":                         {},
		"invalid_argument: exec takes either":                                 {"command": "a", "argv": []string{"b"}},
		"invalid_argument: command: got ":                                     {"command": "a\x00b"},
		"invalid_argument: argv.1: got ":                                      {"argv": []string{"a", "\x00"}},
		"invalid_argument: wait_seconds: got 51, takes a number from 0 to 50": {"command": "a", "wait_seconds": 51},
		"not_found: ":          {"argv": []string{"/no/such/program"}},
		"invalid_argument: en": {"command": "a", "env": args{"A=B": "x"}},
	} {
		has(t, l.fails(t, "exec", a), want)
	}
	has(t, l.fails(t, "exec", args{"command": "true", "cwd": "/nowhere"}), "not_found: ")
	has(t, l.fails(t, "exec", args{"command": "true", "user": "nobody-such"}), ": ")
}

// TestCommandThatGoesOn: a handle by which it can be followed and stopped.
func TestCommandThatGoesOn(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	begun := time.Now()
	r := l.call(t, "exec", args{"command": "echo begun; exec sleep 300", "wait_seconds": 0.3})
	r.wants(t, args{"state": "running", "stdout_bytes": 6})
	r.body(t, "begun\n")
	if d := time.Since(begun); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
	pid := int(r.Facts["pid"].(float64))
	path := r.Facts["output_path"].(string)
	has(t, r.text(), "still running after ", fmt.Sprint("process_id ", r.Facts["process_id"]), fmt.Sprint("pid ", pid), "process with action read")
	l.call(t, "fs_read", args{"path": path}).body(t, "begun\n")
	l.call(t, "exec", args{"command": fmt.Sprintf("kill -- -%d", pid)}).wants(t, args{"exit_code": 0})
	r = l.call(t, "exec", args{"command": fmt.Sprintf("while kill -0 %d 2>/dev/null; do sleep 0.02; done; echo gone", pid), "wait_seconds": 10})
	r.body(t, "gone\n")
}

// TestCancelledCommandIsKilled, and gets no answer.
func TestCancelledCommandIsKilled(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "exec", args{"command": "mkfifo /tmp/up"})
	l.send(t, callLine("victim", "exec", args{"command": "echo $$ > /tmp/pid; echo > /tmp/up; sleep 300 & wait"}))
	l.call(t, "exec", args{"command": "cat /tmp/up"})
	l.send(t, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"victim"}}`)
	r := l.call(t, "exec", args{"command": "p=$(cat /tmp/pid); while kill -0 -- -$p 2>/dev/null; do sleep 0.02; done; echo gone", "wait_seconds": 10})
	r.body(t, "gone\n")
}

func TestExecProgress(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "exec", args{"command": "true"})
	l.send(t, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"exec","arguments":{"command":"sleep 1.2"},"_meta":{"progressToken":7}}}`)
	n := 0
	for {
		a := l.must(t)
		if a.Result != nil {
			break
		}
		has(t, a.raw, `"progressToken":7`, `"progress":`, `"total":30`)
		n++
	}
	if n < 2 || n > 5 {
		t.Errorf("%d notifications", n)
	}
}

func TestImagesThatDoNotExist(t *testing.T) {
	l := newLive(t, sandbox.Options{NoAutoCreate: true})
	has(t, l.fails(t, "create_container", args{"image": "127.0.0.1:1/no/such:1"}), "image_unavailable: ", "127.0.0.1:1/no/such:1", "Check the image's name")
	has(t, l.fails(t, "create_container", args{"image": "Not An Image"}), "invalid_argument: ")
	has(t, l.fails(t, "create_container", args{"limits": args{"memory_mb": 1, "disk": 5}, "imag": "x"}), `unknown parameter "imag" (did you mean image?)`, `unknown parameter "limits.disk"`, "limits.memory_mb: got 1, takes an integer from 16")
	if r := l.call(t, "list_containers", "{}"); fmt.Sprint(r.Facts["containers"]) != "[]" {
		t.Errorf("left behind: %s", r.raw)
	}
}

func TestStoppedAndManyContainers(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	for _, id := range []string{"b", "a", "c"} {
		l.call(t, "create_container", args{"container_id": id, "snapshotter": "overlayfs"}).wants(t, args{"snapshotter": "overlayfs"})
	}
	has(t, l.fails(t, "create_container", args{"container_id": "d", "snapshotter": "nosuch"}), ": ", "nosuch")
	l.call(t, "stop_container", args{"container_id": "b", "grace_seconds": 0})
	r := l.call(t, "list_containers", "{}")
	lines := strings.Split(r.Content[0].Text, "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "a  running") || !strings.HasPrefix(lines[1], "b  stopped") || !strings.HasSuffix(lines[2], "current") {
		t.Errorf("%q", lines)
	}
	l.call(t, "list_containers", args{"container_id": "b"})
	l.call(t, "create_container", args{"container_id": "a"})
	l.call(t, "fs_write", args{"path": "/etc/mark", "content": "x"}).wants(t, args{"container_id": "a"})
	has(t, l.fails(t, "delete_container", args{"container_id": "a", "delete_data": true}), "conflict: ", "b, c")
}
