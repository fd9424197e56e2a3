package copier

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"moorage/sandbox/copier/treetest"
)

// carried are the paths that Links has to make of a tree: names of groups, and the
// directories above them. It counts the groups too.
func carried(t rapidOrTest, src string) (paths map[string]bool, groups int64) {
	t.Helper()
	byInode := map[uint64][]string{}
	err := filepath.WalkDir(src, func(path string, e fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err = errors.Join(err, unix.Lstat(path, &st)); err == nil && !e.IsDir() && canBeLinked(&st) {
			byInode[st.Ino] = append(byInode[st.Ino], path[len(src)+1:])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	paths = map[string]bool{".": true}
	for _, names := range byInode {
		if len(names) < 2 {
			continue
		}
		groups++
		for _, n := range names {
			for ; n != "."; n = filepath.Dir(n) {
				paths[n] = true
			}
		}
	}
	return paths, groups
}

func TestLinksOfTrees(t *testing.T) {
	needRoot(t)
	in := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		src, dst, remove := scratch(t, in)
		defer remove()
		treetest.Mutate(src, treetest.Rapid(t), rapid.IntRange(0, 60).Draw(t, "steps"))
		want, groups := carried(t, src)
		size, err := Measure(t.Context(), src)
		if err != nil || size.Linked != groups {
			t.Fatalf("%d groups measured, there are %d: %v", size.Linked, groups, err)
		}
		n, err := Links(t.Context(), dst, src)
		if err == nil {
			err = Attributes(dst, src)
		}
		if err != nil || n != groups {
			t.Fatalf("%d groups carried, there are %d: %v", n, groups, err)
		}
		made := map[string]bool{}
		err = filepath.WalkDir(dst, func(path string, _ fs.DirEntry, err error) error {
			made[strings.TrimPrefix("."+path[len(dst):], "./")] = true
			return err
		})
		if err != nil || !maps.Equal(made, want) {
			t.Fatalf("made were %v, expected %v: %v", made, want, err)
		}
		err = treetest.Compare(src, dst, treetest.Options{Ignore: treetest.Xattrs, Skip: func(path string) bool { return !want[path] }})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestLinksMounted: over a layer that overlayfs has made, what is seen is the same
// with the links carried up as without, and they stay links.
func TestLinksMounted(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	sh := func(script string) {
		t.Helper()
		if out, err := exec.Command("sh", "-ec", "cd "+dir+"\n"+script).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	sh(`mkdir -p image/full image/gone image/kept empty layer upper; echo i >image/full/old; echo i >image/gone/x; echo i >image/kept/y; echo i >image/one`)
	overlaid(t, dir, "image:empty", "layer", `
		rm -r full gone; mkdir -p full/deep gone; chmod 2750 full; chown 7:8 full/deep
		echo a >full/deep/a; ln full/deep/a b; ln b kept/c; rm kept/y; echo only >full/only
		ln one two; mkfifo p; ln p kept/p; ln -s b s; ln s kept/s
		dd if=/dev/zero of=big bs=1M count=3 2>/dev/null; touch -d @1000000000 full/deep kept b`)
	sh(`ln layer/big big-elsewhere; setfattr -n user.x -v 1 layer/full layer/b`)
	if n, err := Links(t.Context(), at("upper"), at("layer")); err != nil || n != 4 {
		t.Fatalf("%d carried: %v", n, err)
	}
	if err := Attributes(at("upper"), at("layer")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(at("upper", "big")); err == nil {
		t.Error("a file with one name here was carried")
	}
	sh(`mkdir before; cp -a layer before.copy`)
	overlaid(t, dir, "layer:image:empty", "", `cp -a --preserve=all . `+at("before"))
	overlaid(t, dir, "layer:image:empty", "upper", "true", func(view string) {
		if err := treetest.Compare(at("before"), view, treetest.Options{Ignore: treetest.Holes}); err != nil {
			t.Error(err)
		}
	})
	overlaid(t, dir, "layer:image:empty", "upper", `
		echo more >>b; chmod 600 kept/c; echo x >>two
		[ "$(cat full/deep/a)" = "$(printf 'a\nmore')" ]; [ "$(stat -c '%a %h' full/deep/a)" = '600 3' ]
		[ full/deep/a -ef b ]; [ b -ef kept/c ]; [ one -ef two ]; [ p -ef kept/p ]
		[ "$(ls full)" = "$(printf 'deep\nonly')" ]; [ "$(ls gone kept)" = "$(printf 'gone:\n\nkept:\nc\np\ns')" ]; [ "$(cat one)" = "$(printf 'i\nx')" ]`)
	if err := treetest.Compare(at("layer"), at("before.copy"), treetest.Options{}); err != nil {
		t.Errorf("the layer has changed: %v", err)
	}
}

// overlaid runs a script in a mount of directories of dir, and then what is to look
// at it.
func overlaid(t *testing.T, dir, lower, upper, script string, looks ...func(view string)) {
	t.Helper()
	view, work := filepath.Join(dir, "view"), filepath.Join(dir, "work")
	for _, d := range []string{view, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	o := "index=off,lowerdir=" + dir + "/" + strings.ReplaceAll(lower, ":", ":"+dir+"/")
	if upper != "" {
		o += fmt.Sprintf(",upperdir=%s/%s,workdir=%s", dir, upper, work)
	}
	if err := unix.Mount("overlay", view, "overlay", 0, o); err != nil {
		t.Skipf("mount overlayfs: %v", err)
	}
	defer unix.Unmount(view, unix.MNT_DETACH)
	if out, err := exec.Command("sh", "-ec", "cd "+view+"\n"+script).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	for _, look := range looks {
		look(view)
	}
}
