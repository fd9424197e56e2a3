package tools

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mark3labs/mcp-go/mcp"
)

// Bounds of one result.
const (
	// ResultChars is the most characters of text that a result has when the
	// caller asks for no special amount.
	ResultChars = 40_000
	// ResultMax is the most bytes of JSON that a result has in any case. Claude
	// Desktop drops what is over 1 MB.
	ResultMax = 900_000
	// envelope is set aside of ResultMax for facts, notices and the JSON around.
	envelope = 20_000
)

// reply is what a tool answers: contents for whoever reads text, and facts for
// whoever reads structure. Each can be understood without the other.
type reply[F any] struct {
	content []mcp.Content
	notices []string
	facts   F
}

// say adds a text item.
func (r *reply[F]) say(text string) { r.content = append(r.content, mcp.NewTextContent(text)) }

// image adds an image item.
func (r *reply[F]) image(data []byte, mimeType string) {
	r.content = append(r.content, mcp.NewImageContent(base64.StdEncoding.EncodeToString(data), mimeType))
}

// note adds a notice. All notices together become the last text item.
func (r *reply[F]) note(format string, args ...any) {
	r.notices = append(r.notices, fmt.Sprintf(format, args...))
}

func (r *reply[F]) result(first []string) *mcp.CallToolResult {
	res := &mcp.CallToolResult{Content: r.content, StructuredContent: r.facts}
	if notices := append(first, r.notices...); len(notices) > 0 {
		res.Content = append(res.Content, mcp.NewTextContent("["+strings.Join(notices, "]\n[")+"]"))
	}
	return res
}

// escapedLen is how many bytes c takes inside a JSON string, as package json
// writes it.
func escapedLen(c byte) int {
	switch {
	case c == '"', c == '\\', c == '\n', c == '\r', c == '\t', c == '\b', c == '\f':
		return 2
	case c < 0x20, c == '<', c == '>', c == '&':
		return 6
	}
	return 1
}

// fit is the length of the longest beginning of text, in whole characters, that
// takes at most max bytes as JSON.
func fit(text []byte, max int) int {
	if len(text) <= max/6 {
		return len(text) // even if all of it has to be escaped
	}
	size := 0
	for i, c := range text {
		n := escapedLen(c)
		if c == 0xe2 { // U+2028 and U+2029 are escaped, which makes 3 bytes 6
			n = 4
		}
		if size += n; size > max {
			for i > 0 && !utf8.RuneStart(text[i]) {
				i--
			}
			return i
		}
	}
	return len(text)
}

// stamp writes a time in a result: UTC, to the second.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// count writes a number with its noun.
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if s, ok := strings.CutSuffix(noun, "y"); ok {
		return fmt.Sprintf("%d %sies", n, s)
	}
	if strings.HasSuffix(noun, "ch") {
		return fmt.Sprintf("%d %ses", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
