package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// TestTasks plays what an agent does in a day: each file of testdata/tasks is a
// session over `moorage stdio` with a container of its own. A line "> TOOL JSON"
// is a call, whose JSON may go on in lines that begin with two spaces; what
// follows is the result's text, an error after "! ". $NAME in a call is a fact
// of a result before it. What differs from run to run (ids, times) is masked.
func TestTasks(t *testing.T) {
	i := newInstance(t)
	files, err := filepath.Glob("testdata/tasks/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d tasks, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			i := i
			i.t = t
			got := play(i.client(strings.TrimSuffix(filepath.Base(file), ".txt")), string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s is not what happens; run with -update if that is meant. -want +got:\n%s", file, diff)
			}
		})
	}
}

// play makes the calls of a transcript and writes it with the results of now.
func play(c client, transcript string) string {
	var out strings.Builder
	facts := map[string]any{}
	lines := strings.SplitAfter(transcript, "\n")
	title := true
	for n := 0; n < len(lines); n++ {
		tool, args, isCall := strings.Cut(strings.TrimPrefix(lines[n], "> "), " ")
		if isCall = isCall && strings.HasPrefix(lines[n], "> "); !isCall {
			if title {
				out.WriteString(lines[n])
			}
			continue
		}
		title = false
		for out.WriteString(lines[n]); n+1 < len(lines) && strings.HasPrefix(lines[n+1], "  ") && !json.Valid([]byte(args)); n++ {
			args += lines[n+1]
			out.WriteString(lines[n+1])
		}
		out.WriteString(masked(result(c, tool, args, facts)) + "\n")
	}
	return out.String()
}

// fact is a fact of an earlier result in a call.
var fact = regexp.MustCompile(`\$[a-z_]+`)

// result makes a call and returns the text of its result.
func result(c client, tool, args string, facts map[string]any) string {
	c.t.Helper()
	args = fact.ReplaceAllStringFunc(args, func(name string) string {
		value, ok := facts[name[1:]].(string)
		if !ok {
			return name
		}
		return value
	})
	var params map[string]any
	if err := json.Unmarshal([]byte(args), &params); err != nil {
		c.t.Fatalf("%s %s: %v", tool, args, err)
	}
	r, err := c.Tool(tool, params)
	if err != nil {
		return "! " + err.Error() + "\n"
	}
	for name, value := range r.Structured {
		facts[name] = value
	}
	var text strings.Builder
	for _, item := range r.Content {
		if item.Text != "" {
			text.WriteString(strings.TrimSuffix(item.Text, "\n") + "\n")
		}
	}
	return text.String()
}

var masks = []struct {
	is  *regexp.Regexp
	say string
}{
	{regexp.MustCompile(`\bp(\d+)-[0-9a-f]{6}\b`), "p$1-XXXXXX"},
	{regexp.MustCompile(`\bpid \d+`), "pid N"},
	{regexp.MustCompile(`\b\d+(\.\d+)? ?(ms|µs|s)\b`), "TIME"},
	{regexp.MustCompile(`-before-restore-\d{8}T\d{6}\.\d{9}Z`), "-before-restore-TIME"},
	{regexp.MustCompile(`\b\d+(\.\d+)? [KM]iB (in \d+ files|  ?created)`), "SIZE $2"},
	{regexp.MustCompile(`it had \d+(\.\d+)? [KM]iB`), "it had SIZE"},
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "DATE"},
	{regexp.MustCompile(`made container [0-9a-f-]{36}`), "made container ID"},
}

func masked(text string) string {
	for _, m := range masks {
		text = m.is.ReplaceAllString(text, m.say)
	}
	return text
}
