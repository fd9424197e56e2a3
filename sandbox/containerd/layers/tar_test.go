package layers

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

var roomy = ReadOptions{Prefix: "data", MaxBytes: 1 << 30, MaxEntries: 1 << 20, Devices: true}

func writeTar(t rapid.TB, dir string, o TarOptions) []byte {
	var b, again bytes.Buffer
	if err := WriteTar(context.Background(), &b, dir, o); err != nil {
		t.Fatal(err)
	}
	if err := WriteTar(context.Background(), &again, dir, o); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Fatalf("a second time (%v) the tar is another", err)
	}
	return b.Bytes()
}

// withoutSockets is what a tar can have of a tree.
func withoutSockets(t tree) tree {
	kept := tree{}
	for p, x := range t {
		if x.Mode&unix.S_IFMT != unix.S_IFSOCK {
			kept[p] = x
		}
	}
	return kept
}

// applicable is what containerd takes from a tar of a tree.
func applicable(t tree) tree {
	kept := withoutSockets(t)
	delete(kept, "/")
	for p, x := range kept {
		x.Xattrs = regexp.MustCompile(`trusted[.]\S+ `).ReplaceAllString(x.Xattrs, "")
		kept[p] = x
	}
	return kept
}

// A plain directory comes back from its tar as it was, signs of overlayfs and
// inherited access lists too.
func TestPlainTar(t *testing.T) {
	needRoot(t)
	acl := "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x02\x00\x05\x00\x07\x00\x00\x00\x04\x00\x05\x00\xff\xff\xff\xff\x10\x00\x07\x00\xff\xff\xff\xff\x20\x00\x05\x00\xff\xff\xff\xff"
	rapid.Check(t, func(rt *rapid.T) {
		base := t.TempDir()
		defer os.RemoveAll(base)
		src, dst := filepath.Join(base, "src"), filepath.Join(base, "dst")
		for _, d := range []string{src, dst} {
			if err := os.Mkdir(d, 0o755); err != nil {
				rt.Fatal(err)
			}
		}
		for range rapid.IntRange(1, 30).Draw(rt, "operations") {
			operate(rt, src)
		}
		unix.Lsetxattr(filepath.Join(src, "a"), xattrOpaque, []byte{'y'}, 0)
		unix.Lsetxattr(filepath.Join(src, "b"), "system.posix_acl_default", []byte(acl), 0)
		unix.Mknod(filepath.Join(src, "white"), unix.S_IFCHR, 0)
		b := writeTar(rt, src, TarOptions{Prefix: "data", Plain: true})
		if err := ReadTar(context.Background(), bytes.NewReader(b), dst, roomy); err != nil {
			rt.Fatal(err)
		}
		if d := cmp.Diff(withoutSockets(readTree(src)), readTree(dst)); d != "" {
			rt.Fatalf("before and after (-want +got):\n%s", d)
		}
	})
}

// A layer's tar makes, by containerd and by ReadTar, a layer that shows the same.
func TestLayerTar(t *testing.T) {
	needRoot(t)
	rapid.Check(t, func(rt *rapid.T) {
		h := anyHistory(rt, t.TempDir())
		defer os.RemoveAll(h.base)
		top := len(h.layers) - 1
		b := writeTar(rt, h.layers[top], TarOptions{})
		dst := h.dir("fs")
		_, err := archive.Apply(context.Background(), dst, bytes.NewReader(b), archive.WithConvertWhiteout(archive.OverlayConvertWhiteout))
		if err != nil {
			rt.Fatal(err)
		}
		back := h.dir("back")
		b = writeTar(rt, h.layers[top], TarOptions{Top: true})
		if err := ReadTar(context.Background(), bytes.NewReader(b), back, ReadOptions{MaxBytes: 1 << 30, MaxEntries: 1 << 20, Devices: true, Layer: true}); err != nil {
			rt.Fatal(err)
		}
		h.mounted(append([]string{back}, h.topFirst(top-1)...), "", func(root string) {
			if d := cmp.Diff(withoutSockets(h.trees[top]), withoutSockets(readTree(root))); d != "" {
				rt.Fatalf("after the tar was read (-want +got):\n%s", d)
			}
		})
		h.mounted(append([]string{dst}, h.topFirst(top-1)...), "", func(root string) {
			want, got := applicable(h.trees[top]), applicable(readTree(root))
			if d := cmp.Diff(want, got); d != "" {
				rt.Fatalf("after the tar (-want +got):\n%s", d)
			}
		})
	})
}

