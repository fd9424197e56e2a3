package text

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// needlesMax is the most texts of which one must be in each match.
	needlesMax = 8
	// needleMax is how long each of them is looked for.
	needleMax = 64
)

// needles are texts of which every match holds at least one.
type needles struct {
	texts []string // lower case if fold
	fold  bool     // in any case of ASCII
	all   bool     // a line that has one matches, and no other
	folds bool     // one has a k or an s, which some characters beyond ASCII are the other case of
}

// newNeedles finds the best needles of a tree; nil if it has none.
func newNeedles(re *syntax.Regexp) *needles {
	f := found(re)
	best := f.best
	if better(f.exact, best) {
		best = f.exact
	}
	if best == nil || shortest(best) == 1 && len(best.texts) > 2 {
		return nil // they are in nearly every line
	}
	n := &needles{texts: slices.Clone(best.texts), fold: best.fold, all: best == f.exact && !f.anchored}
	for i, t := range n.texts {
		if len(t) > needleMax {
			n.texts[i], n.all = t[:needleMax], false
		}
	}
	n.all = n.all && !n.hold("\r") // which may be of the line's end
	n.folds = n.fold && (n.hold("k") || n.hold("s"))
	return n
}

// hold reports whether one of them has s in it.
func (n *needles) hold(s string) bool {
	return n != nil && slices.ContainsFunc(n.texts, func(t string) bool { return strings.Contains(t, s) })
}

// set is some texts, of which one is there.
type set struct {
	texts []string
	fold  bool
}

// findings are what is known about a tree: the texts that are all it matches, if
// it is so, and the best set that each match holds.
type findings struct {
	exact    *set
	best     *set
	anchored bool // it matches them only in some places
}

// found looks into a tree.
func found(re *syntax.Regexp) findings {
	switch re.Op {
	case syntax.OpLiteral:
		return findings{exact: literal(re)}
	case syntax.OpCharClass:
		return findings{exact: fewRunes(re)}
	case syntax.OpEmptyMatch:
		return findings{exact: &set{texts: []string{""}}}
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return findings{exact: &set{texts: []string{""}}, anchored: true}
	case syntax.OpCapture:
		return found(re.Sub[0])
	case syntax.OpPlus:
		return findings{best: found(re.Sub[0]).any()}
	case syntax.OpRepeat:
		if re.Min > 0 {
			return findings{best: found(re.Sub[0]).any()}
		}
	case syntax.OpConcat:
		return concat(re.Sub)
	case syntax.OpAlternate:
		return alternate(re.Sub)
	}
	return findings{}
}

func (f findings) any() *set {
	if better(f.exact, f.best) {
		return f.exact
	}
	return f.best
}

func literal(re *syntax.Regexp) *set {
	s := string(re.Rune)
	if strings.ContainsRune(s, utf8.RuneError) {
		return nil // it matches bytes that are no UTF-8 too
	}
	if re.Flags&syntax.FoldCase == 0 {
		return &set{texts: []string{s}}
	}
	if strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0 {
		return nil
	}
	return &set{texts: []string{strings.ToLower(s)}, fold: true}
}

// fewRunes are the characters of a small class.
func fewRunes(re *syntax.Regexp) *set {
	s := &set{}
	for i := 0; i+1 < len(re.Rune); i += 2 {
		for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
			if len(s.texts) == needlesMax || r == utf8.RuneError {
				return nil
			}
			s.texts = append(s.texts, string(r))
		}
	}
	if len(s.texts) == 0 {
		return nil
	}
	return s
}

// concat joins what its parts are exactly, as far as they are.
func concat(subs []*syntax.Regexp) findings {
	all := findings{exact: &set{texts: []string{""}}}
	run, exact := all.exact, true
	keep := func(s *set) {
		if better(s, all.best) {
			all.best = s
		}
	}
	for _, sub := range subs {
		f := found(sub)
		all.anchored = all.anchored || f.anchored
		keep(f.best)
		if joined := product(run, f.exact); joined != nil {
			run = joined
			continue
		}
		exact = false
		keep(run)
		keep(f.exact)
		if run = f.exact; run == nil {
			run = &set{texts: []string{""}}
		}
	}
	if all.exact = run; !exact {
		keep(run)
		all.exact = nil
	}
	return all
}

// product is each text of a followed by each of b, nil if these are too many.
func product(a, b *set) *set {
	if a == nil || b == nil || len(a.texts)*len(b.texts) > needlesMax {
		return nil
	}
	switch {
	case isEmpty(a):
		return b
	case isEmpty(b):
		return a
	case a.fold != b.fold:
		return nil
	}
	s := &set{fold: a.fold}
	for _, x := range a.texts {
		for _, y := range b.texts {
			s.texts = append(s.texts, x+y)
		}
	}
	return s
}

func isEmpty(s *set) bool { return len(s.texts) == 1 && s.texts[0] == "" }

// alternate takes the needles of all its parts.
func alternate(subs []*syntax.Regexp) findings {
	var all findings
	exact, best := &set{}, &set{}
	for i, sub := range subs {
		f := found(sub)
		all.anchored = all.anchored || f.anchored
		exact = union(exact, f.exact, i == 0)
		best = union(best, f.any(), i == 0)
	}
	all.exact, all.best = exact, best
	return all
}

func union(a, b *set, first bool) *set {
	if a == nil || b == nil || !first && a.fold != b.fold || len(a.texts)+len(b.texts) > needlesMax {
		return nil
	}
	return &set{texts: append(slices.Clone(a.texts), b.texts...), fold: b.fold}
}

// better reports whether a is worth more than b: its shortest text is longer, or
// as long with fewer texts. One that is empty is worth nothing.
func better(a, b *set) bool {
	if a == nil || shortest(a) == 0 {
		return false
	}
	if b == nil {
		return true
	}
	x, y := shortest(a), shortest(b)
	return x > y || x == y && len(a.texts) < len(b.texts)
}

func shortest(s *set) int {
	n := len(s.texts[0])
	for _, t := range s.texts {
		n = min(n, len(t))
	}
	return n
}
