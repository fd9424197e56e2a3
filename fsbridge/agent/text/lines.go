package text

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"moorage/fsbridge"
)

var (
	lf   = []byte("\n")
	crlf = []byte("\r\n")
	bom  = []byte("\xef\xbb\xbf")
)

// flatten gives b with LF for each CRLF.
func flatten(b []byte) []byte { return bytes.ReplaceAll(b, crlf, lf) }

// lineStart returns where the line begins that byte at is in.
func lineStart(b []byte, at int) int { return bytes.LastIndexByte(b[:at], '\n') + 1 }

// lineEnd returns where the line ends that byte at is in, its line end included.
func lineEnd(b []byte, at int) int {
	if i := bytes.IndexByte(b[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(b)
}

// skipLines returns where the nth line after byte at begins, or where b ends.
func skipLines(b []byte, at, n int) int {
	for ; n > 0 && at < len(b); n-- {
		at = lineEnd(b, at)
	}
	return at
}

// cutLine splits the first line off.
func cutLine(b []byte) (line, rest []byte) {
	end := lineEnd(b, 0)
	return b[:end], b[end:]
}

// lineNumber is the number of the line that byte at is in.
func lineNumber(b []byte, at int) int64 { return int64(bytes.Count(b[:at], lf)) + 1 }

// countLines counts lines, also a last one without an end.
func countLines(b []byte) int {
	n := bytes.Count(b, lf)
	if len(b) > 0 && b[len(b)-1] != '\n' {
		n++
	}
	return n
}

// body is a line without its end.
func body(line []byte) []byte {
	line, ended := bytes.CutSuffix(line, lf)
	if ended {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	return line
}

// ending is a line's end: "\n", "\r\n" or "".
func ending(line []byte) []byte { return line[len(body(line)):] }

// dominant is the line end that most lines have, LF if there is none.
func dominant(b []byte) []byte {
	if n := bytes.Count(b, crlf); n > 0 && 2*n > bytes.Count(b, lf) {
		return crlf
	}
	return lf
}

// passage are the whole lines from byte start to byte end, as an error names them.
func passage(b []byte, start, end int) fsbridge.Passage {
	from := lineStart(b, start)
	to := lineEnd(b, max(end-1, from))
	return fsbridge.Passage{Line: lineNumber(b, from), Text: clip(bytes.TrimRight(b[from:to], "\r\n"), fsbridge.PassageMax)}
}

// clip makes b UTF-8 of at most limit bytes.
func clip(b []byte, limit int) string {
	const more = "…"
	s := strings.ToValidUTF8(string(b[:min(len(b), limit)]), "\uFFFD")
	if len(b) <= limit && len(s) <= limit {
		return s
	}
	s = s[:min(len(s), limit-len(more))]
	for len(s) > 0 && !utf8.ValidString(s[max(0, len(s)-utf8.UTFMax):]) {
		s = s[:len(s)-1]
	}
	return strings.ToValidUTF8(s, "") + more
}
