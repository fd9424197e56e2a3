package unidiff

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"

	"moorage/fsbridge"
)

const devNull = "/dev/null"

// Parse reads a diff of one or more files. The error says on which line what is
// wrong. A hunk whose header has no numbers has Start 0.
func Parse(text string) ([]fsbridge.FilePatch, error) {
	if strings.Contains(text, "*** Begin Patch") {
		return nil, errors.New(`"*** Begin Patch" is another format than a unified diff`)
	}
	if strings.IndexByte(text, 0) >= 0 {
		return nil, errors.New("it holds a NUL byte")
	}
	mended, err := mend(text)
	if err != nil {
		return nil, err
	}
	parsed, _, err := gitdiff.Parse(strings.NewReader(mended))
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "gitdiff: "))
	}
	if len(parsed) == 0 {
		return nil, errors.New("it names no file: before a hunk come the lines --- OLD and +++ NEW")
	}
	files := make([]fsbridge.FilePatch, len(parsed))
	for i, f := range parsed {
		if files[i], err = filePatch(f); err != nil {
			return nil, err
		}
	}
	return files, bounded(files)
}

// bounded holds the patch to the limits of one request.
func bounded(files []fsbridge.FilePatch) error {
	if len(files) > fsbridge.PatchFilesMax {
		return fmt.Errorf("it changes %d files, at most %d are allowed in one call", len(files), fsbridge.PatchFilesMax)
	}
	hunks := 0
	for i := range files {
		hunks += len(files[i].Hunks)
	}
	if hunks > fsbridge.HunksMax {
		return fmt.Errorf("it has %d hunks, at most %d are allowed in one call", hunks, fsbridge.HunksMax)
	}
	return nil
}

func filePatch(f *gitdiff.File) (fsbridge.FilePatch, error) {
	p := fsbridge.FilePatch{Action: action(f), Old: fsbridge.Path(f.OldName), New: fsbridge.Path(f.NewName)}
	switch name := firstOf(f.NewName, f.OldName); {
	case f.IsBinary || f.BinaryFragment != nil:
		return p, fmt.Errorf("%s: binary changes cannot be applied; write the file with fs_write and encoding base64", name)
	case name == "":
		return p, errors.New("a file has no name")
	case !regular(f.OldMode) || !regular(f.NewMode):
		return p, fmt.Errorf("%s: symbolic links and submodules cannot be patched; make them by exec", name)
	}
	if p.Action == fsbridge.ActionModify && len(f.TextFragments) == 0 && f.NewMode == 0 {
		return p, fmt.Errorf("%s: there is no hunk for it", f.NewName)
	}
	if f.NewMode != 0 {
		mode := uint32(f.NewMode.Perm())
		p.Mode = &mode
	}
	for _, t := range f.TextFragments {
		p.Hunks = append(p.Hunks, hunk(t))
	}
	return p, nil
}

// regular reports whether a mode, as git writes it, is of a regular file or not
// given. (It is the number in the patch, and none of package os's bits.)
func regular(mode os.FileMode) bool {
	const typeBits, regularFile = 0o170000, 0o100000
	return mode&typeBits == 0 || mode&typeBits == regularFile
}

func action(f *gitdiff.File) string {
	switch {
	case f.IsNew:
		return fsbridge.ActionCreate
	case f.IsDelete:
		return fsbridge.ActionDelete
	case f.IsCopy:
		return fsbridge.ActionCopy
	case f.IsRename || f.OldName != f.NewName:
		return fsbridge.ActionRename
	}
	return fsbridge.ActionModify
}

func firstOf(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func hunk(t *gitdiff.TextFragment) fsbridge.Hunk {
	h := fsbridge.Hunk{Start: t.OldPosition, Lines: make([]string, len(t.Lines))}
	for i, l := range t.Lines {
		h.Lines[i] = l.Op.String() + l.Line
	}
	return h
}
