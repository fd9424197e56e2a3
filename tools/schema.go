package tools

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schema is a struct type seen as a JSON schema of an object: what clients are
// told, what arguments are checked against, and how they get into the struct.
//
// A field has the tags json (name; omitempty makes it optional), doc (its one
// sentence), and as needed min, max (of numbers; of lengths for strings, arrays
// and objects), enum (comma-separated), pattern, default, and takes (words for
// what it takes, where the rest does not say it well). A fact with schema:"-" is
// in results but not in the schema.
type schema struct {
	fields   []field
	raw      json.RawMessage
	compiled *jsonschema.Schema // of input schemas only
}

type field struct {
	name     string
	index    []int
	required bool
	tag      reflect.StructTag
	typ      reflect.Type // without pointer
	sub      *schema      // of a struct
	bounds   bounds
}

// property is the JSON of a field; the order of its keys is fixed.
type property struct {
	Type                 string          `json:"type"`
	Description          string          `json:"description,omitempty"`
	Enum                 []string        `json:"enum,omitempty"`
	Pattern              string          `json:"pattern,omitempty"`
	Default              json.RawMessage `json:"default,omitempty"`
	Minimum              json.RawMessage `json:"minimum,omitempty"`
	Maximum              json.RawMessage `json:"maximum,omitempty"`
	MinLength            json.RawMessage `json:"minLength,omitempty"`
	MaxLength            json.RawMessage `json:"maxLength,omitempty"`
	MinItems             json.RawMessage `json:"minItems,omitempty"`
	MaxItems             json.RawMessage `json:"maxItems,omitempty"`
	MaxProperties        json.RawMessage `json:"maxProperties,omitempty"`
	Items                any             `json:"items,omitempty"`
	Properties           json.RawMessage `json:"properties,omitempty"`
	Required             []string        `json:"required,omitempty"`
	AdditionalProperties any             `json:"additionalProperties,omitempty"`
}

// largest is where integers end in a float64, and so in JSON as it is read here.
const largest = 1 << 53

// fieldsMax is how many fields a struct may have: take notes them in a uint64.
const fieldsMax = 64

var stringsOnly = map[string]string{"type": "string"}

// inputSchema reads T and compiles it. It panics if T is not fit: T is ours.
func inputSchema(t reflect.Type) *schema {
	s := readSchema(t, true)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(s.raw))
	if err != nil {
		panic(fmt.Sprintf("schema of %v: %v", t, err))
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("input.json", doc); err != nil {
		panic(fmt.Sprintf("schema of %v: %v", t, err))
	}
	s.compiled = c.MustCompile("input.json")
	return s
}

// readSchema reads the fields of a struct. A strict object admits no others.
func readSchema(t reflect.Type, strict bool) *schema {
	s := &schema{}
	props, required := []string{}, []string{}
	for _, sf := range reflect.VisibleFields(t) {
		name, opts, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if sf.Anonymous || name == "" || sf.Tag.Get("schema") == "-" {
			continue
		}
		f := field{name: name, index: sf.Index, required: opts == "", tag: sf.Tag, typ: sf.Type, bounds: boundsOf(sf.Tag)}
		if f.typ.Kind() == reflect.Pointer {
			f.typ = f.typ.Elem()
		}
		props = append(props, fmt.Sprintf("%q:%s", name, mustJSON(f.property(strict))))
		if f.required {
			required = append(required, name)
		}
		s.fields = append(s.fields, f)
	}
	if len(s.fields) > fieldsMax {
		panic(fmt.Sprintf("schema of %v: more than %d fields", t, fieldsMax))
	}
	o := property{Type: "object", Properties: json.RawMessage("{" + strings.Join(props, ",") + "}"), Required: required}
	if strict {
		o.AdditionalProperties = false
	} else {
		o.Required = nil // results are ours: what is always there costs tokens to say
	}
	s.raw = mustJSON(o)
	return s
}

