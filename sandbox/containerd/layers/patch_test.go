package layers

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bluekeyes/go-gitdiff/gitdiff"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// oneFile makes a plain directory of one file; nil is none.
func oneFile(t rapid.TB, dir, name string, content []byte) *Stack {
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if content != nil {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := OpenPlain(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// patchOf compares two directories of one file.
func patchOf(t rapid.TB, a, b *Stack, limit int) (patch, note string) {
	err := Changes(context.Background(), a, b, Options{}, func(c Change) (err error) {
		patch, note, err = Patch(context.Background(), a, b, c, c.Path, limit)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return patch, note
}

// A patch makes one side out of the other.
func TestPatch(t *testing.T) {
	content := rapid.Custom(func(t *rapid.T) []byte {
		lines := rapid.SliceOfN(rapid.SampledFrom([]string{"one\n", "two\n", "\n", "three", "--- x\n", "é\r\n"}), 0, 400).Draw(t, "lines")
		return []byte(strings.Join(lines, ""))
	})
	rapid.Check(t, func(rt *rapid.T) {
		base := t.TempDir()
		defer os.RemoveAll(base)
		old, fresh := content.Draw(rt, "old"), content.Draw(rt, "new")
		name := rapid.SampledFrom([]string{"x", "a b", "\"q\"\n\xff", "é"}).Draw(rt, "name")
		switch rapid.IntRange(0, 3).Draw(rt, "kind") {
		case 0:
			old = nil
		case 1:
			fresh = nil
		}
		a, b := oneFile(rt, base+"/a", name, old), oneFile(rt, base+"/b", name, fresh)
		defer a.Close()
		defer b.Close()
		patch, note := patchOf(rt, a, b, 1<<20)
		if (patch == "") != bytes.Equal(old, fresh) {
			rt.Fatalf("patch %q, note %q", patch, note)
		}
		if patch == "" {
			return
		}
		files, _, err := gitdiff.Parse(strings.NewReader(patch))
		if err != nil || len(files) != 1 {
			rt.Fatalf("%d files, %v in\n%s", len(files), err, patch)
		}
		var out bytes.Buffer
		if err := gitdiff.Apply(&out, bytes.NewReader(old), files[0]); err != nil || !bytes.Equal(out.Bytes(), fresh) {
			rt.Fatalf("applied (%v) it gives %q, want %q:\n%s", err, out.Bytes(), fresh, patch)
		}
		if files[0].IsNew != (old == nil) || files[0].IsDelete != (fresh == nil) {
			rt.Fatalf("new %v, deleted %v:\n%s", files[0].IsNew, files[0].IsDelete, patch)
		}
	})
}

// Where there is no patch a note says why.
func TestPatchNotes(t *testing.T) {
	big := bytes.Repeat([]byte("x\n"), patchMax/2+1)
	for _, c := range []struct {
		want       string
		old, fresh []byte
		limit      int
	}{
		{"binary", []byte("a\x00"), []byte("b"), 1000},
		{"binary", []byte("a"), []byte("\xff"), 1000},
		{"too large: a file", big, []byte("b"), 1000},
		{"too large: a patch", []byte("a"), []byte("b"), 10},
		{"empty file", nil, []byte{}, 1000},
		{"only mode 0644 to 4755, owner 0:0 to 5:6, extended attributes", []byte("a"), []byte("a"), 1000},
	} {
		base := t.TempDir()
		a, b := oneFile(t, base+"/a", "x", c.old), oneFile(t, base+"/b", "x", c.fresh)
		defer a.Close()
		defer b.Close()
		if strings.HasPrefix(c.want, "only") {
			needRoot(t)
			os.Lchown(base+"/b/x", 5, 6)
			unix.Chmod(base+"/b/x", 0o4755)
			unix.Lsetxattr(base+"/b/x", "user.x", []byte("v"), 0)
		}
		if patch, note := patchOf(t, a, b, c.limit); patch != "" || !strings.HasPrefix(note, c.want) {
			t.Errorf("patch %q, note %q, want %q", patch, note, c.want)
		}
	}
}
