package fsbridge

import (
	"strings"
	"testing"
)

func TestCheckSpoolError(t *testing.T) {
	for text, ok := range map[string]bool{
		"": true, "no space left on device": true, strings.Repeat("x", SpoolErrorMax): true,
		strings.Repeat("x", SpoolErrorMax+1): false, "\xff": false, "a\x00": false,
	} {
		code := 0
		res := ExecResult{ProcessID: "p1", PID: 1, State: Exited, ExitCode: &code, NextCursor: "0.0", SpoolError: text}
		if got := checkExec(&ExecRequest{}, &res, nil); (got == "") != ok {
			t.Errorf("%.30q: got %q", text, got)
		}
	}
}
