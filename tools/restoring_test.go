package tools

import "testing"

func TestStoppedForARestore(t *testing.T) {
	for _, c := range []struct {
		stopped, started []string
		want             string
	}{
		{nil, nil, ""},
		{[]string{"a"}, []string{"a"}, "Stopped for it, with all processes: a; started again"},
		{[]string{"a"}, nil, "Stopped for it, with all processes: a; the next call starts it again"},
		{[]string{"a", "b"}, []string{"b"}, "Stopped for it, with all processes: a, b; started again: b, the others by the next call. They share the data"},
	} {
		if got := stoppedFor(c.stopped, c.started); got != c.want {
			t.Errorf("%v, %v: %s", c.stopped, c.started, got)
		}
	}
}
