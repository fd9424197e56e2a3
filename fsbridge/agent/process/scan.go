package process

import (
	"bytes"
	"context"
	"regexp"
	"regexp/syntax"
	"slices"
	"time"

	"moorage/fsbridge"
)

const (
	// scanSize is how much of new output is looked at at a time, and how much of
	// what was looked at before is looked at again for a match that goes on.
	scanSize = 16 << 10
	// restShort and restLong bound how long a follower rests after a look, which is
	// four times as long as that took: output may come a line at a time.
	restShort = 200 * time.Microsecond
	restLong  = 20 * time.Millisecond
)

// escapes are what a terminal does not show: CSI and OSC sequences, and the short
// ones (ECMA-48, 5.3, 5.4 and 5.6; OSC ends with BEL too, as of xterm).
var escapes = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])`)

// scanner looks for a pattern in what is new of a process's output.
type scanner struct {
	re      *regexp.Regexp
	inLine  bool // no match goes over a line's end
	term    bool // a match may be in what a terminal shows, too
	streams []scanned
	buf     []byte
	looked  time.Time     // when the last look ended
	took    time.Duration // how long it took
}

// scanned is how far a stream was looked at.
type scanned struct {
	c    *capture
	at   int64
	rest []byte // what was looked at and may be the beginning of a match
}

func newScanner(pattern string, p *Process, at cursor) (*scanner, error) {
	if len(pattern) > fsbridge.WaitForMax {
		return nil, invalid("wait_for has %d bytes, the limit is %d", len(pattern), fsbridge.WaitForMax)
	}
	re, err := regexp.Compile(pattern) // by itself, so that it cannot end the group below
	lines := "(?m:" + pattern + ")"
	if err == nil {
		re, err = regexp.Compile(lines)
	}
	if err != nil {
		return nil, invalid("wait_for %.80q is not RE2: %v", printable(pattern), err)
	}
	s := &scanner{re: re, inLine: inLine(lines), term: p.session, streams: []scanned{{c: p.stdout, at: at.out}}}
	if p.stderr != nil {
		s.streams = append(s.streams, scanned{c: p.stderr, at: at.err})
	}
	return s, nil
}

// inLine reports whether matches of a pattern go over no line's end, and depend on
// nothing before their line.
func inLine(pattern string) bool {
	re, err := syntax.Parse(pattern, syntax.Perl)
	return err == nil && !leavesLine(re)
}

func leavesLine(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpAnyChar, syntax.OpBeginText:
		return true
	case syntax.OpLiteral:
		return slices.Contains(re.Rune, '\n')
	case syntax.OpCharClass:
		for i := 0; i+1 < len(re.Rune); i += 2 {
			if re.Rune[i] <= '\n' && '\n' <= re.Rune[i+1] {
				return true
			}
		}
	}
	return slices.ContainsFunc(re.Sub, leavesLine)
}

// look looks at what has come since the last look, up to what there is when it
// begins: output may come faster than it can be looked at.
func (s *scanner) look(ctx context.Context) bool {
	begin := time.Now()
	defer func() { s.looked, s.took = time.Now(), time.Since(begin) }()
	for i := range s.streams {
		if s.lookAt(ctx, &s.streams[i]) {
			return true
		}
	}
	return false
}

func (s *scanner) lookAt(ctx context.Context, in *scanned) bool {
	for end := in.c.written(false).total; ctx.Err() == nil; {
		have := len(in.rest)
		window, from := in.c.read(append(s.buf[:0], in.rest...), in.at, scanSize)
		s.buf = window
		if from > in.at { // what is between is lost
			window, have = window[have:], 0
		}
		in.at = from + int64(len(window)-have)
		if len(window) == have {
			in.rest = append(in.rest[:0], window...)
			return false
		}
		if s.matches(window) {
			return true
		}
		in.rest = append(in.rest[:0], s.unfinished(window)...)
		if in.at >= end {
			break
		}
	}
	return false
}

// matches reports whether the pattern is in the window, on a terminal also without
// escape sequences: shells write them around and behind a prompt.
func (s *scanner) matches(window []byte) bool {
	if s.re.Match(window) {
		return true
	}
	return s.term && bytes.IndexByte(window, 0x1b) >= 0 && s.re.Match(escapes.ReplaceAll(window, nil))
}

// unfinished is the end of what was looked at in which a match may begin.
func (s *scanner) unfinished(window []byte) []byte {
	if s.inLine {
		window = window[bytes.LastIndexByte(window, '\n')+1:]
	}
	return window[max(0, len(window)-scanSize):]
}

// rest waits until it may be looked again, and reports whether that is the last
// time.
func (s *scanner) rest(ctx context.Context, done <-chan struct{}, over <-chan time.Time) (last bool) {
	pause := min(max(4*s.took, restShort), restLong)
	timer := time.NewTimer(pause - time.Since(s.looked))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	case <-over:
		return true
	case <-ctx.Done():
	}
	return false
}
