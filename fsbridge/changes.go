package fsbridge

// Limits of changes.
const (
	// EditsMax is the most edits in one Edit.
	EditsMax = 200
	// ChangeMax is the largest file, in bytes, that Edit and Patch change, and
	// the largest that they make of one.
	ChangeMax = 16 << 20
	// DiffMax is the most bytes of unified diff that one Edit returns.
	DiffMax = 256 << 10
	// PatchFilesMax is the most files that one Patch changes.
	PatchFilesMax = 500
	// HunksMax is the most hunks in one Patch.
	HunksMax = 10_000
	// DeleteMax is the most nodes that one Delete removes.
	DeleteMax = 5_000_000
	// PassagesMax is the most passages that an Error names.
	PassagesMax = 10
	// PassageMax is the most bytes of a passage's text.
	PassageMax = 2000
)

// EditRequest replaces exact passages of a regular file: each edit in turn, in
// what those before it have made; all of them or, after an error, none. An error
// about one edit has its number in Item.
type EditRequest struct {
	Path       Path    `json:"path"`
	Edits      []Edit  `json:"edits"` // 1 to EditsMax
	DryRun     bool    `json:"dry_run,omitempty"`
	IfRevision *string `json:"if_revision,omitempty"` // as in WriteRequest, but never ""
	MaxDiff    int     `json:"max_diff,omitempty"`    // most bytes of diff; 0 or more than DiffMax means DiffMax
}

// Edit replaces one passage, to the byte. LF in Old also stands for CRLF where the
// file has that, and LF in New for the line ends of what it replaces, else for
// those that most lines of the file have; an Old with CRLF that is there as it is
// takes New as it is. An Old whose last line has an end also stands for the file's
// last line when that has none. Both are UTF-8.
type Edit struct {
	Old string `json:"old"` // not empty; must occur exactly once unless All
	New string `json:"new"`
	All bool   `json:"all,omitempty"` // replace every occurrence, one at least
}

// EditResult tells what is there now, or with DryRun what would be. Its data is
// the change as a unified diff, whose file names are Path, quoted as in Go if it
// holds control characters.
type EditResult struct {
	Path         Path   `json:"path"`
	Size         int64  `json:"size"`
	Revision     string `json:"revision"`
	Replacements int    `json:"replacements"`
	Added        int    `json:"added"`              // lines
	Removed      int    `json:"removed"`            // lines
	DiffCut      bool   `json:"diff_cut,omitempty"` // the diff was longer than MaxDiff; it ends at a line's end
}

// PatchRequest changes, makes, deletes and renames files: all of them or, after
// an error, none. Each name is in it once, as old or new, but that a name from
// which a file goes away may get another. All old content is that before the
// patch. An error about one hunk has its number, from 1 in its file, in Item and
// the file in Path. An agent that is killed in the middle leaves each file whole,
// the old or the new.
type PatchRequest struct {
	Path   Path        `json:"path,omitempty"` // directory where relative names start
	DryRun bool        `json:"dry_run,omitempty"`
	Files  []FilePatch `json:"files"` // 1 to PatchFilesMax
}

// The actions of a FilePatch.
const (
	ActionCreate = "create" // of one hunk with added lines, or empty; nothing may be there
	ActionModify = "modify" // through a symbolic link its target; without hunks only the mode
	ActionDelete = "delete" // the hunks must hold all that is in it
	ActionRename = "rename" // and modify, if there are hunks
	ActionCopy   = "copy"   // and modify, if there are hunks
)

// FilePatch is what happens to one file.
type FilePatch struct {
	Action string  `json:"action"`
	Old    Path    `json:"old,omitempty"`  // "" for ActionCreate
	New    Path    `json:"new,omitempty"`  // "" for ActionDelete; "" or Old for ActionModify
	Mode   *uint32 `json:"mode,omitempty"` // permission bits that the file gets
	Hunks  []Hunk  `json:"hunks,omitempty"`
}

// Hunk replaces a run of lines by another. Each of Lines is " ", "-" or "+" and
// a line with its end; one without an end is the last of the file. They are UTF-8.
//
// It goes where Start says, shifted as the hunk before it was, if its old lines
// are there, else to the nearest place where they are, after the hunk before it;
// then where they are but for white space at their ends, or the kind of line end;
// then with one or two fewer context lines at its outer ends. What has no context,
// or fewer context lines, or no Start, and is not where it should be, must have
// one place only. Lines that stay are the file's own.
type Hunk struct {
	// Start is the number of the first old line, of a hunk that only adds lines
	// that of the line before; 0 if that is not known, or the file is empty.
	Start int64    `json:"start"`
	Lines []string `json:"lines"`
}

// PatchResult tells what became of each file, in the order of the request.
type PatchResult struct {
	Files []PatchedFile `json:"files"`
}

// PatchedFile is one file of a PatchResult.
type PatchedFile struct {
	Action   string `json:"action"`
	Old      Path   `json:"old,omitempty"` // resolved, as New
	New      Path   `json:"new,omitempty"`
	Size     int64  `json:"size"`
	Revision string `json:"revision,omitempty"` // "" for ActionDelete
	Added    int    `json:"added"`              // lines
	Removed  int    `json:"removed"`            // lines
	Moved    int64  `json:"moved,omitempty"`    // the farthest that a hunk was found from its Start, in lines
}

// MkdirRequest makes a directory and those above it.
type MkdirRequest struct {
	Path Path    `json:"path"`
	Mode *uint32 `json:"mode,omitempty"` // of the last one, if it is made; default 0755
}

// MkdirResult tells whether it was there already.
type MkdirResult struct {
	Path    Path `json:"path"`
	Created bool `json:"created"`
}

// MoveRequest renames a node, or copies and deletes it where it goes to another
// file system. Directories above the destination are made.
type MoveRequest struct {
	Source      Path `json:"source"`
	Destination Path `json:"destination"`         // the new name, not a directory to move into
	Overwrite   bool `json:"overwrite,omitempty"` // a file or an empty directory there is replaced
}

// MoveResult tells how it went.
type MoveResult struct {
	Source      Path `json:"source"`
	Destination Path `json:"destination"`
	Replaced    bool `json:"replaced,omitempty"` // something was there
	Copied      bool `json:"copied,omitempty"`   // to another file system
}

// DeleteRequest removes a node, the link itself if it is one. The root, mount
// points and what has a mount point below it are refused.
type DeleteRequest struct {
	Path      Path `json:"path"`
	Recursive bool `json:"recursive,omitempty"` // a directory with what is in it
}

// DeleteResult tells whether something was there.
type DeleteResult struct {
	Path    Path  `json:"path"`
	Deleted bool  `json:"deleted"`
	Count   int64 `json:"count"` // nodes removed
}
