package tools

import (
	"context"
	"fmt"
	"strings"

	"moorage/fsbridge"
	"moorage/sandbox"
)

// Bounds of a diff's text. With patches the lines get what those leave.
const (
	diffDefault    = 200
	diffPatchBytes = ResultChars * 5 / 8
	diffLineChars  = searchChars - diffPatchBytes
)

func (s *Server) addDiffing() {
	add(s, definition{
		name: "diff_snapshot", long: true,
		description: "Show what changed since a snapshot: A/M/D, path, bytes.",
		hints:       hints{readOnly: true, idempotent: true},
	}, s.diffSnapshot)
}

type diffInput struct {
	SnapshotName string `json:"snapshot_name" doc:"Snapshot to compare from."`
	Against      string `json:"against,omitempty" doc:"Another snapshot (default the present state)."`
	Path         string `json:"path,omitempty" doc:"Only this file or directory."`
	Patch        bool   `json:"patch,omitempty" doc:"Also unified diffs of text files."`
	Limit        int64  `json:"limit,omitempty" doc:"Most changes." min:"1" max:"2000" default:"200"`
	Offset       int64  `json:"offset,omitempty" doc:"Changes to skip." min:"0"`
	ContainerID  string `json:"container_id,omitempty" doc:"Container, else the one it was taken of."`
}

type diffFacts struct {
	SnapshotName string `json:"snapshot_name"`
	Against      string `json:"against"`
	Total        int    `json:"total"`
	Added        int    `json:"added" schema:"-"`
	Modified     int    `json:"modified" schema:"-"`
	Deleted      int    `json:"deleted" schema:"-"`
	Returned     int    `json:"returned"`
	NextOffset   int64  `json:"next_offset,omitempty"`
}

// request checks the arguments.
func (in *diffInput) request(c *call) (req sandbox.DiffRequest, err error) {
	req = sandbox.DiffRequest{Bot: c.bot, Patch: in.Patch, Offset: int(in.Offset), Limit: int(in.Limit)}
	if req.Limit == 0 {
		req.Limit = diffDefault
	}
	if in.Patch {
		req.MaxPatch = diffPatchBytes
	}
	if req.From, err = existingSnapshot("snapshot_name", in.SnapshotName); err != nil {
		return req, err
	}
	if req.To, err = snapshotName("against", in.Against); err != nil {
		return req, err
	}
	if req.Container, err = c.optionalContainer(in.ContainerID); err != nil {
		return req, err
	}
	if req.To != "" && req.Container != "" {
		return req, fail(invalidArgument, "Leave one of them out", "against %s does not go with container_id, whose present state is another thing to compare with", req.To)
	}
	if in.Path == "" {
		return req, nil
	}
	path, err := parsePath("path", in.Path)
	if err != nil {
		return req, err
	}
	if req.Path = string(path); req.Path[0] != '/' {
		req.Path = string(below(fsbridge.Path(c.server.manager.DataDir()), path))
	}
	return req, nil
}

func (s *Server) diffSnapshot(ctx context.Context, c *call, in diffInput) (r reply[diffFacts], err error) {
	req, err := in.request(c)
	if err != nil {
		return r, err
	}
	c.progress.elapse(CallTime, "comparing")
	d, err := s.manager.Diff(ctx, req)
	if err != nil {
		return r, withoutContainer(err, req.From, in.ContainerID, "Compare with another snapshot by against, or with a container by container_id")
	}
	text, n, replaced := diffText(d.Changes, in.Patch)
	r.facts = diffFacts{
		SnapshotName: in.SnapshotName, Against: in.Against,
		Total: d.Total, Added: d.Added, Modified: d.Modified, Deleted: d.Deleted, Returned: n,
	}
	if next := in.Offset + int64(n); n > 0 && next < int64(d.Total) {
		r.facts.NextOffset = next
	}
	r.say(text)
	r.note("%s", r.facts.summary(in.Path))
	if replaced {
		r.note("a diff is not all UTF-8: other bytes are shown as U+FFFD")
	}
	return r, nil
}

// diffText writes changes as lines, as many as fit, and below them the patches
// of those. Their bytes are bounded by the request.
func diffText(changes []sandbox.Change, patch bool) (text string, n int, replaced bool) {
	most := searchChars
	if patch {
		most = diffLineChars
	}
	var lines, patches strings.Builder
	for i, ch := range changes {
		line := changeLine(&ch)
		if i > 0 && lines.Len()+len(line) > most {
			break
		}
		if i > 0 {
			lines.WriteByte('\n')
		}
		lines.WriteString(line)
		n++
		if ch.Patch == "" {
			continue
		}
		p, bad := valid([]byte(ch.Patch), false, false)
		replaced = replaced || bad
		patches.WriteByte('\n')
		patches.WriteString(p)
	}
	return lines.String() + strings.TrimSuffix("\n"+patches.String(), "\n"), n, replaced
}

// changeLine is a change without its patch.
func changeLine(ch *sandbox.Change) string {
	line := string(ch.Kind) + " " + show(fsbridge.Path(ch.Path))
	switch {
	case ch.Dir:
		line += "/"
	default:
		line += fmt.Sprintf(" %d", ch.Size)
	}
	if ch.PatchNote != "" {
		line += "  (" + clean(ch.PatchNote, 100) + ")"
	}
	return line
}

func (f *diffFacts) summary(path string) string {
	to := "the present state"
	if f.Against != "" {
		to = "snapshot " + f.Against
	}
	what := fmt.Sprintf("from snapshot %s to %s", f.SnapshotName, to)
	if path != "" {
		what += " in " + show(fsbridge.Path(path))
	}
	if f.Total == 0 {
		return "nothing changed " + what
	}
	text := fmt.Sprintf("%d of %s %s: %d added, %d modified, %d deleted", f.Returned, count(int64(f.Total), "change"), what, f.Added, f.Modified, f.Deleted)
	if f.NextOffset > 0 {
		text += fmt.Sprintf("; the rest: diff_snapshot with offset %d", f.NextOffset)
	}
	return text
}