func tarOf(headers ...tar.Header) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		h.Mode = 0o755
		if err := w.WriteHeader(&h); err != nil {
			panic(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			panic(err)
		}
	}
	w.Close()
	return b.Bytes()
}

// Tars that reach outside, or too far, are refused, and nothing is outside.
func TestHostileTar(t *testing.T) {
	needRoot(t)
	dir := tar.Header{Name: "data/", Typeflag: tar.TypeDir}
	out := tar.Header{Name: "data/out", Typeflag: tar.TypeSymlink, Linkname: "../.."}
	for name, c := range map[string]struct {
		want error
		tar  []byte
	}{
		"dots":               {ErrTar, tarOf(tar.Header{Name: "data/../../x", Size: 1})},
		"leading dots":       {ErrTar, tarOf(tar.Header{Name: "../x", Size: 1})},
		"absolute":           {ErrTar, tarOf(tar.Header{Name: "/data/x", Size: 1})},
		"elsewhere":          {ErrTar, tarOf(tar.Header{Name: "database/x", Size: 1})},
		"above as a file":    {ErrTar, tarOf(tar.Header{Name: "data", Size: 1})},
		"whiteout":           {ErrTar, tarOf(dir, tar.Header{Name: "data/.wh.x"})},
		"through a link":     {ErrTar, tarOf(dir, out, tar.Header{Name: "data/out/x", Size: 1})},
		"directory for link": {ErrTar, tarOf(dir, out, tar.Header{Name: "data/out/", Typeflag: tar.TypeDir})},
		"file for link":      {ErrTar, tarOf(dir, out, tar.Header{Name: "data/out", Size: 1})},
		"link out":           {ErrTar, tarOf(dir, tar.Header{Name: "data/x", Typeflag: tar.TypeLink, Linkname: "../secret"})},
		"link through link":  {ErrTar, tarOf(dir, out, tar.Header{Name: "data/x", Typeflag: tar.TypeLink, Linkname: "data/out/secret"})},
		"link to nothing":    {ErrTar, tarOf(dir, tar.Header{Name: "data/x", Typeflag: tar.TypeLink, Linkname: "data/y"})},
		"link to directory":  {ErrTar, tarOf(dir, tar.Header{Name: "data/x", Typeflag: tar.TypeLink, Linkname: "data"})},
		"disk":               {ErrTar, tarOf(dir, tar.Header{Name: "data/x", Typeflag: tar.TypeBlock, Devmajor: 8})},
		"empty name within":  {ErrTar, tarOf(tar.Header{Name: "data//x", Size: 1})},
		"long name":          {ErrTar, tarOf(tar.Header{Name: "data/" + strings.Repeat("n", 256), Size: 1})},
		"deep":               {ErrLimit, tarOf(tar.Header{Name: "data/" + strings.Repeat("d/", 3000) + "x", Size: 1})},
		"too many":           {ErrLimit, tarOf(dir, tar.Header{Name: "data/1/2/3/4/5/6/7/8/9/x", Size: 1})},
		"too large":          {ErrLimit, tarOf(dir, tar.Header{Name: "data/x", Size: 6 << 10})},
		"garbage":            {ErrTar, []byte(strings.Repeat("no tar", 1000))},
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			dst := filepath.Join(base, "d", "dst")
			os.MkdirAll(dst, 0o755)
			os.WriteFile(filepath.Join(base, "secret"), nil, 0o600)
			err := ReadTar(t.Context(), bytes.NewReader(c.tar), dst, ReadOptions{Prefix: "data", MaxBytes: 5 << 10, MaxEntries: 8})
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			outside(t, base)
		})
	}
}

