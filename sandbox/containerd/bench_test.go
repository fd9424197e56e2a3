package containerd

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"moorage/sandbox"
)

// BenchmarkColdStart is from a request to the agent's connection, an image that
// is here taken for granted, by its steps.
func BenchmarkColdStart(b *testing.B) {
	f := newFixture(b, engines[0])
	ctx := context.Background()
	img, err := f.EnsureImage(ctx, sandbox.BaseImage, nil)
	if err != nil {
		b.Fatal(err)
	}
	var steps [4]time.Duration
	n := 0
	for b.Loop() {
		n++
		ref := sandbox.Ref{Bot: "bot", ID: sandbox.ContainerID(fmt.Sprintf("c%d", n))}
		for i, step := range []func() error{
			func() error { return f.Create(ctx, sandbox.Spec{Ref: ref, Image: img}) },
			func() error { return f.Start(ctx, ref) },
			func() error {
				c, err := f.Connect(ctx, ref)
				if err == nil {
					err = c.Close()
				}
				return err
			},
			func() error { return f.Delete(ctx, ref, true) },
		} {
			begun := time.Now()
			if err := step(); err != nil {
				b.Fatal(err)
			}
			steps[i] += time.Since(begun)
		}
	}
	for i, name := range []string{"create", "start", "connect", "delete"} {
		b.ReportMetric(float64(steps[i].Microseconds())/1000/float64(n), name+"-ms")
	}
}

// BenchmarkStatus is what a listing costs for each container that runs.
func BenchmarkStatus(b *testing.B) {
	f := newFixture(b, engines[0])
	f.create(ref)
	for b.Loop() {
		if _, err := f.Status(context.Background(), ref); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUserns is what user namespaces cost a start: with and without by turns,
// the median of each, since the machine has other things to do.
func BenchmarkUserns(b *testing.B) {
	f := newFixture(b, engines[0])
	f.create(ref)
	took := map[bool][]time.Duration{}
	for b.Loop() {
		for _, on := range []bool{true, false} {
			if err := f.Stop(b.Context(), ref, 0); err != nil {
				b.Fatal(err)
			}
			f.Runtime.userns = on
			begun := time.Now()
			if err := f.Start(b.Context(), ref); err != nil {
				b.Fatal(err)
			}
			took[on] = append(took[on], time.Since(begun))
		}
	}
	for on, name := range map[bool]string{true: "with-ms", false: "without-ms"} {
		slices.Sort(took[on])
		b.ReportMetric(float64(took[on][len(took[on])/2].Microseconds())/1000, name)
	}
}
