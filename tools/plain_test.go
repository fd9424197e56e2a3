package tools

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"moorage/sandbox"
)

// everyInput has every kind of parameter that a tool may have.
type everyInput struct {
	Text     string            `json:"text" doc:"d" min:"1" max:"20"`
	Choice   string            `json:"choice,omitempty" doc:"d" enum:"a,b"`
	Octal    string            `json:"octal,omitempty" doc:"d" pattern:"^0?[0-7]{3}$"`
	Optional *string           `json:"optional,omitempty" doc:"d"`
	Flag     bool              `json:"flag,omitempty" doc:"d"`
	FlagP    *bool             `json:"flag_p,omitempty" doc:"d"`
	N        int64             `json:"n,omitempty" doc:"d" min:"-5" max:"1000"`
	NP       *int64            `json:"np,omitempty" doc:"d" min:"0"`
	I        int               `json:"i,omitempty" doc:"d"`
	F        float64           `json:"f,omitempty" doc:"d" min:"0.1" max:"50"`
	FP       *float64          `json:"fp,omitempty" doc:"d"`
	List     []string          `json:"list,omitempty" doc:"d" min:"1" max:"3"`
	Map      map[string]string `json:"map,omitempty" doc:"d" max:"2"`
	In       everyInner        `json:"in,omitempty" doc:"d"`
	Ins      []everyInner      `json:"ins,omitempty" doc:"d"`
}

type everyInner struct {
	A string `json:"a" doc:"d"`
	B bool   `json:"b,omitempty" doc:"d"`
}

type everyFacts struct {
	Got string `json:"got"`
}

// twoWays answers messages by the short way and by mcp-go's.
type twoWays struct{ server *Server }

func newTwoWays(t testing.TB) twoWays {
	s := newServer(Options{Version: "test", Log: slog.New(slog.DiscardHandler)})
	add(s, definition{name: "every"}, func(_ context.Context, c *call, in everyInput) (r reply[everyFacts], err error) {
		r.facts.Got = string(mustJSON(in))
		r.say(in.Text)
		if in.Flag {
			r.image([]byte(in.Text), "image/png")
			r.note("flag is %v", in.Flag)
			c.notices = append(c.notices, "first")
		}
		if in.N == 7 {
			return r, fail(conflict, "Hint", "n is %d", in.N)
		}
		if in.I > 0 {
			c.progress.set(1, 2, in.Text)
		}
		return r, nil
	})
	add(s, definition{name: "none", long: true}, func(context.Context, *call, struct{}) (r reply[struct{}], err error) {
		return r, nil
	})
	t.Cleanup(func() { s.Close() })
	return twoWays{s}
}

// answers are all messages that come for one, by mcp-go or the short way.
func (w twoWays) answers(raw string, short bool) (all string, wasShort bool) {
	var b strings.Builder
	c := w.server.newClient(context.Background(), sandbox.Bot("bot"), func(m []byte) error {
		b.Write(append(m, '\n'))
		return nil
	})
	m, bad := parseMessage([]byte(raw))
	if bad != nil {
		return string(mustJSON(bad)), false
	}
	if wasShort = m.call != nil; !short {
		m.call = nil
	}
	if err := c.accept(context.Background(), m); err != nil {
		return err.Error(), wasShort
	}
	c.running.Wait()
	c.close()
	return b.String(), wasShort
}

func (w twoWays) compare(t *testing.T, raw string) (short bool) {
	t.Helper()
	got, short := w.answers(raw, true)
	want, _ := w.answers(raw, false)
	if got != want {
		t.Errorf("%s\n short way %s\n mcp-go    %s", raw, got, want)
	}
	return short
}

