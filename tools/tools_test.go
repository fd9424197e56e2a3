package tools

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// listed is tools/list as a client gets it: each tool's own JSON, in order.
func listed(t *testing.T) (whole []byte, tools []json.RawMessage) {
	t.Helper()
	s := NewServer(nil, Options{})
	c := dial(t, s, "bot")
	whole = c.result(t, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	var r struct{ Tools []json.RawMessage }
	if err := json.Unmarshal(whole, &r); err != nil {
		t.Fatal(err)
	}
	return whole, r.Tools
}

type toolJSON struct {
	Name         string
	Description  string
	InputSchema  json.RawMessage
	OutputSchema json.RawMessage
	Annotations  map[string]any
}

func TestToolsAreGolden(t *testing.T) {
	_, tools := listed(t)
	var names []string
	for _, raw := range tools {
		var tool toolJSON
		var pretty bytes.Buffer
		if err := json.Unmarshal(raw, &tool); err != nil {
			t.Fatal(err)
		}
		if err := json.Indent(&pretty, raw, "", "  "); err != nil {
			t.Fatal(err)
		}
		pretty.WriteByte('\n')
		names = append(names, tool.Name+".json")
		compare(t, filepath.Join("testdata", "tools", tool.Name+".json"), pretty.Bytes())
	}
	files, err := os.ReadDir(filepath.Join("testdata", "tools"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains(names, f.Name()) {
			t.Errorf("golden file %s is of no tool", f.Name())
		}
	}
}

func compare(t *testing.T, golden string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatalf("%v; run with -update", err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s differs; run with -update if that is meant. Now:\n%s", golden, got)
	}
}

// TestSizes holds what a model has to read: with the skill tools to come, all have to fit 16,000 bytes, and the whole list 26,000.
func TestSizes(t *testing.T) {
	whole, tools := listed(t)
	seen := 0
	for _, raw := range tools {
		var tool toolJSON
		if err := json.Unmarshal(raw, &tool); err != nil {
			t.Fatal(err)
		}
		n := len(tool.Name) + len(tool.Description) + len(tool.InputSchema)
		t.Logf("%-18s %5d bytes seen, %5d in all", tool.Name, n, len(raw))
		seen += n
		if len(tool.Description) > 2048 {
			t.Errorf("%s: description of %d bytes", tool.Name, len(tool.Description))
		}
	}
	t.Logf("all: %d bytes seen, tools/list %d", seen, len(whole))
	const seenMax, wholeMax = 15_000, 24_500
	if seen > seenMax {
		t.Errorf("models see %d bytes of tools, at most %d are planned for these", seen, seenMax)
	}
	if len(whole) > wholeMax {
		t.Errorf("tools/list has %d bytes, at most %d are planned for these", len(whole), wholeMax)
	}
}

func TestToolsKeepTheRules(t *testing.T) {
	_, tools := listed(t)
	var names []string
	for _, raw := range tools {
		var tool toolJSON
		var in struct {
			Type                 string
			AdditionalProperties *bool
			Properties           map[string]struct{ Description string }
		}
		if err := json.Unmarshal(raw, &tool); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(tool.InputSchema, &in); err != nil {
			t.Fatal(err)
		}
		names = append(names, tool.Name)
		if in.Type != "object" || in.AdditionalProperties == nil || *in.AdditionalProperties {
			t.Errorf("%s: the input is not a closed object", tool.Name)
		}
		for name, p := range in.Properties {
			if !strings.HasSuffix(p.Description, ".") || strings.Count(p.Description, ". ") > 0 {
				t.Errorf("%s.%s: %q is not one sentence", tool.Name, name, p.Description)
			}
		}
		hints := slices.Sorted(maps.Keys(tool.Annotations))
		if want := []string{"destructiveHint", "idempotentHint", "openWorldHint", "readOnlyHint"}; !slices.Equal(hints, want) {
			t.Errorf("%s: annotations %v, want all of %v", tool.Name, hints, want)
		}
		if len(tool.OutputSchema) == 0 {
			t.Errorf("%s: no output schema", tool.Name)
		}
	}
	want := []string{
		"create_container", "create_snapshot", "delete_container", "delete_snapshot", "diff_snapshot", "exec", "fs_delete", "fs_edit", "fs_glob", "fs_grep", "fs_list", "fs_mkdir",
		"fs_move", "fs_patch", "fs_read", "fs_stat", "fs_write", "list_containers", "list_snapshots", "process",
		"restore_snapshot", "stop_container",
	}
	if !slices.Equal(names, want) {
		t.Errorf("tools %v, want %v", names, want)
	}
	for range 5 {
		if _, again := listed(t); !slices.EqualFunc(tools, again, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			t.Error("tools/list differs between calls")
		}
	}
	if n := len(instructions); n > 2048 || !strings.Contains(instructions[:512], "Begin with") {
		t.Errorf("instructions of %d bytes do not say in the first 512 how to begin", n)
	}
}
