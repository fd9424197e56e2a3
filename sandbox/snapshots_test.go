package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func statuses(specs ...Spec) (all []Status) {
	for _, s := range specs {
		all = append(all, Status{Spec: s})
	}
	return all
}

func TestSharing(t *testing.T) {
	all := statuses(Spec{Ref: Ref{"b", "z"}}, Spec{Ref: Ref{"b", "fork"}, OwnData: true}, Spec{Ref: Ref{"b", "a"}}, Spec{Ref: Ref{"b", "other"}, OwnData: true})
	for id, want := range map[ContainerID][]ContainerID{"z": {"a", "z"}, "a": {"a", "z"}, "fork": {"fork"}, "other": {"other"}, "none": nil} {
		var got []ContainerID
		for _, st := range sharing(all, id) {
			got = append(got, st.Spec.Ref.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("with %s: %v, want %v", id, got, want)
		}
	}
}

func TestFullNamesWhatToDelete(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	var all []Snapshot
	for n := 1; n <= 9; n++ {
		all = append(all, Snapshot{Name: SnapshotName(fmt.Sprintf("s%d", n)), Size: int64(n) << 20, CreatedAt: day(10 - n)})
	}
	if text := (Options{}).withDefaults().full(all); text != "" {
		t.Errorf("within the default limits: %s", text)
	}
	if text := (Options{MaxSnapshots: -1, MaxSnapshotBytes: -1}).withDefaults().full(all); text != "" {
		t.Errorf("without limits: %s", text)
	}
	text := Options{MaxSnapshots: 9}.withDefaults().full(all)
	if want := "this bot has 9 snapshots, at most 9 are allowed; delete some first, the oldest are s9 (9 MiB, 2026-01-01 00:00:00), s8 (8 MiB, 2026-01-02 00:00:00), s7 "; !strings.HasPrefix(text, want) || strings.Contains(text, "s4 ") {
		t.Errorf("by count: %s", text)
	}
	slices.Reverse(all)
	text = Options{MaxSnapshotBytes: 45 << 20}.withDefaults().full(all)
	if want := "this bot's snapshots have 45 MiB, at most 45 MiB are allowed; delete some first, the biggest are s9 (9 MiB, 2026-01-01 00:00:00), s8 "; !strings.HasPrefix(text, want) {
		t.Errorf("by size: %s", text)
	}
	if text := (Options{MaxSnapshotBytes: 45<<20 + 1, MaxSnapshots: 10}).withDefaults().full(all); text != "" {
		t.Errorf("just within the limits: %s", text)
	}
}

func TestForked(t *testing.T) {
	sn := Snapshot{Name: "s", Spec: Spec{
		Ref: Ref{"b", "old"}, Image: "i:1", Snapshotter: "overlayfs", Env: map[string]string{"A": "1", "B": "2"},
		Limits: Limits{MemoryMB: 100, CPUs: 1}, FromSnapshot: "r", OwnData: true,
	}}
	req := CreateRequest{Bot: "b", ID: "new", Env: map[string]string{"B": "3", "C": "4"}, Limits: Limits{CPUs: 2}, FromSnapshot: "s"}
	got := forked(sn, req, DefaultLimits)
	want := "{b/new i:1 overlayfs map[A:1 B:3 C:4] {100 2 1024} s true}"
	if fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
	if len(sn.Spec.Env) != 2 {
		t.Error("the snapshot's environment was changed")
	}
	if d := req.differs(got, got); d != "" {
		t.Errorf("the same request again differs: %s", d)
	}
	if d := (CreateRequest{}).differs(Spec{}, got); d != "" {
		t.Errorf("a request for whatever is there differs: %s", d)
	}
	other := got
	other.FromSnapshot = ""
	if d := req.differs(got, other); d != "from_snapshot is none, asked for was s" {
		t.Errorf("a container that is no fork: %q", d)
	}
	none := forked(Snapshot{Name: "s"}, CreateRequest{Bot: "b", ID: "new", Env: req.Env}, DefaultLimits)
	if none.Env["C"] != "4" || none.Limits != DefaultLimits {
		t.Errorf("%v", none)
	}
}

func TestNotes(t *testing.T) {
	for note, ok := range map[string]bool{
		"": true, strings.Repeat("a", MaxNote): true, strings.Repeat("a", MaxNote+1): false, "a\x00": false, "\xff": false, "two\nlines": true,
	} {
		if err := checkNote(note); ok != (err == nil) || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%.20q: %v", note, err)
		}
	}
}

func TestNamesOfSnapshotsFit(t *testing.T) {
	longest := ContainerID(strings.Repeat("a", 63))
	for _, name := range []SnapshotName{DefaultSnapshotName(longest, time.Now()), beforeRestore(longest, time.Now())} {
		if _, err := ParseSnapshotName(string(name)); err != nil {
			t.Error(err)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "-1": -1, "512": 512, "512B": 512, "1k": 1024, "1.5 KiB": 1536, "64GiB": 64 << 30, "2MB": 2 << 20, "1tib": 1 << 40, "3P": 3 << 50,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "1i", "1Bi", "1KK", "inf", "nan", "8192PiB", "9999999999999999999", "1 2", "0x10", "--1"} {
		if got, err := ParseSize(text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for size, want := range map[Size]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 64 << 30: "64 GiB", -1: "-1 B"} {
		if got := size.String(); got != want {
			t.Errorf("%d: %s, want %s", size, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		size := Size(rapid.Int64Range(0, 1<<59).Draw(t, "size"))
		back, err := ParseSize(size.String())
		if off := back - size; err != nil || max(off, -off) > size/15 {
			t.Fatalf("%d is %s, which is %d, %v", size, size, back, err)
		}
	})
}

func TestPathsByTheFirstMount(t *testing.T) {
	mounts := []string{"/data", "/app", "/mnt/x"}
	for p, want := range map[string]string{
		"/app": "/data", "/app/a/b": "/data/a/b", "/apple": "/apple", "/data/app": "/data/app", "/mnt/x/y": "/data/y", "/mnt": "/mnt", "/": "/",
	} {
		if got := byFirst(p, mounts); got != want {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
	}
}
