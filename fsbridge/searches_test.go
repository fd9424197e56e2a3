package fsbridge

import "testing"

// TestSearchLies: an agent whose answer to a search cannot be is given up.
func TestSearchLies(t *testing.T) {
	grep := func(c *Client) error {
		_, err := c.Grep(t.Context(), GrepRequest{Path: "/", Pattern: "x", Limit: 1})
		return err
	}
	glob := func(c *Client) error {
		_, err := c.Glob(t.Context(), GlobRequest{Path: "/", Pattern: "x", Limit: 1})
		return err
	}
	two := AppendMatches(nil, []Match{{Path: "a", Line: 1}, {Path: "a", Line: 2}})
	entries := AppendEntries(nil, []Entry{{Name: "a", Type: TypeFile}, {Name: "b", Type: TypeFile}})
	for _, c := range []struct {
		name, reason string
		call         func(*Client) error
		js           string
		data         []byte
	}{
		{"too many matches", "more matches", grep, `{"path":"/","count":2,"returned":2,"total":2}`, two},
		{"cut matches", "cut or malformed", grep, `{"path":"/","count":2,"returned":1,"total":2}`, two[:len(two)-1]},
		{"matches of nothing", "cut or malformed", grep, `{"path":"/","count":1000000000,"returned":1}`, nil},
		{"too many entries", "more entries", glob, `{"path":"/","count":2,"total":2}`, entries},
		{"cut entries", "cut or malformed", glob, `{"path":"/","count":3,"total":3}`, entries},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, agent := socketpair(t)
			client := against(t, server, agent, func(h *hostile) {
				h.send(Header{ID: h.next().ID, Kind: KindResponse}, c.js, string(c.data))
				h.skip()
			})
			brokenBy(t, client, c.call(client), c.reason)
		})
	}
}
