package tools

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// plainDepth is how deep the arrays and objects of a plain message go.
	plainDepth = 32
	// plainDigits is how many digits a plain number has: a float64 holds any such
	// number, and an integer of them exactly.
	plainDigits = 15
)

// cursor takes JSON values off the front of b, which is UTF-8, in one pass. It
// admits only what is plain: valid JSON whose names have no escapes, whose
// numbers are short and have no exponent, and that is not deep. After anything
// else it is bad, and what it returns means nothing; package json then says what
// is wrong, if anything is.
type cursor struct {
	b   []byte
	at  int
	bad bool
}

func (c *cursor) fail() { c.bad, c.at = true, len(c.b) }

// peek is the first byte of what comes next, 0 at the end.
func (c *cursor) peek() byte {
	for ; c.at < len(c.b); c.at++ {
		switch b := c.b[c.at]; b {
		case ' ', '\t', '\r', '\n':
		default:
			return b
		}
	}
	return 0
}

// next takes b if it comes next.
func (c *cursor) next(b byte) bool {
	if c.peek() != b {
		return false
	}
	c.at++
	return true
}

// done reports whether all was taken, and was plain.
func (c *cursor) done() bool { return c.peek() == 0 && c.at == len(c.b) && !c.bad }

// members takes an object. It calls each with the name of each member, to take
// the value.
func (c *cursor) members(each func(name []byte)) {
	if !c.next('{') {
		c.fail()
		return
	}
	if c.next('}') {
		return
	}
	for !c.bad {
		name, escaped := c.quoted()
		if escaped || !c.next(':') {
			c.fail()
			return
		}
		each(name)
		if !c.next(',') {
			break
		}
	}
	if !c.next('}') {
		c.fail()
	}
}

// elements takes an array. It calls each to take each element.
func (c *cursor) elements(each func()) {
	if !c.next('[') {
		c.fail()
		return
	}
	if c.next(']') {
		return
	}
	for !c.bad {
		each()
		if !c.next(',') {
			break
		}
	}
	if !c.next(']') {
		c.fail()
	}
}

// value takes a value of any kind and returns its text.
func (c *cursor) value() []byte {
	c.peek()
	from := c.at
	c.pass(plainDepth)
	return c.b[from:c.at]
}

func (c *cursor) pass(depth int) {
	if depth == 0 {
		c.fail()
		return
	}
	switch b := c.peek(); b {
	case '{':
		c.members(func([]byte) { c.pass(depth - 1) })
	case '[':
		c.elements(func() { c.pass(depth - 1) })
	case '"':
		c.quoted()
	case 't', 'f':
		c.boolean()
	case 'n':
		c.word("null")
	default:
		c.number()
	}
}

func (c *cursor) word(w string) {
	if string(c.b[c.at:min(len(c.b), c.at+len(w))]) != w {
		c.fail()
		return
	}
	c.at += len(w)
}

func (c *cursor) boolean() bool {
	if c.peek() == 't' {
		c.word("true")
		return true
	}
	c.word("false")
	return false
}

// number takes a number and returns its text. whole tells that it is an integer.
func (c *cursor) number() (text []byte, whole bool) {
	c.peek()
	from := c.at
	if c.at < len(c.b) && c.b[c.at] == '-' {
		c.at++
	}
	zero := c.at < len(c.b) && c.b[c.at] == '0'
	n := c.digits()
	if n == 0 || zero && n > 1 {
		c.fail()
		return nil, false
	}
	whole = c.at == len(c.b) || c.b[c.at] != '.'
	if !whole {
		c.at++
		fraction := c.digits()
		if fraction == 0 {
			c.fail()
		}
		n += fraction
	}
	if n > plainDigits || c.at < len(c.b) && c.b[c.at]|0x20 == 'e' {
		c.fail()
	}
	return c.b[from:c.at], whole
}

func (c *cursor) digits() (n int) {
	for ; c.at < len(c.b) && c.b[c.at] >= '0' && c.b[c.at] <= '9'; c.at++ {
		n++
	}
	return n
}

// quoted takes a string and returns what is between its quotes.
func (c *cursor) quoted() (raw []byte, escaped bool) {
	if !c.next('"') {
		c.fail()
		return nil, false
	}
	from := c.at
	for c.at < len(c.b) {
		switch b := c.b[c.at]; {
		case b == '"':
			c.at++
			return c.b[from : c.at-1], escaped
		case b == '\\':
			escaped = true
			c.escape()
		case b < 0x20:
			c.fail()
		default:
			c.at++
		}
	}
	c.fail()
	return nil, false
}

// escape takes one escape of a string.
func (c *cursor) escape() {
	if c.at+1 >= len(c.b) {
		c.fail()
		return
	}
	switch c.b[c.at+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		c.at += 2
	case 'u':
		if unicodeEscape(c.b[c.at:]) < 0 {
			c.fail()
			return
		}
		c.at += 6
	default:
		c.fail()
	}
}

// text takes a string and returns it without escapes.
func (c *cursor) text() string {
	raw, escaped := c.quoted()
	if !escaped {
		return string(raw)
	}
	return unescape(raw)
}

// short are the escapes of one letter.
var short = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unescape takes the escapes out of a valid string, as package json does: half a
// surrogate pair becomes U+FFFD.
func unescape(raw []byte) string {
	var b strings.Builder
	b.Grow(len(raw))
	from := 0
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			i++
			continue
		}
		b.Write(raw[from:i])
		if s := short[raw[i+1]]; s != 0 {
			b.WriteByte(s)
			i += 2
		} else {
			r, n := unicodeRune(raw[i:])
			b.WriteRune(r)
			i += n
		}
		from = i
	}
	b.Write(raw[from:])
	return b.String()
}

// unicodeRune reads an escape of a character, or of a surrogate pair, and
// returns how long it is.
func unicodeRune(b []byte) (r rune, n int) {
	r = unicodeEscape(b)
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if r = utf16.DecodeRune(r, unicodeEscape(b[6:])); r != utf8.RuneError {
		return r, 12
	}
	return r, 6
}

// unicodeEscape reads the \u and four hex digits that b begins with; -1 if it does not.
func unicodeEscape(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	for _, d := range b[2:6] {
		if d == '_' || d == '+' || d == '-' {
			return -1
		}
	}
	v, err := strconv.ParseUint(string(b[2:6]), 16, 32)
	if err != nil {
		return -1
	}
	return rune(v)
}
