package tools

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

type everything struct {
	Path    string            `json:"path" doc:"A path."`
	Content string            `json:"content" doc:"Content."`
	Limit   int64             `json:"limit,omitempty" doc:"Lines." min:"1" max:"2000"`
	Share   float64           `json:"share,omitempty" doc:"Share." min:"0.5"`
	Offset  *int64            `json:"offset,omitempty" doc:"Offset." min:"0"`
	Kind    string            `json:"kind,omitempty" doc:"Kind." enum:"text,base64"`
	Mode    string            `json:"mode,omitempty" doc:"Mode." pattern:"^[0-7]{3}$" takes:"an octal mode"`
	Hidden  *bool             `json:"hidden,omitempty" doc:"Hidden."`
	Argv    []string          `json:"argv,omitempty" doc:"Argv." min:"1"`
	Env     map[string]string `json:"env,omitempty" doc:"Env."`
	Limits  everythingLimits  `json:"limits,omitempty" doc:"Limits."`
	Edits   []everythingEdit  `json:"edits,omitempty" doc:"Edits."`
}

type everythingLimits struct {
	MemoryMB int64 `json:"memory_mb,omitempty" doc:"Memory." min:"16"`
}

type everythingEdit struct {
	Old string `json:"old_text" doc:"Old."`
	All bool   `json:"replace_all,omitempty" doc:"All."`
}

var everythingSchema = inputSchema(reflect.TypeFor[everything]())

func parse(args any) (everything, error) {
	var e everything
	err := everythingSchema.parse("tool", args, reflect.ValueOf(&e).Elem())
	return e, err
}

// decode makes of JSON what mcp-go makes of a call's arguments.
func decode(t *testing.T, arguments string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(arguments), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestArgumentsFillTheStruct(t *testing.T) {
	got, err := parse(decode(t, `{"path":"a","content":"","limit":5.0,"share":0.5,"offset":0,"kind":"base64","mode":"755","hidden":false,
		"argv":["a","b"],"env":{"A":"1"},"limits":{"memory_mb":64},"edits":[{"old_text":"x","replace_all":true}]}`))
	zero, no := int64(0), false
	want := everything{"a", "", 5, 0.5, &zero, "base64", "755", &no, []string{"a", "b"}, map[string]string{"A": "1"},
		everythingLimits{64}, []everythingEdit{{"x", true}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	got, err = parse(decode(t, `{"path":"a","content":"b","limit":null,"hidden":null,"env":null,"offset":1e300}`))
	if err != nil || got.Limit != 0 || got.Hidden != nil || *got.Offset != largest {
		t.Errorf("%+v %v", got, err)
	}
}

// TestEverythingWrongIsNamedAtOnce: each fault with parameter, value and what it
// takes, unknown names first, then missing ones.
func TestEverythingWrongIsNamedAtOnce(t *testing.T) {
	for _, x := range []struct {
		args string
		want []string
	}{
		{`{"pth":"a","contents":"b","zzzzzzzz":1}`, []string{
			`invalid_argument: unknown parameter "`, `unknown parameter "pth" (did you mean path?)`, `unknown parameter "contents" (did you mean content?)`, `unknown parameter "zzzzzzzz"`,
			`path is missing, takes a string`, `content is missing, takes a string`, `tool takes path, content, limit`}},
		{`{"file_path":"a","path":"x","content":"y"}`, []string{`unknown parameter "file_path" (did you mean path?)`}},
		{`{"path":5,"content":null,"limit":"many","share":0.1,"offset":-1,"kind":"hex","mode":"abc","hidden":"yes","argv":[],"env":{"A":1},"limits":{"memory_mb":1,"cpu":2},"edits":[{"old":"x"}]}`, []string{
			`path: got 5, takes a string`, `content: got null, takes a string`, `limit: got "many", takes an integer from 1 to 2000`,
			`share: got 0.1, takes a number from 0.5`, `offset: got -1, takes an integer from 0`, `kind: got "hex", takes one of text, base64`,
			`mode: got "abc", takes an octal mode`, `hidden: got "yes", takes true or false`, `argv: got [], takes an array of strings`,
			`env.A: got 1, takes an object of strings`, `limits.memory_mb: got 1, takes an integer from 16`, `unknown parameter "limits.cpu"`,
			`unknown parameter "edits.0.old" (did you mean old_text?)`, `edits.0.old_text is missing, takes a string`}},
		{`{"path":"a","content":"b","limit":5.5}`, []string{`limit: got 5.5, takes an integer from 1 to 2000`}},
		{`{"path":"a","content":"b","limit":2001}`, []string{`limit: got 2001, takes an integer from 1 to 2000`}},
		{`{"path":"a","content":"b","argv":["x",5]}`, []string{`argv.1: got 5, takes an array of strings`}},
		{`[1,2]`, []string{`arguments: got [1,2], takes an object with path, content`}},
		{`"{\"path\":1}"`, []string{`arguments: got "{`, `takes an object with`}},
		{`{"path":{"a":"` + strings.Repeat("x", 5000) + `"},"content":"\u001b[31m` + strings.Repeat("y", 5000) + `","kind":"\u001b[31m"}`, []string{`path: got {"a":"xxx`, `kind: got "\x1b[31m"`}},
	} {
		_, err := parse(decode(t, x.args))
		if err == nil {
			t.Errorf("%s passes", x.args)
			continue
		}
		text := err.Error()
		for _, w := range x.want {
			if !strings.Contains(text, w) {
				t.Errorf("%.300s\n-> %s\nlacks %s", x.args, text, w)
			}
		}
		if len(text) > 4000 || strings.ContainsAny(text, "\x1b\n") {
			t.Errorf("error of %d bytes: %.300q", len(text), text)
		}
	}
}

func TestManyFaultsAreBounded(t *testing.T) {
	args := map[string]any{}
	for i := range 5000 {
		args[strings.Repeat("k", i%200)+string(rune('a'+i%26))+brief(i)] = i
	}
	_, err := parse(args)
	if err == nil || len(err.Error()) > 4000 {
		t.Errorf("%v", err)
	}
}

func TestNoArgumentsAreAnEmptyObject(t *testing.T) {
	c := dial(t, newBench(t).Server, "bot")
	for _, params := range []string{`{"name":"noop"}`, `{"name":"noop","arguments":null}`, `{"name":"noop","arguments":{}}`} {
		r := parseResult(t, c.result(t, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":`+params+`}`))
		if r.IsError {
			t.Errorf("%s: %s", params, r.raw)
		}
	}
	if text := c.fails(t, "noop", `{"a":1}`); text != `invalid_argument: unknown parameter "a". noop takes no arguments.` {
		t.Errorf("%s", text)
	}
}
