package copier

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"moorage/sandbox/copier/treetest"
)

// again is a record after it was written and read.
func again(t rapidOrTest, r *Record) *Record {
	t.Helper()
	var b bytes.Buffer
	if _, err := r.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	read, err := ReadRecord(&b)
	if err != nil {
		t.Fatal(err)
	}
	var c bytes.Buffer
	read.WriteTo(&c)
	var d bytes.Buffer
	r.WriteTo(&d)
	if !bytes.Equal(c.Bytes(), d.Bytes()) {
		t.Fatal("a record that was read is written in another way")
	}
	return read
}

// A row of snapshots, each with the one before as reference: each stays what it
// was, whatever becomes of the source.
func TestReference(t *testing.T) {
	needRoot(t)
	in := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		src, dst, remove := scratch(t, in)
		defer remove()
		r := treetest.Rapid(t)
		o := Options{NoClone: true}
		for i := range rapid.IntRange(1, 4).Draw(t, "snapshots") {
			treetest.Mutate(src, r, rapid.IntRange(0, 15).Draw(t, "steps"))
			if rapid.Bool().Draw(t, "wait") {
				settled()
			}
			to := filepath.Join(dst, string(rune('a'+i)))
			kept := to + ".kept"
			os.Mkdir(to, 0o700)
			os.Mkdir(kept, 0o700)
			c, err := New(to, src, o)
			if err == nil && rapid.Bool().Draw(t, "pass") {
				err = c.Pass(t.Context())
				treetest.Mutate(src, r, rapid.IntRange(0, 5).Draw(t, "steps"))
			}
			if err == nil {
				err = c.Finish(t.Context(), nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			same(t, c, src, to)
			if _, err := Tree(t.Context(), kept, to, Options{}); err != nil {
				t.Fatal(err)
			}
			o.Reference = &Reference{Tree: to, Record: again(t, c.Record())}
		}
		for i := range 4 {
			to := filepath.Join(dst, string(rune('a'+i)))
			if _, err := os.Stat(to); err == nil {
				if err := treetest.Compare(to+".kept", to, treetest.Options{}); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func TestReferenceIsLinked(t *testing.T) {
	src, dst, remove := scratch(t, t.TempDir())
	defer remove()
	fill(t, src, 100, 5000)
	os.Mkdir(src+"/d", 0o755)
	os.Link(src+"/file00000", src+"/d/second")
	settled()
	one, two, three := dst+"/1", dst+"/2", dst+"/3"
	for _, d := range []string{one, two, three} {
		os.Mkdir(d, 0o755)
	}
	c, err := Tree(t.Context(), one, src, Options{NoClone: true})
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(src+"/file00050", []byte("changed"), 0o644)
	os.Chmod(src+"/file00051", 0o600)
	ref := &Reference{Tree: one, Record: again(t, c.Record())}
	c, err = Tree(t.Context(), two, src, Options{NoClone: true, Reference: ref})
	if err != nil {
		t.Fatal(err)
	}
	same(t, c, src, two)
	if bytes, files, err := Usage(t.Context(), two, one); err != nil || files != 3 || bytes > 64<<10 { // a directory too
		t.Errorf("beyond the first: %d bytes, %d files, %v", bytes, files, err)
	}
	if s := c.Stats(); s.Linked != 98 || s.Copied != 2 || s.Shared < 97*5000 || s.Shared >= s.Bytes {
		t.Fatalf("%+v, want 98 linked and 2 copied", s)
	}
	c, err = Tree(t.Context(), three, src, Options{NoClone: true, NoLink: true, Reference: ref})
	if err != nil || c.Stats().Linked != 0 {
		t.Fatalf("%+v, %v", c.Stats(), err)
	}
}

func TestUnchanged(t *testing.T) {
	src, dst, remove := scratch(t, t.TempDir())
	defer remove()
	treetest.Mutate(src, treetest.Seeded(5), 150)
	settled()
	c, err := Tree(t.Context(), dst, src, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := again(t, c.Record())
	filepath.WalkDir(src, func(path string, _ fs.DirEntry, _ error) error {
		var st unix.Stat_t
		name, _ := filepath.Rel(src, path)
		unix.Lstat(path, &st)
		want := st.Mode&unix.S_IFMT != unix.S_IFSOCK
		if r.Unchanged(name, &st) != want {
			t.Errorf("%q is unchanged: %v", name, !want)
		}
		if st.Ctim.Nsec++; r.Unchanged(name, &st) {
			t.Errorf("%q is unchanged after a change", name)
		}
		return nil
	})
	if r.Unchanged("not/there", &unix.Stat_t{}) {
		t.Error("what was not there is unchanged")
	}
}

func FuzzReadRecord(f *testing.F) {
	src, dst, remove := scratch(f, f.TempDir())
	defer remove()
	treetest.Mutate(src, treetest.Seeded(5), 30)
	c, err := Tree(f.Context(), dst, src, Options{})
	if err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	c.Record().WriteTo(&b)
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()/2])
	f.Add([]byte(recordMagic))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := ReadRecord(bytes.NewReader(in))
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatalf("%v is no ErrRecord", err)
			}
			return
		}
		again(t, r)
		r.Unchanged("a/b", &unix.Stat_t{})
	})
}
