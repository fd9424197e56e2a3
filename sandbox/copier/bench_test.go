package copier

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// BenchmarkCopy copies 10,000 files of 1 KiB and one of 1 GiB, on new file
// systems; and has the last pass over them when nothing or one in a hundred has
// changed, which is what a bot is frozen for.
func BenchmarkCopy(b *testing.B) {
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		b.Run(kind, func(b *testing.B) {
			root := mounted(b, kind, 6<<10)
			for _, files := range []struct {
				name    string
				n, size int
			}{{"10000x1KiB", 10_000, 1 << 10}, {"1GiB", 1, 1 << 30}} {
				src, _, remove := scratch(b, root)
				fill(b, src, files.n, files.size)
				settled()
				b.Run(files.name+"/all", func(b *testing.B) { benchAll(b, src, Options{}) })
				if kind == "xfs" {
					b.Run(files.name+"/noclone", func(b *testing.B) { benchAll(b, src, Options{NoClone: true}) })
				}
				b.Run(files.name+"/reference", func(b *testing.B) { benchReference(b, src) })
				b.Run(files.name+"/unchanged", func(b *testing.B) { benchLast(b, src, 0) })
				b.Run(files.name+"/changed", func(b *testing.B) { benchLast(b, src, max(files.n/100, 1)) })
				remove()
			}
		})
	}
}

// into is a new directory beside src, which is removed outside of the time.
func into(b *testing.B, src string, i int) (string, func()) {
	dst := filepath.Join(filepath.Dir(src), "dst", strconv.Itoa(i))
	if err := os.MkdirAll(dst, 0o755); err != nil {
		b.Fatal(err)
	}
	return dst, func() {
		b.StopTimer()
		if err := Remove(b.Context(), dst); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func benchAll(b *testing.B, src string, o Options) {
	for i := range b.N {
		dst, remove := into(b, src, i)
		if _, err := Tree(b.Context(), dst, src, o); err != nil {
			b.Fatal(err)
		}
		remove()
	}
}

// benchReference links what did not change since an earlier copy.
func benchReference(b *testing.B, src string) {
	dst, remove := into(b, src, -1)
	defer remove()
	c, err := Tree(b.Context(), dst, src, Options{NoClone: true})
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	benchAll(b, src, Options{NoClone: true, Reference: &Reference{Tree: dst, Record: c.Record()}})
}

// benchLast measures Finish alone, after changes to some of the files.
func benchLast(b *testing.B, src string, changed int) {
	for i := range b.N {
		b.StopTimer()
		dst, remove := into(b, src, i)
		c, err := New(dst, src, Options{})
		if err == nil {
			err = c.Pass(b.Context())
		}
		if err != nil {
			b.Fatal(err)
		}
		for n := range changed {
			f, err := os.OpenFile(filepath.Join(src, "file"+pad(n)), os.O_WRONLY, 0)
			if err != nil {
				b.Fatal(err)
			}
			f.WriteAt([]byte{byte(i)}, 0)
			f.Close()
		}
		b.StartTimer()
		if err := c.Finish(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
		remove()
	}
}

func pad(n int) string {
	s := strconv.Itoa(n)
	return "00000"[len(s):] + s
}
