package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// firstColumn are the names in the first column of the tables' rows.
var firstColumn = regexp.MustCompile("(?m)^\\| `([a-z_ ]+)[^`]*` \\|")

func TestReadmeListsEveryTool(t *testing.T) {
	golden, err := filepath.Glob(filepath.Join("..", "..", "tools", "testdata", "tools", "*.json"))
	if err != nil || len(golden) == 0 {
		t.Fatalf("golden schemas of the tools: %v, %v", golden, err)
	}
	var tools []string
	for _, f := range golden {
		tools = append(tools, strings.TrimSuffix(filepath.Base(f), ".json"))
	}
	_, section, _ := strings.Cut(readme(t), "## Tools\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var listed []string
	for _, m := range firstColumn.FindAllStringSubmatch(section, -1) {
		listed = append(listed, m[1])
	}
	slices.Sort(tools)
	slices.Sort(listed)
	if !slices.Equal(tools, listed) {
		t.Errorf("README lists %v, the tools are %v", listed, tools)
	}
}

func TestReadmeListsEveryCommand(t *testing.T) {
	var c cli
	parser, err := kong.New(&c, kong.Configuration(tomlResolver))
	if err != nil {
		t.Fatal(err)
	}
	text := readme(t)
	for _, node := range parser.Model.Node.Children {
		if node.Name != "demo" && node.Name != "version" && !strings.Contains(text, "`moorage "+node.Name) {
			t.Errorf("README does not name the command %s", node.Name)
		}
	}
	if lines := strings.Count(text, "\n"); lines > 200 {
		t.Errorf("README has %d lines, at most 200 are wanted", lines)
	}
}
