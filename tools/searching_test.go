package tools

import (
	"strings"
	"testing"

	"moorage/fsbridge"
)

// TestMatchesThatAreNotShown: a page that is empty because it is behind the last
// match is told from one whose files could not be read again.
func TestMatchesThatAreNotShown(t *testing.T) {
	f := &grepFacts{Matches: 2, Files: 1, Searched: 1}
	for offset, want := range map[int]string{0: "could not be read again", 2: "nothing from offset 2 on; 2 matches in 1 file"} {
		req := &fsbridge.GrepRequest{Mode: fsbridge.GrepContent, Offset: offset}
		if got := f.summary(req); !strings.Contains(got, want) {
			t.Errorf("offset %d: %s", offset, got)
		}
	}
}
