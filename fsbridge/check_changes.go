package fsbridge

// The checks of what an agent answers to a change; see check.go.

// linesMax is the most lines of a file that Edit and Patch change.
const linesMax = ChangeMax

// checkPassages holds what an error says of places in a file to its bounds.
func checkPassages(e *Error) string {
	switch {
	case e.Item < 0 || e.Item > HunksMax || e.Count < 0:
		return "item or count out of bounds"
	case len(e.Passages) > PassagesMax:
		return "too many passages"
	}
	for _, p := range e.Passages {
		if p.Line < 1 || p.Line > linesMax || len(p.Text) > PassageMax {
			return "passage out of bounds"
		}
	}
	return ""
}

func checkEdit(req *EditRequest, res *EditResult, diff []byte) string {
	limit := req.MaxDiff
	if limit <= 0 || limit > DiffMax {
		limit = DiffMax
	}
	switch {
	case len(diff) > limit:
		return "diff longer than asked for"
	case res.Size < 0 || res.Size > ChangeMax:
		return "size out of bounds"
	case res.Replacements < len(req.Edits) || res.Replacements > len(req.Edits)*ChangeMax:
		return "replacements out of bounds"
	case !isLines(res.Added) || !isLines(res.Removed):
		return "lines out of bounds"
	case res.Revision == "":
		return "no revision"
	}
	return checkNode(res.Path, 0, res.Revision)
}

func isLines(n int) bool { return n >= 0 && n <= linesMax }

func checkPatch(req *PatchRequest, res *PatchResult) string {
	if len(res.Files) != len(req.Files) {
		return "not one result for each file"
	}
	for i := range res.Files {
		if reason := checkPatched(&req.Files[i], &res.Files[i]); reason != "" {
			return reason
		}
	}
	return ""
}

func checkPatched(req *FilePatch, res *PatchedFile) string {
	switch {
	case res.Action != req.Action:
		return "another action than asked for"
	case (res.Old != "") != (req.Old != "") || (res.New != "") != (req.New != "" || req.Action == ActionModify):
		return "names that do not fit the action"
	case res.Size < 0 || !isLines(res.Added) || !isLines(res.Removed) || res.Moved < 0 || res.Moved > linesMax:
		return "size or lines out of bounds"
	case !isRevision(res.Revision):
		return "malformed revision"
	}
	for _, path := range []Path{res.Old, res.New} {
		if path != "" && checkNode(path, 0, "") != "" {
			return "path that is not absolute"
		}
	}
	return ""
}

func checkMove(res *MoveResult) string {
	if reason := checkNode(res.Source, 0, ""); reason != "" {
		return reason
	}
	return checkNode(res.Destination, 0, "")
}

func checkDelete(res *DeleteResult) string {
	if res.Count < 0 || res.Count > DeleteMax || res.Deleted != (res.Count > 0) {
		return "count out of bounds"
	}
	return checkNode(res.Path, 0, "")
}
