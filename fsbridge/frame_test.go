package fsbridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// stream is a byte stream that is read from memory and written to nowhere.
type stream struct{ io.Reader }

func (stream) Write(b []byte) (int, error) { return len(b), nil }
func (stream) Close() error                { return nil }

func frame(h Header, js, data string) []byte {
	h.JSONLen, h.DataLen = len(js), len(data)
	return append(append(AppendHeader(nil, h), js...), data...)
}

func TestHeaderShapes(t *testing.T) {
	for _, c := range []struct {
		name string
		h    Header
		ok   bool
	}{
		{"hello", Header{Kind: KindHello, JSONLen: 2}, true},
		{"hello with an id", Header{ID: 1, Kind: KindHello, JSONLen: 2}, false},
		{"hello with data", Header{Kind: KindHello, JSONLen: 2, DataLen: 1}, false},
		{"long hello", Header{Kind: KindHello, JSONLen: maxGreeting + 1}, false},
		{"welcome without JSON", Header{Kind: KindWelcome}, false},
		{"request", Header{ID: 1, Kind: KindRequest, Op: OpRead, JSONLen: MaxJSON, DataLen: MaxData}, true},
		{"request without op", Header{ID: 1, Kind: KindRequest}, false},
		{"request without id", Header{Kind: KindRequest, Op: OpPing}, false},
		{"unknown op", Header{ID: 1, Kind: KindRequest, Op: 200}, true},
		{"response", Header{ID: 1, Kind: KindResponse}, true},
		{"response with op", Header{ID: 1, Kind: KindResponse, Op: OpPing}, false},
		{"error", Header{ID: 1, Kind: KindError, JSONLen: 2}, true},
		{"error without JSON", Header{ID: 1, Kind: KindError}, false},
		{"data", Header{ID: 1, Kind: KindData, DataLen: 1}, true},
		{"empty data", Header{ID: 1, Kind: KindData}, false},
		{"data with JSON", Header{ID: 1, Kind: KindData, JSONLen: 1, DataLen: 1}, false},
		{"credit", Header{ID: 1, Kind: KindCredit, DataLen: 4}, true},
		{"short credit", Header{ID: 1, Kind: KindCredit, DataLen: 3}, false},
		{"end", Header{ID: 1, Kind: KindEnd}, true},
		{"cancel with data", Header{ID: 1, Kind: KindCancel, DataLen: 1}, false},
		{"kind 0", Header{ID: 1}, false},
		{"kind 10", Header{ID: 1, Kind: 10}, false},
		{"JSON over its cap", Header{ID: 1, Kind: KindResponse, JSONLen: MaxJSON + 1}, false},
		{"data over its cap", Header{ID: 1, Kind: KindResponse, DataLen: MaxData + 1}, false},
	} {
		got, err := ParseHeader(AppendHeader(nil, c.h))
		var broken *ProtocolError
		if c.ok && (err != nil || got != c.h) || !c.ok && !errors.As(err, &broken) {
			t.Errorf("%s: got %+v, %v", c.name, got, err)
		}
	}
	flagged := AppendHeader(nil, Header{ID: 1, Kind: KindEnd})
	flagged[10] = 1
	if _, err := ParseHeader(flagged); err == nil {
		t.Error("flags are not refused")
	}
	if _, err := ParseHeader(flagged[:19]); err == nil {
		t.Error("a short header is not refused")
	}
}

// A frame that announces much is not given memory for it before a cap is checked.
func TestReadIsBounded(t *testing.T) {
	huge := bytes.Repeat([]byte{0xff}, 64)
	allocated := testing.AllocsPerRun(10, func() {
		var f Frame
		if err := NewConn(stream{bytes.NewReader(huge)}).Read(&f); err == nil {
			t.Fatal("garbage was read")
		}
	})
	if allocated > 30 {
		t.Errorf("%v allocations", allocated)
	}
}

func TestReadCut(t *testing.T) {
	whole := frame(Header{ID: 1, Kind: KindResponse}, `{"a":1}`, "data")
	for n := 1; n < len(whole); n++ {
		var f Frame
		if err := NewConn(stream{bytes.NewReader(whole[:n])}).Read(&f); !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
			t.Errorf("cut after %d bytes: %v", n, err)
		} else if err == io.EOF && n >= HeaderSize {
			t.Errorf("cut after %d bytes is taken for an end", n)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(frame(Header{Kind: KindHello}, `{"version":2}`, ""))
	f.Add(append(frame(Header{ID: 7, Kind: KindResponse}, `{}`, "x"), frame(Header{ID: 8, Kind: KindData}, "", "chunk")...))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := NewConn(stream{bytes.NewReader(in)})
		var again []byte
		for {
			var fr Frame
			if err := c.Read(&fr); err != nil {
				break
			}
			if len(fr.JSON) != fr.JSONLen || len(fr.Data) != fr.DataLen || fr.JSONLen > MaxJSON || fr.DataLen > MaxData {
				t.Fatalf("frame does not fit its header: %+v", fr.Header)
			}
			again = append(append(AppendHeader(again, fr.Header), fr.JSON...), fr.Data...)
		}
		if !bytes.HasPrefix(in, again) {
			t.Fatalf("frames read are %q, bytes given %q", again, in)
		}
	})
}

func TestPathCrossesJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOf(rapid.OneOf(rapid.ByteRange(1, 255), rapid.SampledFrom([]byte("/.\n<\xff")))).Draw(t, "bytes")
		in := struct{ P Path }{Path(raw)}
		js, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		out := in
		if err := json.Unmarshal(js, &out); err != nil || out != in {
			t.Fatalf("%q came back as %q by %s: %v", in.P, out.P, js, err)
		}
	})
}

func TestPathRefused(t *testing.T) {
	if _, err := json.Marshal(Path("a\x00b")); err == nil {
		t.Error("a NUL is not refused")
	}
	for _, js := range []string{`"a\u0000b"`, `"\u0000zz"`, `"\u00006100"`, `"\u0000f"`, `1`} {
		var p Path
		if err := json.Unmarshal([]byte(js), &p); err == nil {
			t.Errorf("%s was read as %q", js, p)
		}
	}
}

func TestErrorIs(t *testing.T) {
	if !strings.Contains((&Error{Op: "read", Path: "/x", Message: "gone"}).Error(), `read "/x": gone`) {
		t.Error("the text of an error lacks its parts")
	}
	for code, target := range sentinels {
		if !errors.Is(&Error{Code: code}, target) {
			t.Errorf("%s is not %v", code, target)
		}
	}
}
