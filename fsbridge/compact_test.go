package fsbridge

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// compacts are all that has a compact form.
func compacts() []compact {
	return []compact{
		&ReadRequest{}, &ReadResult{}, &WriteRequest{}, &WriteResult{},
		&ListRequest{}, &ListResult{}, &StatRequest{}, &StatResult{},
	}
}

// filled gives every field that crosses the wire a value of its own.
func filled(t *testing.T, x compact) compact {
	t.Helper()
	v := reflect.ValueOf(x).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("json") == "-" {
			continue
		}
		switch f := v.Field(i).Addr().Interface().(type) {
		case *Path:
			*f = Path("/p\xff\n" + strings.Repeat("é", i))
		case *string:
			*f = strings.Repeat("s", i)
		case *int64:
			*f = int64(i) - 1<<40
		case *int:
			*f = 1<<40 - i
		case *uint32:
			*f = 1<<32 - 1 - uint32(i)
		case *bool:
			*f = true
		case *time.Time:
			*f = time.Date(1, 2, 3, 4, 5, 6, 700+i, time.UTC)
		case **string:
			*f = new(string)
		case **uint32:
			*f = new(uint32)
		default:
			t.Fatalf("%T: no value for a %T", x, f)
		}
	}
	return x
}

// TestCompactFormIsWhole: every field comes back, each in its place, from either
// form, and nothing that is cut or longer does.
func TestCompactFormIsWhole(t *testing.T) {
	all := compacts()
	for _, x := range compacts() {
		all = append(all, filled(t, x))
	}
	for _, x := range all {
		b, err := Encode(x)
		if err != nil {
			t.Fatalf("%+v: %v", x, err)
		}
		js, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		empty := func() any { return reflect.New(reflect.TypeOf(x).Elem()).Interface() }
		for _, form := range [][]byte{b, js} {
			if got := empty(); Decode(form, got) != nil || !reflect.DeepEqual(got, x) {
				t.Errorf("%q is read as\n%+v, want\n%+v", form, got, x)
			}
		}
		for n := range b {
			if Decode(b[:n], empty()) == nil {
				t.Errorf("%T: %d of %d bytes are taken", x, n, len(b))
			}
		}
		if Decode(append(b, 0), empty()) == nil {
			t.Errorf("%T: a byte too many is taken", x)
		}
	}
}

func TestCompactFormHasJSONsBounds(t *testing.T) {
	for _, x := range []any{
		&StatRequest{Path: "a\x00b"}, &ReadResult{ModTime: time.Unix(1<<40, 0)}, &ReadResult{ModTime: time.Unix(-1<<40, 0)},
	} {
		if b, err := Encode(x); err == nil {
			t.Errorf("%+v is written as %q", x, b)
		}
	}
	for name, b := range map[string]string{
		"NUL in a path": "\x00\x01\x00\x00", "other bool": "\x00\x00\x02", "length beyond the end": "\x00\xff\xff\xff\xff\x0f",
	} {
		if err := Decode([]byte(b), &StatRequest{}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// FuzzCompact: what is taken is in bounds, so that JSON takes it too, and is
// written as something that is read as the same.
func FuzzCompact(f *testing.F) {
	for i, x := range compacts() {
		b, err := Encode(x)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i, b)
	}
	f.Fuzz(func(t *testing.T, i int, b []byte) {
		all, again := compacts(), compacts()
		i = int(uint(i) % uint(len(all)))
		if Decode(append([]byte{compactMark}, b...), all[i]) != nil {
			return
		}
		written, err := Encode(all[i])
		if err != nil || Decode(written, again[i]) != nil || !reflect.DeepEqual(all[i], again[i]) {
			t.Fatalf("%+v is written as %q and read as %+v: %v", all[i], written, again[i], err)
		}
		if js, err := json.Marshal(all[i]); err != nil || bytes.IndexByte(js, compactMark) == 0 {
			t.Errorf("JSON %q %v", js, err)
		}
	})
}
