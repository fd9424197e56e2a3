package fsbridge

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestEntriesKeepEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Entry {
			return Entry{
				Name:    Path(rapid.StringN(1, 50, 200).Draw(t, "name")),
				Type:    rapid.SampledFrom(entryTypes).Draw(t, "type"),
				Mode:    rapid.Uint32Range(0, 0o7777).Draw(t, "mode"),
				Size:    rapid.Int64Range(0, 1<<62).Draw(t, "size"),
				ModTime: time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC(),
				Target:  Path(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "target")),
				Omitted: rapid.Bool().Draw(t, "omitted"), Children: rapid.IntRange(0, 1<<30).Draw(t, "children"),
			}
		}), 0, 20).Draw(t, "entries")
		b := AppendEntries(nil, entries)
		got, err := ParseEntries(b, len(entries))
		if err != nil || len(got) != len(entries) || len(entries) > 0 && !reflect.DeepEqual(got, entries) {
			t.Fatalf("%v: %+v, expected %+v", err, got, entries)
		}
		if _, err := ParseEntries(b, len(entries)+1); err == nil {
			t.Fatal("an entry too few passes")
		}
		if cut := len(b); cut > 0 {
			if _, err := ParseEntries(b[:cut-1], len(entries)); err == nil {
				t.Fatal("a cut listing passes")
			}
		}
	})
}

func FuzzEntries(f *testing.F) {
	f.Add(AppendEntries(nil, []Entry{{Name: "a", Type: TypeFile, ModTime: time.Unix(0, 0)}}), 1)
	f.Fuzz(func(t *testing.T, b []byte, count int) {
		entries, err := ParseEntries(b, count)
		if err == nil && len(entries) != count {
			t.Fatalf("%d entries, %d were asked for", len(entries), count)
		}
	})
}
