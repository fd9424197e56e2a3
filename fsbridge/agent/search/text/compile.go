package text

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// programMax is the most instructions of a compiled pattern, about. One for each
// character and class, times the repetitions around it.
const programMax = 5000

// Options say how a pattern is meant.
type Options struct {
	Fixed      bool // it is the text itself
	IgnoreCase bool
	Multiline  bool // a match may go over lines
}

// Pattern is a compiled pattern.
type Pattern struct {
	lines   bool
	re      *regexp.Regexp // nil if the needle is all there is to it
	cost    int            // instructions
	prog    *syntax.Prog   // of a line's pattern
	needles *needles       // nil if there are none
	once    bool           // it matches at the buffer's beginning only
	free    bool           // what is around a match does not matter to it
}

// Compile compiles a pattern. The error says what is wrong, and what is possible
// instead.
func Compile(pattern string, o Options) (*Pattern, error) {
	if pattern == "" {
		return nil, errors.New("it is empty")
	}
	if o.Fixed {
		pattern = regexp.QuoteMeta(pattern)
	}
	flags := syntax.Perl
	if o.IgnoreCase {
		flags |= syntax.FoldCase
	}
	if o.Multiline {
		flags = flags&^syntax.OneLine | syntax.DotNL
	}
	tree, err := syntax.Parse(pattern, flags)
	if err != nil {
		return nil, explain(pattern, err)
	}
	cost := size(tree)
	if cost > programMax {
		return nil, fmt.Errorf("it is too large: its repetitions and classes amount to %d instructions, the most is %d", cost, programMax)
	}
	if !o.Multiline && holdsNewline(tree) {
		return nil, errors.New("it holds a line's end, but a line is matched without it; set multiline")
	}
	return build(tree, pattern, o)
}

func build(tree *syntax.Regexp, pattern string, o Options) (*Pattern, error) {
	if o.Multiline {
		endLines(tree)
	}
	p := &Pattern{lines: !o.Multiline, cost: size(tree), needles: newNeedles(tree), once: o.Multiline && holds(tree, syntax.OpBeginText)}
	p.free = !holds(tree, syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary)
	if p.lines && p.needles.hold("\n") {
		p.needles = nil
	}
	if p.lines && p.needles != nil && p.needles.all && !p.needles.folds {
		return p, nil
	}
	switch {
	case o.Multiline:
		pattern = tree.String()
	case o.IgnoreCase:
		pattern = "(?i)" + pattern
	}
	var err error
	if p.re, err = regexp.Compile(pattern); err == nil && p.lines {
		p.prog, err = syntax.Compile(tree.Simplify())
	}
	return p, err
}

// explain says what RE2 has not.
func explain(pattern string, err error) error {
	for _, look := range []string{"(?=", "(?!", "(?<=", "(?<!"} {
		if strings.Contains(pattern, look) {
			return fmt.Errorf("%w; RE2 has no look-ahead and look-behind: match more and leave out what is not wanted", err)
		}
	}
	var bad *syntax.Error
	if errors.As(err, &bad) && bad.Code == syntax.ErrInvalidEscape && len(bad.Expr) == 2 && bad.Expr[1] >= '1' && bad.Expr[1] <= '9' {
		return fmt.Errorf("%w; RE2 has no references back to a group", err)
	}
	if errors.As(err, &bad) && bad.Code != syntax.ErrInvalidRepeatSize && bad.Code != syntax.ErrLarge {
		return fmt.Errorf("%w; with fixed the pattern is the text itself", err)
	}
	return err
}

// size estimates a tree's program.
func size(re *syntax.Regexp) int {
	n := 1
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpCharClass:
		n = 1 + len(re.Rune)/64
	}
	for _, sub := range re.Sub {
		n += size(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return min(n, 1<<40)
}

// holdsNewline reports whether the tree has a line's end as a text of its own.
func holdsNewline(re *syntax.Regexp) bool {
	if re.Op == syntax.OpLiteral && strings.ContainsRune(string(re.Rune), '\n') {
		return true
	}
	if re.Op == syntax.OpCharClass && len(re.Rune) == 2 && re.Rune[0] == '\n' && re.Rune[1] == '\n' {
		return true
	}
	for _, sub := range re.Sub {
		if holdsNewline(sub) {
			return true
		}
	}
	return false
}

// holds reports whether one of the operations is in the tree.
func holds(re *syntax.Regexp, ops ...syntax.Op) bool {
	return slices.Contains(ops, re.Op) || slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool { return holds(sub, ops...) })
}

// endLines lets the end of a line be before \r\n too.
func endLines(re *syntax.Regexp) {
	for i, sub := range re.Sub {
		endLines(sub)
		if sub.Op == syntax.OpEndLine {
			re.Sub[i] = crlf(sub)
		}
	}
	if re.Op == syntax.OpEndLine {
		*re = *crlf(&syntax.Regexp{Op: syntax.OpEndLine, Flags: re.Flags})
	}
}

func crlf(end *syntax.Regexp) *syntax.Regexp {
	cr := &syntax.Regexp{Op: syntax.OpLiteral, Rune: []rune{'\r'}}
	return &syntax.Regexp{Op: syntax.OpConcat, Sub: []*syntax.Regexp{
		{Op: syntax.OpQuest, Sub: []*syntax.Regexp{cr}}, end,
	}}
}
