package unidiff

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// header matches the beginning of a hunk: its numbers are groups 1 to 4.
var header = regexp.MustCompile(`^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@`)

// mender copies a diff line by line and sets right what is wrong.
type mender struct {
	lines []string // with their ends
	at    int
	out   strings.Builder
	git   bool // the file's header is one of git's, whose names need no mending
	file  bool // there was a header of a file
}

// mend returns the text with right counts in every hunk header and names without
// prefixes.
func mend(text string) (string, error) {
	m := &mender{lines: splitLines(lineFeeds(unfence(text)))}
	for m.at < len(m.lines) {
		line := m.lines[m.at]
		switch {
		case strings.HasPrefix(line, "diff --git "):
			m.git, m.file = true, true
			m.copy()
		case m.atNames():
			m.names()
		case m.file && strings.HasPrefix(line, "@@"):
			if err := m.hunk(); err != nil {
				return "", err
			}
		default:
			m.copy()
		}
	}
	return m.out.String(), nil
}

func splitLines(text string) []string {
	lines := strings.SplitAfter(text, "\n")
	if last := len(lines) - 1; lines[last] == "" {
		lines = lines[:last]
	} else {
		lines[last] += "\n"
	}
	return lines
}

// lineFeeds makes CR LF a plain LF in a text of which each line ends so, the
// headers too: that is how the text came, and says nothing about the files, whose
// own line ends stay. In a diff of such files only the lines of hunks have CR LF.
func lineFeeds(text string) string {
	rest := strings.TrimSuffix(text, "\n")
	if n := strings.Count(rest, "\n"); n == 0 || n != strings.Count(rest, "\r\n") {
		return text
	}
	return strings.ReplaceAll(text, "\r\n", "\n")
}

// unfence takes a Markdown fence off the text.
func unfence(text string) string {
	trimmed := strings.TrimSpace(text)
	if !strings.HasPrefix(trimmed, "```") || !strings.HasSuffix(trimmed, "\n```") {
		return text
	}
	_, body, _ := strings.Cut(trimmed, "\n")
	return strings.TrimSuffix(body, "```")
}

func (m *mender) copy() {
	m.out.WriteString(m.lines[m.at])
	m.at++
}

// line is the line n after the present one, "" behind the last.
func (m *mender) line(n int) string {
	if m.at+n >= len(m.lines) {
		return ""
	}
	return m.lines[m.at+n]
}

// atNames reports whether the two names of a file follow, and then a hunk.
func (m *mender) atNames() bool {
	return strings.HasPrefix(m.line(0), "--- ") && strings.HasPrefix(m.line(1), "+++ ") && strings.HasPrefix(m.line(2), "@@")
}

// names copies the names of a file. Those of a plain diff lose their prefixes;
// of git's, go-gitdiff takes them off.
func (m *mender) names() {
	old, new := m.lines[m.at], m.lines[m.at+1]
	m.at += 2
	m.file = true
	if m.git {
		m.git = false // what follows without a header of git's is a plain diff
		m.out.WriteString(old + new)
		return
	}
	before, okOld := cutPrefix(old, "--- ", "a/")
	after, okNew := cutPrefix(new, "+++ ", "b/")
	if okOld && okNew {
		old, new = before, after
	}
	m.out.WriteString(old + new)
}

// cutPrefix takes prefix off the name in a line. The name of no file has none.
func cutPrefix(line, mark, prefix string) (string, bool) {
	name := strings.TrimPrefix(line, mark)
	if strings.HasPrefix(name, devNull) {
		return line, true
	}
	if rest, ok := strings.CutPrefix(name, prefix); ok {
		return mark + rest, true
	}
	rest, ok := strings.CutPrefix(name, `"`+prefix)
	return mark + `"` + rest, ok
}

// hunk copies a hunk with a header that fits it.
func (m *mender) hunk() error {
	head := m.lines[m.at]
	numbers := header.FindStringSubmatch(head)
	m.at++
	n := 0
	if numbers != nil {
		n = m.counted(count(numbers[2]), count(numbers[4]))
	}
	if n == 0 {
		n = m.open()
	}
	body := m.lines[m.at : m.at+n]
	m.at += n
	removed, added, err := tally(body, m.at-n+1)
	if err != nil {
		return err
	}
	start, to := "0", "0"
	if numbers != nil {
		start, to = numbers[1], numbers[3]
	}
	fmt.Fprintf(&m.out, "@@ -%s,%d +%s,%d @@\n", start, removed, to, added)
	for _, line := range body {
		if blank(line) {
			line = " " + line
		}
		m.out.WriteString(line)
	}
	return nil
}

// count reads a number of lines of a header, which is 1 if it is left out.
func count(s string) int {
	if s == "" {
		return 1
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}

// counted returns how many lines the hunk has by its header's counts; 0 if it
// does not end there.
func (m *mender) counted(removed, added int) int {
	n := 0
	for ; (removed > 0 || added > 0) && m.line(n) != ""; n++ {
		switch line := m.line(n); {
		case blank(line) || line[0] == ' ':
			removed--
			added--
		case line[0] == '-':
			removed--
		case line[0] == '+':
			added--
		case line[0] != '\\':
			return 0
		}
	}
	for strings.HasPrefix(m.line(n), `\`) {
		n++
	}
	if removed != 0 || added != 0 || !m.ends(n) {
		return 0
	}
	return n
}

// ends reports whether the line n after the present one is in no hunk.
func (m *mender) ends(n int) bool {
	line := m.line(n)
	return blank(line) || !strings.ContainsRune(" +-\\", rune(line[0])) || m.begins(n)
}

// begins reports whether a hunk or a file begins at the line n after the present
// one.
func (m *mender) begins(n int) bool {
	line := m.line(n)
	return strings.HasPrefix(line, "@@") || strings.HasPrefix(line, "diff --git ") ||
		strings.HasPrefix(line, "--- ") && strings.HasPrefix(m.line(n+1), "+++ ")
}

// open returns how many lines the hunk has whose counts are wrong: all up to the
// next hunk or file, but for empty ones at the end.
func (m *mender) open() int {
	n := 0
	for m.line(n) != "" && !m.begins(n) {
		n++
	}
	for n > 0 && blank(m.line(n-1)) {
		n--
	}
	return n
}

func blank(line string) bool { return line == "" || line == "\n" || line == "\r\n" }

// tally counts the old and the new lines of a hunk that begins at line number at.
func tally(body []string, at int) (removed, added int, err error) {
	for i, line := range body {
		switch {
		case blank(line) || line[0] == ' ':
			removed++
			added++
		case line[0] == '-':
			removed++
		case line[0] == '+':
			added++
		case line[0] != '\\':
			return 0, 0, fmt.Errorf("line %d: a line of a hunk begins with a space, + or -, not with %q", at+i, clip(line))
		}
	}
	return removed, added, nil
}

func clip(line string) string {
	line = strings.TrimRight(line, "\r\n")
	if len(line) > 40 {
		return strings.ToValidUTF8(line[:40], "") + "..."
	}
	return line
}
