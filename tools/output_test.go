package tools

import (
	"strings"
	"testing"

	"moorage/fsbridge"
)

func TestReadSpoolNotice(t *testing.T) {
	full := fsbridge.ExecResult{State: fsbridge.Exited, StdoutPath: "/p1.out", SpoolError: "no space left on device", StdoutBytes: 10, StdoutHead: 10}
	cut, none, runs := full, full, full
	cut.StdoutBytes, none.StdoutPath, runs.State = 99, "", fsbridge.Running
	for want, res := range map[string]fsbridge.ExecResult{
		"": {StdoutBytes: 99},
		"more than 16777216 bytes were written to one stream; its file has the first of them, and the newest 64 KiB are read by process":                            {SpoolCut: true},
		"the output file is incomplete: no space left on device; what is shown here is all of the output":                                                           full,
		"there is no output file: no space left on device; what is shown here is all of the output":                                                                 none,
		"the output file is incomplete: no space left on device; what is shown here is all of the output so far":                                                    runs,
		"the output file is incomplete: no space left on device; what is shown here is its beginning and its end; of what is left out, what the file lacks is lost": cut,
	} {
		if got := spoolNotice(res); got != want {
			t.Errorf("got %q\nwant %q", got, want)
		}
	}
	if stateOf(full).Truncated {
		t.Error("all is shown, and yet truncated")
	}
}

func TestReadStreamWithoutFile(t *testing.T) {
	for path, want := range map[fsbridge.Path]string{
		"":   "stdout is cut: 7 bytes of 9 left out; they are lost, as there is no output file",
		"/f": "stdout is cut: 7 bytes of 9 left out; to read on: fs_read /f with byte_offset 1",
	} {
		var notices []string
		var cut bool
		o := stream{"stdout", []byte("a"), []byte("b"), 9, path}
		if text := o.text(&notices, &cut); !cut || strings.Join(notices, "|") != want || text != "a\n... 7 bytes left out ...\nb" {
			t.Errorf("got %q, %v, %q", text, cut, notices)
		}
	}
	f := processState{State: string(fsbridge.Running), ProcessID: "p1", PID: 7, StdoutBytes: 1}
	if got := f.ending(execInput{}); got != "still running after 0s: process_id p1, pid 7; process with action read shows what comes, signal stops it" {
		t.Errorf("got %q", got)
	}
}

func TestReadLimitNotice(t *testing.T) {
	const memory = "meanwhile the container's memory limit was reached and a process in it killed for that"
	const pids = "meanwhile the container's pids limit was reached: new processes or threads were refused"
	for _, c := range []struct {
		res       fsbridge.ExecResult
		met, want string
	}{
		{fsbridge.ExecResult{}, "", ""},
		{fsbridge.ExecResult{MemoryMet: true}, "memory", memory},
		{fsbridge.ExecResult{MemoryMet: true, OOMKilled: true}, "memory", ""}, // the end says it
		{fsbridge.ExecResult{PIDsMet: true}, "pids", pids},
		{fsbridge.ExecResult{PIDsMet: true, MemoryMet: true}, "memory, pids", memory + "; " + pids},
		{fsbridge.ExecResult{PIDsMet: true, MemoryMet: true, OOMKilled: true}, "memory, pids", pids},
	} {
		f := stateOf(c.res)
		if got := f.limitNotice(); f.LimitMet != c.met || got != c.want {
			t.Errorf("%+v: got %q, %q", c.res, f.LimitMet, got)
		}
	}
}
