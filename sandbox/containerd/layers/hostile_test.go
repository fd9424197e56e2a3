package layers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// set sets an attribute of what overlayfs keeps.
func set(t *testing.T, p, attr, value string) {
	t.Helper()
	if err := unix.Lsetxattr(p, attr, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// Whiteouts that are files, an opaque top, and trusted.overlay.opaque=x are what
// the kernel takes them for.
func TestRareSigns(t *testing.T) {
	h := newHistory(t)
	low, up := h.dir("fs"), h.dir("fs")
	for _, p := range []string{"d/gone", "d/stays", "e/stays", "top"} {
		os.MkdirAll(filepath.Join(low, filepath.Dir(p)), 0o755)
		write(filepath.Join(low, p), "low", 0o644, 0)
	}
	os.Mkdir(up+"/d", 0o755)
	os.Mkdir(up+"/e", 0o755)
	write(up+"/d/gone", "", 0o644, 0)
	set(t, up+"/d/gone", xattrWhiteout, "y")
	set(t, up, xattrOpaque, "y")
	set(t, up+"/d", xattrOpaque, "x")
	set(t, up+"/e", xattrOpaque, "x")
	h.layers = []string{low, up}
	var want tree
	h.mounted(h.topFirst(1), "", func(root string) { want = readTree(root) })
	s := openStack(t, h.topFirst(1)...)
	defer s.Close()
	for p := range allPaths([]tree{want, readTree(low)}) {
		checkLookupT(t, s, p, want)
	}
	dst := h.dir("fs")
	below := openStack(t, low)
	defer below.Close()
	if err := Merge(t.Context(), dst, []string{up}, below); err != nil {
		t.Fatal(err)
	}
	h.mounted([]string{dst, low}, "", func(root string) {
		if d := diffTrees(want, readTree(root)); len(d) > 0 {
			t.Errorf("merged: %q", d)
		}
	})
}

func checkLookupT(t *testing.T, s *Stack, p string, want tree) {
	t.Helper()
	_, err := s.Lookup(p)
	if _, ok := want[p]; ok && err != nil || !ok && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("look up %q: %v, in the mount %v", p, err, ok)
	}
}

// What only other mount options make is refused, by all.
func TestRefused(t *testing.T) {
	h := newHistory(t)
	for _, attr := range []string{xattrRedirect, xattrMetacopy} {
		dir, empty := h.dir("fs"), h.dir("fs")
		if attr == xattrRedirect {
			os.Mkdir(dir+"/x", 0o755)
		} else {
			write(dir+"/x", "", 0o644, 0)
		}
		set(t, dir+"/x", attr, "/y")
		s, e := openStack(t, dir), openStack(t, empty)
		defer s.Close()
		defer e.Close()
		_, look := s.Lookup("/x")
		for name, err := range map[string]error{
			"Lookup":   look,
			"Changes":  Changes(t.Context(), e, s, Options{}, func(Change) error { return nil }),
			"Merge":    Merge(t.Context(), h.dir("fs"), []string{dir}, nil),
			"WriteTar": WriteTar(t.Context(), &strings.Builder{}, dir, TarOptions{}),
		} {
			if !errors.Is(err, ErrUnsupported) {
				t.Errorf("%s of %s: %v, want %v", name, attr, err, ErrUnsupported)
			}
		}
	}
}

// A tree too deep is refused; one at the bound is walked with few open files.
func TestDeep(t *testing.T) {
	h := newHistory(t)
	deep := func(n int) string {
		dir := h.dir("fs")
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		for ; n > 0 && err == nil; n-- {
			unix.Mkdirat(fd, "dir", 0o755)
			var next int
			next, err = unix.Openat(fd, "dir", unix.O_RDONLY|unix.O_DIRECTORY, 0)
			unix.Close(fd)
			fd = next
		}
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		return dir
	}
	e := openStack(t, h.dir("fs"))
	defer e.Close()
	for n, want := range map[int]error{depthMax - 2: nil, depthMax + 10: ErrLimit} {
		s := openStack(t, deep(n))
		defer s.Close()
		told, open := 0, 0
		err := Changes(t.Context(), e, s, Options{}, func(Change) error {
			if told++; told%100 == 0 {
				fds, _ := os.ReadDir("/proc/self/fd")
				open = max(open, len(fds))
			}
			return nil
		})
		if !errors.Is(err, want) || want == nil && told != n || open > 100 {
			t.Errorf("%d levels: %v, want %v; %d told, %d files open", n, err, want, told, open)
		}
	}
}

// A layer that a container changes under the walk leads nowhere else.
func TestLiveLayer(t *testing.T) {
	h := newHistory(t)
	live, empty, secret := h.dir("fs"), h.dir("fs"), h.dir("secret")
	write(secret+"/told", "secret", 0o600, 0)
	s, e := openStack(t, live), openStack(t, empty)
	defer s.Close()
	defer e.Close()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			os.MkdirAll(live+"/a/b", 0o755)
			write(live+"/a/told", "mine", 0o600, 0)
			write(live+"/f", strings.Repeat("x", 9000), 0o600, 0)
			os.Rename(live+"/a", live+"/c")
			os.Symlink(secret, live+"/a")
			os.Remove(live + "/f")
			unix.Mkfifo(live+"/f", 0o600)
			os.RemoveAll(live + "/c")
			os.Remove(live + "/a")
			os.Remove(live + "/f")
		}
	})
	for range 500 {
		err := Changes(t.Context(), e, s, Options{}, func(c Change) error {
			if c.Path == "/a/told" && c.Size() == int64(len("secret")) {
				return fmt.Errorf("it led outside")
			}
			_, _, err := Patch(t.Context(), e, s, c, c.Path, 100)
			return err
		})
		if err != nil {
			t.Error(err)
			break
		}
		if f, err := s.Open("/a/told"); err == nil {
			if b, _ := readAt(int(f.Fd()), make([]byte, 10), 0); strings.HasPrefix("secret", string(b)) && len(b) > 0 {
				t.Error("it was read")
			}
			f.Close()
		}
	}
	stop()
	wg.Wait()
}

// Huge files of holes are compared by their data.
func TestHoles(t *testing.T) {
	h := newHistory(t)
	dirs := []string{h.dir("fs"), h.dir("fs"), h.dir("fs")}
	for i, d := range dirs {
		write(d+"/x", []string{"a", "a", "b"}[i], 0o644, 1<<42)
	}
	for i, want := range []int{0, 0, 1} {
		n := 0
		err := ChangesPlain(t.Context(), dirs[0], dirs[i], Options{}, func(Change) error { n++; return nil })
		if err != nil || n != want {
			t.Errorf("%d changes, %v; want %d", n, err, want)
		}
	}
}