// property describes a field, and fills in its sub-schema.
func (f *field) property(strict bool) property {
	number := func(key string) json.RawMessage { return json.RawMessage(f.tag.Get(key)) }
	p := property{Description: f.tag.Get("doc"), Pattern: f.tag.Get("pattern"), Default: number("default")}
	if e := f.tag.Get("enum"); e != "" {
		p.Enum = strings.Split(e, ",")
	}
	if f.typ == reflect.TypeFor[time.Time]() {
		p.Type = "string"
		return p
	}
	switch f.typ.Kind() {
	case reflect.String:
		p.Type, p.MinLength, p.MaxLength = "string", number("min"), number("max")
	case reflect.Bool:
		p.Type = "boolean"
	case reflect.Int, reflect.Int64, reflect.Uint32:
		p.Type, p.Minimum, p.Maximum = "integer", number("min"), number("max")
	case reflect.Float64:
		p.Type, p.Minimum, p.Maximum = "number", number("min"), number("max")
	case reflect.Map:
		p.Type, p.AdditionalProperties, p.MaxProperties = "object", stringsOnly, number("max")
	case reflect.Slice:
		p.Type, p.MinItems, p.MaxItems, p.Items = "array", number("min"), number("max"), stringsOnly
		if f.typ.Elem().Kind() == reflect.Struct {
			f.sub = readSchema(f.typ.Elem(), strict)
			p.Items = f.sub.raw
		}
	case reflect.Struct:
		f.sub = readSchema(f.typ, strict)
		if err := json.Unmarshal(f.sub.raw, &p); err != nil {
			panic(err)
		}
	default:
		panic(fmt.Sprintf("schema of field %s: no JSON type for %v", f.name, f.typ))
	}
	return p
}

// takes says in words what a field takes.
func (f *field) takes() string {
	if t := f.tag.Get("takes"); t != "" {
		return t
	}
	if e := f.tag.Get("enum"); e != "" {
		return "one of " + strings.ReplaceAll(e, ",", ", ")
	}
	switch f.typ.Kind() {
	case reflect.String:
		return "a string" + f.between(" of at least %s characters", " of at most %s characters", " of %s to %s characters")
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "an integer" + f.between(" from %s", " up to %s", " from %s to %s")
	case reflect.Float64:
		return "a number" + f.between(" from %s", " up to %s", " from %s to %s")
	case reflect.Slice:
		what := "strings"
		if f.sub != nil {
			what = "objects with " + f.sub.names()
		}
		return "an array of " + what + f.between(", at least %s", ", at most %s", ", %s to %s of them")
	case reflect.Map:
		return `an object of strings, as {"NAME":"value"}`
	}
	return "an object with " + f.sub.names()
}

func (f *field) between(from, to, both string) string {
	lo, hi := f.tag.Get("min"), f.tag.Get("max")
	switch {
	case lo != "" && hi != "":
		return fmt.Sprintf(both, lo, hi)
	case lo != "":
		return fmt.Sprintf(from, lo)
	case hi != "":
		return fmt.Sprintf(to, hi)
	}
	return ""
}

// names lists the fields.
func (s *schema) names() string {
	names := make([]string, len(s.fields))
	for i, f := range s.fields {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}

func (s *schema) field(name string) *field {
	for i := range s.fields {
		if s.fields[i].name == name {
			return &s.fields[i]
		}
	}
	return nil
}

// fill puts checked arguments into a struct of the schema's type.
func (s *schema) fill(dst reflect.Value, args map[string]any) {
	for i := range s.fields {
		f := &s.fields[i]
		v, ok := args[f.name]
		if !ok {
			continue
		}
		to := dst.FieldByIndex(f.index)
		if to.Kind() == reflect.Pointer {
			to.Set(reflect.New(f.typ))
			to = to.Elem()
		}
		f.set(to, v)
	}
}

func (f *field) set(to reflect.Value, v any) {
	switch v := v.(type) {
	case string:
		to.SetString(v)
	case bool:
		to.SetBool(v)
	case float64:
		if to.CanInt() {
			to.SetInt(int64(min(max(v, -largest), largest)))
			return
		}
		to.SetFloat(v)
	case []any:
		all := reflect.MakeSlice(to.Type(), len(v), len(v))
		for i := range v {
			if in, ok := v[i].(map[string]any); ok {
				f.sub.fill(all.Index(i), in)
			} else {
				all.Index(i).SetString(v[i].(string))
			}
		}
		to.Set(all)
	case map[string]any:
		if f.sub != nil {
			f.sub.fill(to, v)
			return
		}
		all := make(map[string]string, len(v))
		for k := range v {
			all[k] = v[k].(string)
		}
		to.Set(reflect.ValueOf(all))
	}
}

func mustJSON(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return bytes.TrimSpace(b.Bytes())
}

// brief writes a value as JSON, shortened.
func brief(v any) string {
	switch v := v.(type) {
	case string:
		return clip(strconv.Quote(clip(v, 80)), 80)
	case map[string]any:
		if len(v) > 8 {
			return fmt.Sprintf("an object with %d keys", len(v))
		}
	case []any:
		if len(v) > 8 {
			return fmt.Sprintf("an array of %d", len(v))
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%T", v)
	}
	return clip(string(b), 80)
}

// clip shortens s to max bytes, on a character's edge.
func clip(s string, max int) string {
	if len(s) <= max {
		return s
	}
	return s[:wholeRunes([]byte(s[:max-3]))] + "..."
}
