package tools

import (
	"cmp"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// complaintsMax is how many faults of one call's arguments are named.
const complaintsMax = 20

// parse checks the arguments of a call and puts them into dst, a struct of the
// schema's type. Everything that is wrong is named in one error. Absent and
// null arguments are an empty object, and null for an optional parameter is as
// if it were not given: several clients send that.
func (s *schema) parse(tool string, arguments any, dst reflect.Value) error {
	if arguments == nil {
		arguments = map[string]any{}
	}
	args, ok := arguments.(map[string]any)
	if !ok {
		return fail(invalidArgument, "", "arguments: got %s, takes an object with %s", brief(arguments), s.names())
	}
	for _, f := range s.fields {
		if v, given := args[f.name]; given && v == nil && !f.required {
			delete(args, f.name)
		}
	}
	if err := s.compiled.Validate(args); err != nil {
		return s.complain(tool, args, err)
	}
	s.fill(dst, args)
	return nil
}

// complaint is one thing that is wrong.
type complaint struct {
	rank int    // unknown names, then missing ones, then the rest by parameter
	at   string // where it is
	text string
}

func (s *schema) complain(tool string, args map[string]any, err error) error {
	var v *jsonschema.ValidationError
	if !errors.As(err, &v) {
		return hidden(err)
	}
	var all []complaint
	s.collect(v, args, &all)
	slices.SortStableFunc(all, func(a, b complaint) int { return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.at, b.at)) })
	texts := make([]string, 0, len(all))
	for _, c := range all {
		if !slices.Contains(texts, c.text) {
			texts = append(texts, c.text)
		}
	}
	if more := len(texts) - complaintsMax; more > 0 {
		texts = append(texts[:complaintsMax], strconv.Itoa(more)+" more")
	}
	hint := ""
	if len(s.fields) == 0 {
		hint = tool + " takes no arguments"
	} else if all[0].rank == 0 {
		hint = tool + " takes " + s.names()
	}
	return fail(invalidArgument, hint, "%s", strings.Join(texts, "; "))
}

// collect walks to the leaves of a validation error.
func (s *schema) collect(v *jsonschema.ValidationError, args any, out *[]complaint) {
	for _, c := range v.Causes {
		s.collect(c, args, out)
	}
	if len(v.Causes) > 0 {
		return
	}
	at := strings.Join(v.InstanceLocation, ".")
	owner, f, rank := s.find(v.InstanceLocation)
	join := func(name string) string { return strings.TrimPrefix(at+"."+name, ".") }
	switch k := v.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, name := range slices.Sorted(slices.Values(k.Properties)) {
			*out = append(*out, complaint{0, at, "unknown parameter " + brief(join(name)) + owner.suggest(name)})
		}
	case *kind.Required:
		for _, name := range k.Missing {
			*out = append(*out, complaint{1, at, join(name) + " is missing, takes " + owner.field(name).takes()})
		}
	default:
		takes := "something else"
		if f != nil {
			takes = f.takes()
		}
		*out = append(*out, complaint{rank, at, clip(at, 100) + ": got " + brief(valueAt(args, v.InstanceLocation)) + ", takes " + takes})
	}
}

// find goes down to a location: the object schema that owns what is missing or
// unknown there, and the field that the value belongs to.
func (s *schema) find(at []string) (owner *schema, f *field, rank int) {
	owner, rank = s, 2
	for i, name := range at {
		if f != nil && f.sub != nil && f.typ.Kind() == reflect.Slice {
			if _, err := strconv.Atoi(name); err == nil {
				continue // an element of an array of objects
			}
		}
		next := owner.field(name)
		if next == nil {
			break // an element of an array of strings, or a key of a map
		}
		f = next
		if i == 0 {
			rank += slices.IndexFunc(s.fields, func(x field) bool { return x.name == name })
		}
		if next.sub == nil {
			break
		}
		owner = next.sub
	}
	return owner, f, rank
}

func valueAt(v any, at []string) any {
	for _, step := range at {
		switch in := v.(type) {
		case map[string]any:
			v = in[step]
		case []any:
			if i, err := strconv.Atoi(step); err == nil && i < len(in) {
				v = in[i]
			}
		}
	}
	return v
}

// suggest names the parameter that was perhaps meant.
func (s *schema) suggest(name string) string {
	best, least := "", 3
	for _, f := range s.fields {
		d := levenshtein.ComputeDistance(strings.ToLower(clip(name, 64)), f.name)
		if strings.Contains(name, f.name) || (len(name) > 2 && strings.Contains(f.name, name)) {
			d = min(d, 2)
		}
		if d < least {
			best, least = f.name, d
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean " + best + "?)"
}
