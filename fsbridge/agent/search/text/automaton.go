package text

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// Package regexp has no automaton that is made while it runs, and takes some
// 30 ns for a byte where that takes two. This one tells whether a line of ASCII
// matches, nothing more.

const (
	// statesMax is how many states an automaton has, of half a KiB each, before it
	// starts again; restartsMax how often it does before it is given up: it is
	// slower then than package regexp.
	statesMax   = 500
	restartsMax = 20
	// automatonMax is the most instructions for which there is one.
	automatonMax = 500
)

// endOfLine is what comes after a line's last byte.
const endOfLine = utf8.RuneSelf

// The states that are none.
const (
	unknown int32 = -1 - iota
	matched
)

// state is a set of instructions before the next byte, and what was before it.
type state struct {
	next   [endOfLine + 1]int32
	insts  []uint32 // sorted
	before rune     // -1 at the line's beginning, else one that stands for all such
}

// automaton is made of the states that were needed. It is one goroutine's.
type automaton struct {
	prog     *syntax.Prog
	states   []*state
	known    map[string]int32
	restarts int

	seen  []bool // scratch: of closure
	stack []uint32
	key   []byte
}

// newAutomaton returns nil if the program is too large for one.
func newAutomaton(prog *syntax.Prog) *automaton {
	if prog == nil || len(prog.Inst) > automatonMax {
		return nil
	}
	a := &automaton{prog: prog, seen: make([]bool, len(prog.Inst))}
	a.restart()
	return a
}

func (a *automaton) restart() {
	a.states, a.known = a.states[:0], map[string]int32{}
	a.add(nil, -1)
}

// add returns the number of a state. The first one, 0, is that of a line's
// beginning.
func (a *automaton) add(insts []uint32, before rune) int32 {
	slices.Sort(insts)
	a.key = binary.AppendVarint(a.key[:0], int64(before))
	for _, pc := range insts {
		a.key = binary.AppendUvarint(a.key, uint64(pc))
	}
	if n, ok := a.known[string(a.key)]; ok {
		return n
	}
	s := &state{insts: slices.Clone(insts), before: before}
	for i := range s.next {
		s.next[i] = unknown
	}
	n := int32(len(a.states))
	a.states, a.known[string(a.key)] = append(a.states, s), n
	return n
}

// match reports whether the line matches, if it can be told.
func (a *automaton) match(line []byte) (matches, told bool) {
	if a.restarts > restartsMax {
		return false, false
	}
	s := a.states[0]
	for _, c := range line {
		if c >= utf8.RuneSelf {
			return false, false
		}
		n := s.next[c]
		if n < 0 {
			if n == unknown {
				n = a.step(s, rune(c))
			}
			if n == matched {
				return true, true
			}
		}
		s = a.states[n]
	}
	n := s.next[endOfLine]
	if n == unknown {
		n = a.step(s, endOfLine)
	}
	return n == matched, true
}

// step finds where a state goes.
func (a *automaton) step(s *state, c rune) int32 {
	after := c
	if c == endOfLine {
		after = -1
	}
	here, ok := a.closure(s.insts, syntax.EmptyOpContext(s.before, after))
	if ok {
		s.next[c] = matched
		return matched
	}
	if c == endOfLine {
		s.next[c] = 0
		return 0
	}
	var insts []uint32
	for _, pc := range here {
		if i := &a.prog.Inst[pc]; i.MatchRune(c) && !slices.Contains(insts, i.Out) {
			insts = append(insts, i.Out)
		}
	}
	before := '.'
	if syntax.IsWordChar(c) {
		before = 'a'
	}
	if len(a.states) == statesMax {
		a.restart()
		a.restarts++
		return a.add(insts, before) // s is no state any more
	}
	s.next[c] = a.add(insts, before)
	return s.next[c]
}

// closure returns the instructions that take a byte, of those that are reached
// from some, or from the program's start, without one. ok says that the program
// has ended.
func (a *automaton) closure(from []uint32, empty syntax.EmptyOp) (here []uint32, ok bool) {
	clear(a.seen)
	a.stack = append(append(a.stack[:0], from...), uint32(a.prog.Start))
	for len(a.stack) > 0 {
		pc := a.stack[len(a.stack)-1]
		a.stack = a.stack[:len(a.stack)-1]
		if a.seen[pc] {
			continue
		}
		a.seen[pc] = true
		switch i := &a.prog.Inst[pc]; i.Op {
		case syntax.InstMatch:
			return nil, true
		case syntax.InstAlt, syntax.InstAltMatch:
			a.stack = append(a.stack, i.Out, i.Arg)
		case syntax.InstCapture, syntax.InstNop:
			a.stack = append(a.stack, i.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(i.Arg)&^empty == 0 {
				a.stack = append(a.stack, i.Out)
			}
		case syntax.InstFail:
		default:
			here = append(here, pc)
		}
	}
	return here, false
}