// A layer's tar has signs of its own that lead nowhere else.
func TestHostileLayerTar(t *testing.T) {
	needRoot(t)
	redirect := tar.Header{Name: "d/", Typeflag: tar.TypeDir, PAXRecords: map[string]string{xattrRecord + xattrRedirect: "/etc"}}
	for name, b := range map[string][]byte{
		"whiteout above":   tarOf(tar.Header{Name: "../.wh.x"}),
		"whiteout of dots": tarOf(tar.Header{Name: ".wh..."}),
		"of nothing":       tarOf(tar.Header{Name: ".wh."}),
		"of a whiteout":    tarOf(tar.Header{Name: ".wh..wh.x"}),
		"of another type":  tarOf(tar.Header{Name: ".wh.x", Typeflag: tar.TypeDir}),
		"opaque top":       tarOf(tar.Header{Name: ".wh..wh..opq"}),
		"opaque file":      tarOf(tar.Header{Name: "x"}, tar.Header{Name: "x/.wh..wh..opq"}),
		"opaque above":     tarOf(tar.Header{Name: "../.wh..wh..opq"}),
		"through a link":   tarOf(tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../.."}, tar.Header{Name: "l/.wh.x"}),
		"twice":            tarOf(tar.Header{Name: "x"}, tar.Header{Name: ".wh.x"}),
		"redirect":         tarOf(redirect),
	} {
		base := t.TempDir()
		dst := filepath.Join(base, "d", "dst")
		os.MkdirAll(dst, 0o755)
		os.WriteFile(filepath.Join(base, "secret"), nil, 0o600)
		err := ReadTar(t.Context(), bytes.NewReader(b), dst, ReadOptions{MaxBytes: 5 << 10, MaxEntries: 8, Layer: true})
		if !errors.Is(err, ErrTar) {
			t.Errorf("%s: %v, want %v", name, err, ErrTar)
		}
		outside(t, base)
	}
}

func outside(t *testing.T, base string) {
	t.Helper()
	all, _ := filepath.Glob(filepath.Join(base, "*"))
	more, _ := filepath.Glob(filepath.Join(base, "d", "*"))
	if len(all)+len(more) != 3 {
		t.Errorf("outside there is %q %q", all, more)
	}
}

// What cannot be in a tar is an error, or is told.
func TestTarSkips(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, ".wh.x"), nil, 0o600)
	if err := WriteTar(t.Context(), &bytes.Buffer{}, dir, TarOptions{}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("%v, want %v", err, ErrUnsupported)
	}
	var told []string
	err := WriteTar(t.Context(), &bytes.Buffer{}, dir, TarOptions{Skipped: func(path, _ string) { told = append(told, path) }})
	if err != nil || len(told) != 1 || told[0] != ".wh.x" {
		t.Errorf("%v, told of %q", err, told)
	}
}

func FuzzReadTar(f *testing.F) {
	dir := tar.Header{Name: "data/", Typeflag: tar.TypeDir}
	f.Add(tarOf(dir, tar.Header{Name: "data/x", Size: 100}, tar.Header{Name: "data/y", Typeflag: tar.TypeLink, Linkname: "data/x"}))
	f.Add(tarOf(dir, tar.Header{Name: "data/l", Typeflag: tar.TypeSymlink, Linkname: "../.."}, tar.Header{Name: "data/l/x"}))
	f.Add(tarOf(dir, tar.Header{Name: "data/x", PAXRecords: map[string]string{xattrRecord + "user.a": "b"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		base := t.TempDir()
		dst := filepath.Join(base, "d", "dst")
		os.MkdirAll(dst, 0o755)
		os.WriteFile(filepath.Join(base, "secret"), nil, 0o600)
		ReadTar(t.Context(), bytes.NewReader(b), dst, ReadOptions{Prefix: "data", MaxBytes: 1 << 20, MaxEntries: 50})
		outside(t, base)
	})
}
