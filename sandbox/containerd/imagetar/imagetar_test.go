package imagetar

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"moorage/sandbox"
)

func layer(t *testing.T, text ...string) Layer {
	t.Helper()
	n := 0
	l, err := Measure(t.Context(), "test", func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, text[min(n, len(text)-1)])
		n++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func image(layers ...Layer) Image {
	i := Image{Tag: "v1", Layers: layers, Record: Record{
		Container: "c", Note: "note", DataMount: "/data", Created: time.Unix(1, 2).UTC(), ImageLayers: len(layers) - 2,
		Spec: sandbox.Spec{Image: "x", Env: map[string]string{"A": "b"}},
	}}
	i.Config.History = []ocispec.History{{CreatedBy: "below"}, {CreatedBy: "env", EmptyLayer: true}}
	return i
}

// What is written is written again the same, and once if it comes twice.
func TestWrite(t *testing.T) {
	i := image(layer(t, "same"), layer(t, "same"), layer(t, "data"))
	var a, b bytes.Buffer
	if err := errors.Join(Write(t.Context(), &a, i), Write(t.Context(), &b, i)); err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Fatalf("%v, or the second is another", err)
	}
	var names []string
	for r := tar.NewReader(&a); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if len(names) != 3+2+2 {
		t.Errorf("the tar has %q", names)
	}
}

// A layer that is not what it was when it was measured ends the tar.
func TestWriteChanged(t *testing.T) {
	for _, text := range []string{"other", "more", "sam"} {
		err := Write(t.Context(), io.Discard, image(layer(t, "same", text), layer(t, "data")))
		if err == nil {
			t.Errorf("%q was taken for %q", text, "same")
		}
	}
}

func TestFind(t *testing.T) {
	i := image(layer(t, "below"), layer(t, "root"), layer(t, "data"))
	if err := i.complete(); err != nil {
		t.Fatal(err)
	}
	got, err := Find(i.Config)
	if err != nil {
		t.Fatal(err)
	}
	i.Record.Version = version
	if d := cmp.Diff(&i.Record, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if n := len(i.Config.History); n != 4 || i.Config.History[0].CreatedBy != "below" {
		t.Errorf("the history is %+v", i.Config.History)
	}
	good := i.Config.Config.Labels[Label]
	for _, change := range [][2]string{{`"version":1`, `"version":2`}, {`"version":1`, `"version":0`}, {`"/data"`, `"/"`}, {`"/data"`, `"/a/../.."`}, {`"image_layers":1`, `"image_layers":-1`}, {"{", ""}} {
		i.Config.Config.Labels[Label] = strings.Replace(good, change[0], change[1], 1)
		if _, err := Find(i.Config); !errors.Is(err, sandbox.ErrImage) {
			t.Errorf("%s: %v", change[1], err)
		}
	}
	if got, err := Find(ocispec.Image{}); got != nil || err != nil {
		t.Errorf("of another image: %+v, %v", got, err)
	}
}
