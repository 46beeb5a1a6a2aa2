package lab

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// maxFile bounds a scenario.
const maxFile = 64 << 10

// Parse reads a scenario, refuses keys that it does not know, and fills in what it
// does not say. It does not Check it: overrides may come first.
func Parse(file string, raw []byte) (Scenario, error) {
	s := Default()
	if len(raw) > maxFile {
		return s, &Problem{File: file, What: fmt.Sprintf("%d bytes", len(raw)), Next: fmt.Sprintf("a scenario has at most %d", maxFile)}
	}
	err := s.merge(raw)
	if p, ok := errors.AsType[*Problem](err); ok {
		p.File = file
	}
	return s, err
}

// merge reads TOML over what the scenario says already.
func (s *Scenario) merge(raw []byte) error {
	err := toml.NewDecoder(bytes.NewReader(raw)).DisallowUnknownFields().Decode(s)
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(strict.Errors) > 0 {
		e := strict.Errors[0]
		line, _ := e.Position()
		return &Problem{Line: line, Key: strings.Join(e.Key(), "."), What: "unknown key", Next: known(e.Key())}
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := e.Position()
		return &Problem{Line: line, Key: strings.Join(e.Key(), "."), What: strings.TrimPrefix(e.Error(), "toml: "), Next: "mend the line"}
	}
	if err != nil {
		return &Problem{What: strings.TrimPrefix(err.Error(), "toml: "), Next: "mend it"}
	}
	return nil
}

// known lists the keys that stand where an unknown one was found.
func known(key []string) string {
	t := reflect.TypeFor[Scenario]()
	where := "a scenario"
	if len(key) > 1 {
		for i := range t.NumField() {
			if f := t.Field(i); f.Tag.Get("toml") == key[0] && f.Type.Kind() == reflect.Struct {
				t, where = f.Type, "["+key[0]+"]"
				break
			}
		}
	}
	var names []string
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("toml"))
	}
	return fmt.Sprintf("the keys of %s are %s", where, strings.Join(names, ", "))
}

// Set changes one key, as in "links.loss=0.01". A text needs no quotes.
func (s *Scenario) Set(pair string) error {
	key, value, ok := strings.Cut(pair, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if !ok || key == "" || value == "" || strings.ContainsAny(pair, "\n\r") {
		return &Problem{What: fmt.Sprintf("%q sets nothing", pair), Next: "write KEY=VALUE, as links.loss=0.01"}
	}
	try := *s
	err := try.merge([]byte(key + " = " + value + "\n"))
	if p, wrong := errors.AsType[*Problem](err); wrong && p.What != "unknown key" {
		try = *s
		if again := try.merge(fmt.Appendf(nil, "%s = %q\n", key, value)); again == nil {
			err = nil
		}
	}
	if p, wrong := errors.AsType[*Problem](err); wrong {
		p.Line, p.Key = 0, key
	}
	if err == nil {
		*s = try
	}
	return err
}

// Format writes the scenario in full, every key with its meaning.
func (s Scenario) Format() ([]byte, error) {
	var b bytes.Buffer
	err := toml.NewEncoder(&b).Encode(s)
	return b.Bytes(), err
}

// Parameters lists every key with its value, in the order of the file.
func (s Scenario) Parameters() (out []Parameter) {
	var walk func(prefix string, v reflect.Value)
	walk = func(prefix string, v reflect.Value) {
		for i := range v.NumField() {
			f, name := v.Field(i), prefix+v.Type().Field(i).Tag.Get("toml")
			if f.Kind() == reflect.Struct {
				walk(name+".", f)
				continue
			}
			text := fmt.Sprint(f.Interface())
			if f.Kind() == reflect.Slice {
				text = strings.Trim(text, "[]")
			}
			out = append(out, Parameter{Key: name, Value: text})
		}
	}
	walk("", reflect.ValueOf(s))
	return out
}

// A Parameter is one key of a scenario and its value.
type Parameter struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Meanings says of each key what it is.
func Meanings() map[string]string {
	out := map[string]string{}
	var walk func(prefix string, t reflect.Type)
	walk = func(prefix string, t reflect.Type) {
		for i := range t.NumField() {
			name := prefix + t.Field(i).Tag.Get("toml")
			if t.Field(i).Type.Kind() == reflect.Struct {
				walk(name+".", t.Field(i).Type)
				continue
			}
			out[name] = t.Field(i).Tag.Get("comment")
		}
	}
	walk("", reflect.TypeFor[Scenario]())
	return out
}