// plainMessages are told apart from mcp-go's by nothing; all take the short way.
var plainMessages = []string{
	callLine(1, "every", `{"text":"x"}`),
	callLine("id 1", "every", `{"text":"a\n\"\\\/\b\f\r\t\u0001\u00e9"}`),
	callLine(-1, "every", `{"text":"\ud83d\ude00 \ud83d \ude00\ud83dx"}`),
	callLine(1, "every", "{\"text\":\"<>&\u2028\u2029é😀\x7f\"}"),
	callLine(1, "every", `{"text":"x","choice":"b","octal":"0644","optional":"","flag":true,"flag_p":false,"n":-5,"np":0,"i":123456789012345,"f":0.1,"fp":-2.5,"list":["a",""],"map":{"k":"v","":""},"in":{"a":"1"},"ins":[{"a":"x","b":true},{"a":""}]}`),
	callLine(1, "every", ` { "text" : "x" , "n" : null , "list" : null, "in":null, "ins":[] } `),
	callLine(1, "every", `{"text":"x","n":7}`),
	callLine(1, "every", `{"text":"x","f":50,"fp":0}`),
	callLine(1, "none", `{}`), callLine(1, "none", `null`),
	`{"jsonrpc":"2.0","id":12345678901234,"method":"tools/call","params":{"name":"none"}}`,
	`{"params":{"arguments":{"text":"x","i":2},"name":"every","_meta":{"progressToken":"t"}},"method":"tools/call","id":"a","jsonrpc":"2.0"}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"every","arguments":{"text":"x","i":2},"_meta":{"progressToken":12}}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"every","arguments":{"text":"x"},"_meta":{}}}` + "\r",
	// Wrong arguments, of which mcp-go's way says what is wrong.
	callLine(1, "every", `{}`), callLine(1, "every", `[]`), callLine(1, "every", `"x"`), callLine(1, "every", `null`),
	callLine(1, "every", `{"text":""}`), callLine(1, "every", `{"text":"123456789012345678901"}`), callLine(1, "every", `{"text":"éééééééééé"}`),
	callLine(1, "every", `{"text":1,"txet":2}`), callLine(1, "every", `{"text":null}`), callLine(1, "every", `{"text":"x","text":"y"}`),
	callLine(1, "every", `{"text":"x","choice":"c","octal":"9","n":1.5,"np":-1,"f":0.05,"list":[],"map":{"a":"","b":"","c":""}}`),
	callLine(1, "every", `{"text":"x","n":1001,"i":1.0,"flag":"true","list":["a",1],"map":{"a":1},"in":{},"ins":[{"a":"x","c":1}]}`),
	callLine(1, "every", `{"text":"x","in":{"a":"x","b":null},"ins":[null]}`), callLine(1, "every", `{"text":"x","list":["a","b","c","d"]}`),
	callLine(1, "every", `{"text":"x","map":{"a":"1","a":"2"},"n":0,"i":-0}`), callLine(1, "every", `{"text":"x","deep":[[[{"a":[1.25,true,null]}]]]}`),
	callLine(1, "absent", `{}`),
}

// otherMessages are mcp-go's, however alike.
var otherMessages = []string{
	`{"jsonrpc":"2.0","id":1,"method":"ping"}`,
	`{"jsonrpc":"1.0","id":1,"method":"tools/call","params":{"name":"none"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"every","arguments":{"text":"x"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"every","arguments":{"text":"x"},"task":{"ttl":1}}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"every","arguments":{"text":"x"},"_meta":{"progressToken":null}}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"every","arguments":{"text":"x","f":1e1}}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"every","arguments":{"text":"x","i":9007199254740993}}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"every","arguments":{"text":"x","f":1e999}}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"none","arguments":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}}`,
	`{"jsonrpc":"2.0","ID":1,"method":"tools/call","params":{"name":"none"}}`,
	`{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/call","params":{"name":"none"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"none","name":"every"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"n\u0061me":"none"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}`, `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`,
	`{"jsonrpc":"2.0","id":1.5e3,"method":"tools/call","params":{"name":"none"}}`,
	`{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"none"}}`,
	`{"jsonrpc":"2.0","id":"<é>","method":"tools/call","params":{"name":"none"}}`,
	`{"jsonrpc":"2.0","method":"tools/call","params":{"name":"none"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"none"},"result":1}`,
	`{"jsonrpc":"2.0","id":01,"method":"tools/call","params":{"name":"none"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"none",}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"no` + "\n" + `ne"}}`,
	`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"none"}} x`, `[]`, `{`, `{"a":`, `nul`, `"\u12_4"`, `{"":"\`,
}

// TestPlainCallsAreAnsweredAsByMCPGo to the byte, and take the short way.
func TestPlainCallsAreAnsweredAsByMCPGo(t *testing.T) {
	w := newTwoWays(t)
	for _, raw := range plainMessages {
		if !w.compare(t, raw) {
			t.Errorf("not taken the short way: %s", raw)
		}
	}
	for _, raw := range otherMessages {
		if w.compare(t, raw) {
			t.Errorf("taken the short way: %s", raw)
		}
	}
}

// FuzzPlainCall compares the two ways on any message.
func FuzzPlainCall(f *testing.F) {
	for _, raw := range append(plainMessages, otherMessages...) {
		f.Add(raw)
	}
	w := newTwoWays(f)
	f.Fuzz(func(t *testing.T, raw string) {
		w.compare(t, raw)
		if c := (&cursor{b: []byte(raw)}); len(c.value()) > 0 && c.done() && !json.Valid([]byte(raw)) {
			t.Errorf("taken for JSON: %q", raw)
		}
	})
}

// FuzzQuoted holds strings to what package json makes of them.
func FuzzQuoted(f *testing.F) {
	for _, s := range []string{"", "a\"\\\x00\n\x1f\x7f<>&", "\u2028\u2029é😀", "\xff\xc3", "\xe2\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, want := appendQuoted(nil, s), mustJSON(s)
		if string(got) != string(want) {
			t.Fatalf("%q: %s, want %s", s, got, want)
		}
		var back string
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatal(err)
		}
		if c := (cursor{b: got}); c.text() != back || !c.done() {
			t.Errorf("%s is read as another string than %q", got, back)
		}
	})
}
