package fsbridge

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// What an agent says of a change is held to its bounds.
func TestCheckChanges(t *testing.T) {
	const revision = "0123456789abcdef0123456789abcdef"
	edit := EditRequest{Path: "/f", Edits: []Edit{{Old: "a", New: "b"}}, MaxDiff: 10}
	goodEdit := EditResult{Path: "/f", Size: 1, Revision: revision, Replacements: 1, Added: 1, Removed: 1}
	for reason, c := range map[string]struct {
		change func(*EditResult)
		diff   string
	}{
		"":                           {func(*EditResult) {}, "0123456789"},
		"diff longer than asked for": {func(*EditResult) {}, "0123456789a"},
		"size out of bounds":         {func(r *EditResult) { r.Size = ChangeMax + 1 }, ""},
		"replacements out of bounds": {func(r *EditResult) { r.Replacements = 0 }, ""},
		"lines out of bounds":        {func(r *EditResult) { r.Added = -1 }, ""},
		"no revision":                {func(r *EditResult) { r.Revision = "" }, ""},
		"malformed revision":         {func(r *EditResult) { r.Revision = "x" }, ""},
		"path that is not absolute":  {func(r *EditResult) { r.Path = "f" }, ""},
	} {
		res := goodEdit
		c.change(&res)
		if got := checkEdit(&edit, &res, []byte(c.diff)); got != reason {
			t.Errorf("edit: got %q, want %q", got, reason)
		}
	}
	patch := PatchRequest{Files: []FilePatch{{Action: ActionModify, Old: "f"}}}
	goodFile := PatchedFile{Action: ActionModify, Old: "/f", New: "/f", Size: 1, Revision: revision}
	for reason, change := range map[string]func(*PatchResult){
		"":                                 func(*PatchResult) {},
		"not one result for each file":     func(r *PatchResult) { r.Files = nil },
		"another action than asked for":    func(r *PatchResult) { r.Files[0].Action = ActionDelete },
		"names that do not fit the action": func(r *PatchResult) { r.Files[0].New = "" },
		"size or lines out of bounds":      func(r *PatchResult) { r.Files[0].Moved = -1 },
		"malformed revision":               func(r *PatchResult) { r.Files[0].Revision = "X" },
		"path that is not absolute":        func(r *PatchResult) { r.Files[0].New = "f" },
	} {
		res := PatchResult{Files: []PatchedFile{goodFile}}
		change(&res)
		if got := checkPatch(&patch, &res); got != reason {
			t.Errorf("patch: got %q, want %q", got, reason)
		}
	}
	for res, ok := range map[DeleteResult]bool{
		{Path: "/f"}: true, {Path: "/f", Deleted: true, Count: 1}: true, {Path: "/f", Deleted: true}: false,
		{Path: "/f", Count: 1}: false, {Path: "/f", Count: -1}: false, {Path: "/f", Deleted: true, Count: DeleteMax + 1}: false, {Path: "f"}: false,
	} {
		if got := checkDelete(&res); (got == "") != ok {
			t.Errorf("delete: %+v: got %q", res, got)
		}
	}
	for res, ok := range map[MoveResult]bool{{Source: "/a", Destination: "/b"}: true, {Source: "a", Destination: "/b"}: false, {Source: "/a"}: false} {
		if got := checkMove(&res); (got == "") != ok {
			t.Errorf("move: %+v: got %q", res, got)
		}
	}
}

func TestHostileChanges(t *testing.T) {
	long := fmt.Sprintf(`{"code":"no_match","passages":[{"line":1,"text":%q}]}`, strings.Repeat("x", PassageMax+1))
	many := `{"code":"ambiguous","passages":[` + strings.TrimSuffix(strings.Repeat(`{"line":1,"text":"x"},`, PassagesMax+1), ",") + `]}`
	for _, c := range []struct {
		name, reason string
		header       Header
		json, data   string
	}{
		{"a long passage", "passage out of bounds", Header{Kind: KindError}, long, ""},
		{"no line", "passage out of bounds", Header{Kind: KindError}, `{"code":"no_match","passages":[{"line":0,"text":"x"}]}`, ""},
		{"many passages", "too many passages", Header{Kind: KindError}, many, ""},
		{"an item below 0", "item or count", Header{Kind: KindError}, `{"code":"no_match","item":-1}`, ""},
		{"a count below 0", "item or count", Header{Kind: KindError}, `{"code":"ambiguous","count":-1}`, ""},
		{"data", "data where there is none", Header{Kind: KindResponse}, `{"path":"/d","created":true}`, "x"},
		{"no path", "not absolute", Header{Kind: KindResponse}, `{"created":true}`, ""},
		{"no result", "result:", Header{Kind: KindResponse}, ``, ""},
	} {
		server, agent := socketpair(t)
		client := against(t, server, agent, func(h *hostile) {
			c.header.ID = h.next().ID
			h.send(c.header, c.json, c.data)
			h.skip()
		})
		_, err := client.Mkdir(t.Context(), MkdirRequest{Path: "/d"})
		brokenBy(t, client, err, c.reason)
	}
}

// What is not UTF-8 would be another text in JSON: it is not sent.
func TestChangesAreText(t *testing.T) {
	server, agent := socketpair(t)
	c := against(t, server, agent, func(h *hostile) { h.skip() })
	if _, _, err := c.Edit(t.Context(), EditRequest{Path: "/f", Edits: []Edit{{Old: "a", New: "\xff"}}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("edit: got %v", err)
	}
	files := []FilePatch{{Action: ActionModify, Old: "/f", Hunks: []Hunk{{Start: 1, Lines: []string{"-\xff\n"}}}}}
	if _, err := c.Patch(t.Context(), PatchRequest{Files: files}); !errors.Is(err, ErrInvalid) {
		t.Errorf("patch: got %v", err)
	}
}
