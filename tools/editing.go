package tools

import (
	"context"
	"fmt"
	"strings"

	"moorage/fsbridge"
	"moorage/tools/unidiff"
)

func (s *Server) addEditing() {
	add(s, definition{
		name:        "fs_edit",
		description: "Replace exact passages of a text file: all edits or none, each in the result of those before. old_text must occur once, or set replace_all; take it from fs_read without line numbers, with enough lines around to be unique. Returns the change as a unified diff.",
		hints:       hints{destructive: true},
	}, s.fsEdit)
	add(s, definition{
		name:        "fs_patch",
		description: "Apply a unified diff to one or many files: change, create (--- /dev/null), delete (+++ /dev/null), git renames. All files or none. Hunks are found also where lines have moved.",
		hints:       hints{destructive: true},
	}, s.fsPatch)
}

type editInput struct {
	Path        string      `json:"path" doc:"File, absolute or from /data."`
	Edits       []editEntry `json:"edits" doc:"Replacements, in order." min:"1" max:"200"`
	DryRun      bool        `json:"dry_run,omitempty" doc:"Show the diff and write nothing."`
	IfRevision  string      `json:"if_revision,omitempty" doc:"Revision it must have." min:"1"`
	ContainerID string      `json:"container_id,omitempty" doc:"Container, else the current one."`
}

type editEntry struct {
	OldText    string `json:"old_text" doc:"Text to replace, exact." min:"1"`
	NewText    string `json:"new_text" doc:"Text to put there."`
	ReplaceAll bool   `json:"replace_all,omitempty" doc:"Replace each occurrence."`
}

type editFacts struct {
	where
	Path         string `json:"path"`
	Size         int64  `json:"size"`
	Revision     string `json:"revision"`
	Replacements int    `json:"replacements"`
	Added        int    `json:"lines_added"`
	Removed      int    `json:"lines_removed"`
	DryRun       bool   `json:"dry_run,omitempty"`
	Truncated    bool   `json:"truncated"`
}

func (s *Server) fsEdit(ctx context.Context, c *call, in editInput) (r reply[editFacts], err error) {
	path, err := parsePath("path", in.Path)
	if err != nil {
		return r, err
	}
	req := fsbridge.EditRequest{Path: path, DryRun: in.DryRun, MaxDiff: ResultChars}
	if in.IfRevision != "" {
		req.IfRevision = &in.IfRevision
	}
	size := 0
	for i, e := range in.Edits {
		if e.OldText == e.NewText {
			return r, badArgument(fmt.Sprintf("edits.%d.new_text", i), e.NewText, "another text than old_text")
		}
		size += len(e.OldText) + len(e.NewText)
		req.Edits = append(req.Edits, fsbridge.Edit{Old: e.OldText, New: e.NewText, All: e.ReplaceAll})
	}
	if size > contentMax {
		return r, fail(tooLarge, "Make the edits in several calls", "edits have %d bytes, at most %d are taken in one call", size, contentMax)
	}
	a, at, err := c.agent(ctx, in.ContainerID)
	if err != nil {
		return r, err
	}
	res, diff, err := a.Edit(ctx, req)
	if err != nil {
		return r, err
	}
	r.facts = editFacts{at, show(res.Path), res.Size, res.Revision, res.Replacements, res.Added, res.Removed, in.DryRun, res.DiffCut}
	text, replaced := valid(diff, false, res.DiffCut)
	r.say(text)
	r.note("%s", r.facts.summary())
	if replaced {
		r.note("the diff is not all UTF-8: other bytes are shown as U+FFFD; in the file they are as they were")
	}
	if res.DiffCut {
		r.note("the diff is cut; the whole change was made")
	}
	return r, nil
}

func (f *editFacts) summary() string {
	verb := "made"
	if f.DryRun {
		verb = "would be made; this was a dry run and nothing was written"
	}
	return fmt.Sprintf("%s in %s %s; it has %s, revision %s",
		count(int64(f.Replacements), "replacement"), f.Path, verb, count(f.Size, "byte"), f.Revision)
}

type patchInput struct {
	Patch       string `json:"patch" doc:"Unified diff, as diff -u or git diff write it." min:"1"`
	Path        string `json:"path,omitempty" doc:"Directory its file names start from (default /data)."`
	DryRun      bool   `json:"dry_run,omitempty" doc:"Check only."`
	ContainerID string `json:"container_id,omitempty" doc:"Container, else the current one."`
}

type patchFacts struct {
	where
	Files  []patchedFacts `json:"files"`
	DryRun bool           `json:"dry_run,omitempty"`
}

type patchedFacts struct {
	Path     string `json:"path"`
	OldPath  string `json:"old_path,omitempty"`
	Action   string `json:"action"`
	Size     int64  `json:"size"`
	Revision string `json:"revision,omitempty"`
	Added    int    `json:"lines_added"`
	Removed  int    `json:"lines_removed"`
	Moved    int64  `json:"moved,omitempty"`
}

func (s *Server) fsPatch(ctx context.Context, c *call, in patchInput) (r reply[patchFacts], err error) {
	if len(in.Patch) > contentMax {
		return r, fail(tooLarge, "Apply it in parts, each with whole files", "patch has %d bytes, at most %d are taken in one call", len(in.Patch), contentMax)
	}
	req := fsbridge.PatchRequest{DryRun: in.DryRun}
	if in.Path != "" {
		if req.Path, err = parsePath("path", in.Path); err != nil {
			return r, err
		}
	}
	if req.Files, err = unidiff.Parse(in.Patch); err != nil {
		return r, fail(invalidArgument, "It takes a unified diff: --- a/FILE, +++ b/FILE, @@ -1,3 +1,4 @@, then lines that begin with a space, - or +; fs_edit replaces text without one", "patch: %v", err)
	}
	a, at, err := c.agent(ctx, in.ContainerID)
	if err != nil {
		return r, err
	}
	res, err := a.Patch(ctx, req)
	if err != nil {
		return r, err
	}
	r.facts = patchFacts{where: at, Files: make([]patchedFacts, len(res.Files)), DryRun: in.DryRun}
	lines := make([]string, len(res.Files))
	for i, f := range res.Files {
		r.facts.Files[i] = factsOfPatched(f)
		lines[i] = r.facts.Files[i].text()
	}
	r.say(strings.Join(lines, "\n"))
	what := count(int64(len(lines)), "file") + " patched"
	if in.DryRun {
		what = "a dry run: the patch fits, nothing was written"
	}
	r.note("%s", what)
	return r, nil
}

func factsOfPatched(f fsbridge.PatchedFile) patchedFacts {
	p := patchedFacts{
		Path: show(f.New), Action: clean(f.Action, 20), Size: f.Size, Revision: f.Revision,
		Added: f.Added, Removed: f.Removed, Moved: f.Moved,
	}
	switch {
	case f.New == "":
		p.Path = show(f.Old)
	case f.Old != "" && f.Old != f.New:
		p.OldPath = show(f.Old)
	}
	return p
}

func (p *patchedFacts) text() string {
	text := p.Action + " " + p.Path
	if p.OldPath != "" {
		text = p.Action + " " + p.OldPath + " to " + p.Path
	}
	text += fmt.Sprintf("  +%d -%d", p.Added, p.Removed)
	if p.Moved > 0 {
		text += fmt.Sprintf("  (found up to %s away)", count(p.Moved, "line"))
	}
	return text
}
