package tools

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"moorage/sandbox"
)

// used are the tools' parameters that tests have given to a server with real
// containers, as "tool.parameter".
var used = struct {
	sync.Mutex
	names map[string]bool
}{names: map[string]bool{}}

func use(tool string, args map[string]any) {
	used.Lock()
	defer used.Unlock()
	for name, value := range args {
		used.names[tool+"."+name] = true
		var nested []map[string]any
		switch v := value.(type) {
		case map[string]any:
			nested = []map[string]any{v}
		case []map[string]any:
			nested = v
		}
		for _, in := range nested {
			for sub := range in {
				used.names[tool+"."+name+"."+sub] = true
			}
		}
	}
}

// unused names the parameters that no test has used, if all tests were run.
func unused() []string {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.bench", "test.fuzz"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return nil
		}
	}
	s := NewServer(sandbox.NewManager(nil, sandbox.Options{}), Options{})
	var left []string
	for name, tool := range s.mcp.ListTools() {
		left = append(left, unusedOf(name, tool.Tool.RawInputSchema)...)
	}
	return slices.Sorted(slices.Values(left))
}

func unusedOf(prefix string, raw json.RawMessage) (left []string) {
	var schema struct {
		Properties map[string]json.RawMessage
		Items      json.RawMessage
	}
	if err := json.Unmarshal(raw, &schema); err != nil {
		return []string{fmt.Sprintf("%s: %v", prefix, err)}
	}
	if strings.HasPrefix(string(schema.Items), "{") {
		return unusedOf(prefix, schema.Items)
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		path := prefix + "." + name
		if !used.names[path] {
			left = append(left, path)
		}
		left = append(left, unusedOf(path, schema.Properties[name])...)
	}
	return left
}
