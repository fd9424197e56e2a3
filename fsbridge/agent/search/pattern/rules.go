package pattern

import "strings"

// Rules are what one .gitignore says, in the terms of gitignore(5). Of the rules
// that match a path the last one holds.
type Rules struct {
	literals map[string]int // rules of one plain name at any depth
	suffixes map[string]int // of *.ext at any depth
	others   []other
	negated  []bool
	dirOnly  []bool
	paths    bool // one looks at more than a name
}

// other is a rule that has to be tried.
type other struct {
	rule int
	row  row
	base bool // it is of names at any depth
}

// MaxRules is the most lines of one file that are heeded.
const MaxRules = 10_000

// ParseRules reads the content of a .gitignore. A line that git could not use
// either is passed over.
func ParseRules(content string) *Rules {
	r := &Rules{literals: map[string]int{}, suffixes: map[string]int{}}
	content = strings.TrimPrefix(content, "\ufeff")
	for line := range strings.SplitSeq(content, "\n") {
		if len(r.negated) == MaxRules {
			break
		}
		r.add(strings.TrimSuffix(line, "\r"))
	}
	return r
}

// Empty reports whether there is no rule.
func (r *Rules) Empty() bool { return len(r.negated) == 0 }

func (r *Rules) add(line string) {
	line = trimSpaces(line)
	if line == "" || line[0] == '#' {
		return
	}
	rest, negated := strings.CutPrefix(line, "!")
	rest, dirOnly := strings.CutSuffix(rest, "/")
	anchored := strings.Contains(rest, "/")
	rest = strings.TrimPrefix(rest, "/")
	rest, ok := classes(rest)
	if !ok || rest == "" {
		return
	}
	o := other{rule: len(r.negated), base: !anchored}
	r.negated, r.dirOnly = append(r.negated, negated), append(r.dirOnly, dirOnly)
	if anchored {
		o.row = newRow(rest)
		r.others = append(r.others, o)
		r.paths = true
		return
	}
	if rest == "**" {
		rest = "*"
	}
	o.row = row{newSegment(rest)}
	switch s := o.row[0]; {
	case s.kind == literal && !dirOnly:
		r.literals[s.text] = o.rule
	case s.kind == suffix && !dirOnly && strings.LastIndexByte(s.text, '.') == 0:
		r.suffixes[s.text] = o.rule
	default:
		r.others = append(r.others, o)
	}
}

// trimSpaces removes the spaces at the end, but one after a backslash.
func trimSpaces(s string) string {
	end := len(s)
	for end > 0 && s[end-1] == ' ' {
		end--
	}
	if end == len(s) {
		return s
	}
	slashes := end - len(strings.TrimRight(s[:end], `\`))
	if slashes%2 == 1 {
		end++
	}
	return s[:end]
}

// posix are the classes of characters that git knows by name.
var posix = strings.NewReplacer("[:alnum:]", "a-zA-Z0-9", "[:alpha:]", "a-zA-Z", "[:digit:]", "0-9",
	"[:lower:]", "a-z", "[:upper:]", "A-Z", "[:xdigit:]", "0-9a-fA-F", "[:space:]", "\t\n\v\f\r ",
	"[:blank:]", "\t ", "[:punct:]", "!-/:-@\\[-`{-~", "[:cntrl:]", "\x01-\x1f\x7f", "[:print:]", " -~", "[:graph:]", "!-~")

// classes writes the classes in s as doublestar has them. It reports whether s
// can match anything.
func classes(s string) (string, bool) {
	if !strings.Contains(s, "[") {
		return s, !oddSlash(s)
	}
	s = posix.Replace(s)
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 == len(s):
			return "", false
		case s[i] == '\\':
			b.WriteByte(s[i])
			i++
			b.WriteByte(s[i])
		case s[i] == '[':
			end := classEnd(s, i)
			if end == i {
				return "", false
			}
			class(&b, s[i+1:end])
			i = end
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), true
}

// class writes one: a ] that comes first is itself.
func class(b *strings.Builder, s string) {
	b.WriteByte('[')
	if s[0] == '!' || s[0] == '^' {
		b.WriteByte('!')
		s = s[1:]
	}
	if s[0] == ']' {
		b.WriteByte('\\')
	}
	b.WriteString(s)
	b.WriteByte(']')
}

// oddSlash reports whether s ends within an escape.
func oddSlash(s string) bool { return (len(s)-len(strings.TrimRight(s, `\`)))%2 == 1 }

// NameOnly reports whether Match looks at nothing but a path's last name.
func (r *Rules) NameOnly() bool { return !r.paths }

// Match reports whether a rule matches path, from the file's directory, and
// whether it says to ignore it. name is path's last name; path is not looked at
// if NameOnly.
func (r *Rules) Match(path, name string, dir bool) (ignored, found bool) {
	best := -1
	if i, ok := r.literals[name]; ok {
		best = i
	}
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 && len(r.suffixes) > 0 {
		if i, ok := r.suffixes[name[dot:]]; ok {
			best = max(best, i)
		}
	}
	for i := len(r.others) - 1; i >= 0; i-- {
		o := &r.others[i]
		if o.rule < best {
			break
		}
		if r.dirOnly[o.rule] && !dir {
			continue
		}
		if o.base && o.row[0].match(name) || !o.base && o.row.match(path) {
			best = o.rule
			break
		}
	}
	if best < 0 {
		return false, false
	}
	return !r.negated[best], true
}
