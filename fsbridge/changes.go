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
// what those before it have made; all of them or, after an error, none.
type EditRequest struct {
	Path       Path    `json:"path"`
	Edits      []Edit  `json:"edits"` // 1 to EditsMax
	DryRun     bool    `json:"dry_run,omitempty"`
	IfRevision *string `json:"if_revision,omitempty"` // as in WriteRequest, but never ""
	MaxDiff    int     `json:"max_diff,omitempty"`    // most bytes of diff; 0 or more than DiffMax means DiffMax
}

// Edit replaces one passage. Line ends in Old and New that are LF also stand for
// CRLF where the file has that.
type Edit struct {
	Old string `json:"old"` // not empty; must occur exactly once unless All
	New string `json:"new"`
	All bool   `json:"all,omitempty"` // replace every occurrence, one at least
}

// EditResult tells what is there now, or with DryRun what would be. Its data is
// the change as a unified diff.
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
// an error, none.
type PatchRequest struct {
	Path   Path        `json:"path,omitempty"` // directory where relative names start
	DryRun bool        `json:"dry_run,omitempty"`
	Files  []FilePatch `json:"files"` // 1 to PatchFilesMax
}

// The actions of a FilePatch.
const (
	ActionCreate = "create"
	ActionModify = "modify"
	ActionDelete = "delete"
	ActionRename = "rename" // and modify, if there are hunks
	ActionCopy   = "copy"   // and modify, if there are hunks
)

// FilePatch is what happens to one file.
type FilePatch struct {
	Action string  `json:"action"`
	Old    Path    `json:"old,omitempty"`  // "" for ActionCreate
	New    Path    `json:"new,omitempty"`  // "" for ActionDelete
	Mode   *uint32 `json:"mode,omitempty"` // permission bits that the file gets
	Hunks  []Hunk  `json:"hunks,omitempty"`
}

// Hunk replaces a run of lines by another. Each of Lines is " ", "-" or "+" and
// a line with its end; one without an end is the last of the file.
type Hunk struct {
	Start int64    `json:"start"` // the first old line's number; where the old run is, or near it
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
