package pattern

import (
	"fmt"
	"strings"
)

// maxAlternatives is the most patterns that the braces of one may stand for.
const maxAlternatives = 256

// expand writes out the braces of s.
func expand(s string) ([]string, error) {
	done, left := []string(nil), []string{s}
	for len(left) > 0 {
		next := left[len(left)-1]
		left = left[:len(left)-1]
		open, parts, end, err := braces(next)
		if err != nil {
			return nil, err
		}
		if open < 0 {
			done = append(done, next)
		}
		for i := len(parts) - 1; i >= 0; i-- {
			left = append(left, next[:open]+parts[i]+next[end:])
		}
		if len(done)+len(left) > maxAlternatives {
			return nil, fmt.Errorf("its braces stand for more than %d patterns", maxAlternatives)
		}
	}
	return done, nil
}

// braces finds the first braces in s: where they open, what they hold between
// commas, and where s goes on after them. Without any, open is -1.
func braces(s string) (open int, parts []string, end int, err error) {
	open = -1
	depth, from := 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case c == '[':
			i = classEnd(s, i)
		case c == '{':
			if depth++; depth == 1 {
				open, from = i, i+1
			}
		case c == ',' && depth == 1:
			parts, from = append(parts, s[from:i]), i+1
		case c == '}' && depth == 0:
			return 0, nil, 0, fmt.Errorf("a } has no {; \\} is the character itself")
		case c == '}':
			if depth--; depth == 0 {
				return open, append(parts, s[from:i]), i + 1, nil
			}
		}
	}
	if depth > 0 {
		return 0, nil, 0, fmt.Errorf("a { is not closed; \\{ is the character itself")
	}
	return -1, nil, 0, nil
}

// classEnd returns the place of the ] that closes the class which opens at i, or
// i if none does.
func classEnd(s string, i int) int {
	j := i + 1
	if j < len(s) && (s[j] == '!' || s[j] == '^') {
		j++
	}
	for first := j; j < len(s); j++ {
		switch {
		case s[j] == '\\':
			j++
		case s[j] == ']' && j > first:
			return j
		}
	}
	return i
}

// validClasses reports whether every [ of s is closed, and holds something.
func validClasses(s string) bool {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '[':
			end := classEnd(s, i)
			if end == i || strings.Contains(s[i:end], "/") {
				return false
			}
			i = end
		}
	}
	return true
}
