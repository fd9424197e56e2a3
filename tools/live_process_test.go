package tools

import (
	"fmt"
	"strings"
	"testing"

	"moorage/sandbox"
)

func TestProcess(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	r := l.call(t, "exec", args{"command": "cat; echo end >&2", "stdin_open": true, "wait_seconds": 0})
	id := r.Facts["process_id"]
	has(t, r.text(), "still running after ", fmt.Sprint("process_id ", id), "process with action read shows what comes, signal stops it")
	r = l.call(t, "process", args{"action": "write", "process_id": id, "input": "hello\n", "wait_for": "hel+o", "wait_seconds": 20})
	r.wants(t, args{"process_id": id, "state": "running", "matched": true, "stdout_bytes": 6})
	r.body(t, "hello\n")
	cursor := r.Facts["next_cursor"]
	r = l.call(t, "process", args{"action": "read", "process_id": id, "wait_for": "never", "wait_seconds": 0.1})
	r.wants(t, args{"matched": false})
	r.body(t, "")
	has(t, r.text(), "(no new output) running for ", `nothing matched wait_for "never"`, fmt.Sprint("next_cursor ", cursor))
	has(t, l.call(t, "process", args{"action": "list"}).text(), fmt.Sprint(id, "  running  pid "), "cat; echo end >&2", "[1 of 1 process")
	r = l.call(t, "process", args{"action": "write", "process_id": id, "input": "bye\n", "close_stdin": true, "wait_seconds": 20})
	r.wants(t, args{"state": "exited", "exit_code": 0})
	r.body(t, "bye\n")
	has(t, r.text(), "stderr:\nend\n", "[exit code 0; next_cursor ")
	l.call(t, "process", args{"action": "read", "process_id": id, "cursor": "0"}).body(t, "hello\nbye\n")
	l.call(t, "process", args{"action": "read", "process_id": id, "cursor": cursor}).body(t, "bye\n")
	l.call(t, "process", args{"action": "read", "process_id": id}).body(t, "")
	l.call(t, "process", args{"action": "read", "process_id": id, "cursor": "end"}).body(t, "")
	r = l.call(t, "process", args{"action": "list"})
	list := r.Facts["processes"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["exit_code"] != 0.0 {
		t.Errorf("%s", r.raw)
	}

	for want, a := range map[string]args{
		"invalid_argument: action is missing":                                          {},
		`invalid_argument: action: got "kill", takes one of list, read, write, signal`: {"action": "kill", "process_id": id},
		"invalid_argument: process_id is missing":                                      {"action": "read"},
		"input does not go with action read":                                           {"action": "read", "process_id": id, "input": "x"},
		"process_id does not go with action list":                                      {"action": "list", "process_id": id},
		"action write takes input, close_stdin, or both":                               {"action": "write", "process_id": id},
		"not_found: ": {"action": "read", "process_id": "p99-abcdef"},
		"invalid_argument: wait_for \"a(b\" is not RE2: ": {"action": "read", "process_id": id, "wait_for": "a(b"},
		"cursor":               {"action": "read", "process_id": id, "cursor": "soon"},
		"wait_seconds: got 51": {"action": "read", "process_id": id, "wait_seconds": 51},
		`invalid_argument: signal "NOPE": it may be a name, as `: {"action": "signal", "process_id": id, "signal": "NOPE"},
		"stdin": {"action": "write", "process_id": id, "input": "more"},
	} {
		has(t, l.fails(t, "process", a), want)
	}
}

func TestProcessSignals(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	r := l.call(t, "exec", args{"command": "trap 'echo caught; exit 3' INT; echo up; while :; do sleep 0.05; done", "wait_seconds": 0})
	id := r.Facts["process_id"]
	l.call(t, "process", args{"action": "read", "process_id": id, "wait_for": "up", "wait_seconds": 20, "cursor": "0"})
	r = l.call(t, "process", args{"action": "signal", "process_id": id, "signal": "INT", "wait_seconds": 20})
	r.wants(t, args{"state": "exited", "exit_code": 3})
	r.body(t, "caught\n")
	r = l.call(t, "exec", args{"command": "sleep 602 & sleep 603", "wait_seconds": 0})
	r = l.call(t, "process", args{"action": "signal", "process_id": r.Facts["process_id"], "wait_seconds": 20})
	r.wants(t, args{"state": "signaled", "signal": "SIGTERM"})
	has(t, r.text(), "ended by SIGTERM")
	l.call(t, "exec", args{"command": "ps | grep -c '[s]leep 60[23]'"}).body(t, "0\n")
}

func TestProcessOnATerminal(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	r := l.call(t, "exec", args{"command": "stty size; tty; read x; echo got $x", "tty": true, "rows": 33, "cols": 77, "wait_seconds": 0})
	id := r.Facts["process_id"]
	r = l.call(t, "process", args{"action": "read", "process_id": id, "wait_for": "/dev/", "wait_seconds": 20, "cursor": "0"})
	has(t, r.Content[0].Text, "33 77\r\n")
	r = l.call(t, "process", args{"action": "write", "process_id": id, "input": "it\n", "wait_seconds": 20})
	r.wants(t, args{"exit_code": 0})
	has(t, r.Content[0].Text, "got it")
	has(t, l.fails(t, "exec", args{"command": "true", "rows": 10}), "invalid_argument: ", "tty is not true")
	r = l.call(t, "exec", args{"command": "sleep 604", "tty": true, "wait_seconds": 0})
	r = l.call(t, "process", args{"action": "write", "process_id": r.Facts["process_id"], "input": "\x03", "wait_seconds": 20})
	r.wants(t, args{"state": "signaled", "signal": "SIGINT"})
}

// TestProcessOutputInParts: read by cursor, the parts joined are the whole.
func TestProcessOutputInParts(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	r := l.call(t, "exec", args{"command": "seq 1 20000", "user": "0:0"})
	r.wants(t, args{"truncated": true, "exit_code": 0})
	id := r.Facts["process_id"]
	var joined strings.Builder
	a := args{"action": "read", "process_id": id, "cursor": "0"}
	for range 20 {
		r := l.call(t, "process", a)
		joined.WriteString(r.Content[0].Text)
		if r.Facts["more"] != true {
			break
		}
		has(t, r.text(), "there is more output: process read again")
		a = args{"action": "read", "process_id": id, "cursor": r.Facts["next_cursor"]}
	}
	var want strings.Builder
	for i := range 20000 {
		fmt.Fprintln(&want, i+1)
	}
	if joined.String() != want.String() {
		t.Errorf("joined it has %d bytes, want %d", joined.Len(), want.Len())
	}
}

// TestNoProcess: an empty list is one.
func TestNoProcess(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	r := l.call(t, "process", args{"action": "list"})
	r.wants(t, args{"processes": "[]"})
	has(t, r.text(), "[0 of 0 processes; ")
}
