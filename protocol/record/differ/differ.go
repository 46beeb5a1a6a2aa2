// Package differ names the places in which two structs of the same type differ, so
// that a person can be told, and a test can say, what did not come back.
package differ

import (
	"reflect"
	"strings"
)

// Fields names what a and b say differently, as "vendor.name", two levels deep; none
// where they are equal. An empty list is none.
func Fields[T any](a, b T) []string { return fields(nil, reflect.ValueOf(a), reflect.ValueOf(b), "") }

func fields(out []string, a, b reflect.Value, at string) []string {
	switch {
	case a.Kind() == reflect.Struct && a.Type().NumField() > 0 && !strings.Contains(at, "."):
		for i := range a.NumField() {
			f := a.Type().Field(i)
			name := strings.TrimPrefix(at+"."+strings.ToLower(f.Name), ".")
			if f.Anonymous {
				name = at
			}
			out = fields(out, a.Field(i), b.Field(i), name)
		}
		return out
	case a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0:
		return out
	case reflect.DeepEqual(a.Interface(), b.Interface()):
		return out
	}
	return append(out, at)
}
