package containerd

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"moorage/sandbox"
	"moorage/sandbox/containerd/labels"
)

// Whatever is asked for comes back from the labels, each of which containerd
// takes.
func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := sandbox.Spec{
			Ref:   sandbox.Ref{Bot: "bot", ID: "id"},
			Image: rapid.String().Draw(t, "image"), Snapshotter: "overlayfs",
			Env:    rapid.MapOfN(rapid.StringN(1, 20, -1), rapid.StringN(0, 2000, -1), 0, 8).Draw(t, "env"),
			Limits: sandbox.Limits{MemoryMB: rapid.Int64Min(0).Draw(t, "memory")},
		}
		if len(spec.Env) == 0 {
			spec.Env = nil
		}
		now := time.Unix(1, 5).UTC()
		l, err := record{Spec: spec, ImageEnv: []string{"A=1"}, snapshot: "s", updated: now}.labels("i")
		if errors.Is(err, sandbox.ErrInvalid) {
			t.Skip("too large")
		}
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range l {
			if len(k)+len(v) > 4096 || !utf8.ValidString(v) {
				t.Errorf("label %s has %d bytes, UTF-8: %v", k, len(v), utf8.ValidString(v))
			}
		}
		got, err := decode(containers.Container{ID: "m-1", Labels: l, Image: "x"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(spec, got.Spec); diff != "" || got.snapshot != "s" || !got.updated.Equal(now) {
			t.Errorf("%s %+v", diff, got)
		}
	})
}

func TestRecordTooLarge(t *testing.T) {
	r := record{Spec: sandbox.Spec{Env: map[string]string{"A": strings.Repeat("x", labels.Max)}}}
	if _, err := r.labels("i"); !errors.Is(err, sandbox.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func TestDecodeOfNoRecord(t *testing.T) {
	for _, text := range []string{"", "{", "[]"} {
		if _, err := decode(containers.Container{Labels: map[string]string{labels.Prefix + "0": text}}); err == nil {
			t.Errorf("%q was taken for a record", text)
		}
	}
}

func TestKeys(t *testing.T) {
	seen := map[string]bool{}
	for _, instance := range []string{"a", "b"} {
		for _, ref := range []sandbox.Ref{{Bot: "x", ID: "y"}, {Bot: "y", ID: "x"}, {Bot: "x", ID: "x"}} {
			key := keyOf(instance, ref)
			if len(key) != keyLen || seen[key] {
				t.Errorf("%s of %s in %s", key, ref, instance)
			}
			seen[key] = true
		}
	}
}
