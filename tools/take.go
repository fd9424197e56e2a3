package tools

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// limits of a field's value, as its tags say, for take. The JSON schema says the
// same to clients.
type bounds struct {
	lo, hi       float64
	hasLo, hasHi bool
	enum         []string
	pattern      *regexp.Regexp
}

func boundsOf(tag reflect.StructTag) (b bounds) {
	number := func(key string) (float64, bool) {
		v, err := strconv.ParseFloat(tag.Get(key), 64)
		return v, err == nil
	}
	b.lo, b.hasLo = number("min")
	b.hi, b.hasHi = number("max")
	if e := tag.Get("enum"); e != "" {
		b.enum = strings.Split(e, ",")
	}
	if p := tag.Get("pattern"); p != "" {
		b.pattern = regexp.MustCompile(p)
	}
	return b
}

// hold reports whether a number is within the bounds, ends included.
func (b *bounds) hold(v float64) bool { return (!b.hasLo || v >= b.lo) && (!b.hasHi || v <= b.hi) }

func (b *bounds) holdText(s string) bool {
	return ((!b.hasLo && !b.hasHi) || b.hold(float64(utf8.RuneCountInString(s)))) &&
		(b.enum == nil || slices.Contains(b.enum, s)) && (b.pattern == nil || b.pattern.MatchString(s))
}

// read puts the arguments of a call into dst, a struct of the schema's type. As
// a client sent them (json.RawMessage, valid) they are looked at once if they
// are plainly right; parse says what is wrong with all others.
func (s *schema) read(tool string, arguments any, dst reflect.Value) error {
	raw, ok := arguments.(json.RawMessage)
	if !ok {
		return s.parse(tool, arguments, dst)
	}
	c := cursor{b: raw}
	if s.take(&c, dst); c.done() {
		return nil
	}
	dst.SetZero()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return hidden(err)
	}
	return s.parse(tool, v, dst)
}

// take takes an object into dst. The cursor is bad after one that is not plainly
// right.
func (s *schema) take(c *cursor, dst reflect.Value) {
	var seen uint64
	c.members(func(name []byte) {
		i := slices.IndexFunc(s.fields, func(f field) bool { return f.name == string(name) })
		if i < 0 || seen&(1<<i) != 0 {
			c.fail()
			return
		}
		f := &s.fields[i]
		if seen |= 1 << i; c.peek() == 'n' && s.compiled != nil && !f.required {
			c.word("null") // as if it were not given; see parse
			return
		}
		f.take(c, dst.FieldByIndex(f.index))
	})
	for i := range s.fields {
		if s.fields[i].required && seen&(1<<i) == 0 {
			c.fail()
		}
	}
}

func (f *field) take(c *cursor, to reflect.Value) {
	if to.Kind() == reflect.Pointer {
		to.Set(reflect.New(f.typ))
		to = to.Elem()
	}
	switch to.Kind() {
	case reflect.String:
		s := c.text()
		if !f.bounds.holdText(s) {
			c.fail()
		}
		to.SetString(s)
	case reflect.Bool:
		to.SetBool(c.boolean())
	case reflect.Int, reflect.Int64, reflect.Float64:
		f.takeNumber(c, to)
	case reflect.Slice:
		f.takeArray(c, to)
	case reflect.Map:
		f.takeMap(c, to)
	case reflect.Struct:
		f.sub.take(c, to)
	default:
		c.fail()
	}
}

func (f *field) takeNumber(c *cursor, to reflect.Value) {
	text, whole := c.number()
	v, err := strconv.ParseFloat(string(text), 64)
	switch {
	case err != nil || !f.bounds.hold(v):
		c.fail()
	case !to.CanInt():
		to.SetFloat(v)
	case whole:
		to.SetInt(int64(v))
	default:
		c.fail()
	}
}

func (f *field) takeArray(c *cursor, to reflect.Value) {
	all := reflect.MakeSlice(to.Type(), 0, 0)
	element := reflect.New(to.Type().Elem()).Elem()
	c.elements(func() {
		if element.SetZero(); f.sub != nil {
			f.sub.take(c, element)
		} else {
			element.SetString(c.text())
		}
		all = reflect.Append(all, element)
	})
	if !f.bounds.hold(float64(all.Len())) {
		c.fail()
	}
	to.Set(all)
}

func (f *field) takeMap(c *cursor, to reflect.Value) {
	all := map[string]string{}
	c.members(func(name []byte) {
		if _, twice := all[string(name)]; twice {
			c.fail()
			return
		}
		all[string(name)] = c.text()
	})
	if f.bounds.hasHi && float64(len(all)) > f.bounds.hi {
		c.fail()
	}
	to.Set(reflect.ValueOf(all))
}
