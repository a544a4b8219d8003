package settings

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"
)

// Environ turns os.Environ() into the map that Load takes.
func Environ(environ []string) map[string]string {
	return env.ToMap(environ)
}

// Load fills cfg, a pointer to a settings struct, from environ. It returns an *Error that lists every mistake: a missing
// required variable, a value that does not parse, a bound that does not hold, an unreadable <NAME>_FILE, a variable
// that looks like a misspelt one, and what the Validate methods of the struct and of its embedded structs say.
func Load(cfg any, environ map[string]string) error {
	root := structOf(cfg)
	fields := fieldsOf(root)

	given := maps.Clone(environ)
	maps.DeleteFunc(given, func(_, value string) bool { return value == "" })

	mistakes := misspelt(fields, given)
	mistakes = append(mistakes, misplaced(fields, given)...)
	mistakes = append(mistakes, readFiles(fields, given)...)
	mistakes = append(mistakes, parse(cfg, fields, given, mistakes)...)
	mistakes = append(mistakes, checkBounds(fields, mistakes)...)

	for _, m := range validate(root) {
		// What was not understood holds a default; one line about it is enough.
		if !slices.ContainsFunc(mistakes, func(known Mistake) bool { return known.Name == m.Name }) {
			mistakes = append(mistakes, m)
		}
	}

	if len(mistakes) == 0 {
		return nil
	}

	sortByField(mistakes, fields)

	return &Error{Mistakes: mistakes}
}

// readFiles replaces each <NAME>_FILE of a secret by the file's content, without the newline an editor leaves at its end.
func readFiles(fields []Field, given map[string]string) []Mistake {
	var mistakes []Mistake

	for _, f := range fields {
		variable := f.Name + "_FILE"

		path, found := given[variable]
		if !found || !f.Secret {
			continue
		}

		if _, both := given[f.Name]; both {
			mistakes = append(mistakes, Mistake{Name: variable, Value: path, Rule: "is set beside " + f.Name, Fix: "keep one of the two"})

			continue
		}

		content, err := os.ReadFile(path) //nolint:gosec // who runs the program names its files
		if err != nil {
			mistakes = append(mistakes, Mistake{Name: variable, Value: path, Rule: "must name a readable file: " + cause(err), Fix: "check the path and its permissions"})

			continue
		}

		given[f.Name] = strings.TrimRight(string(content), "\r\n")
		if given[f.Name] == "" {
			delete(given, f.Name)
		}
	}

	return mistakes
}

// cause is the system's reason without the path, which the caller shows already.
func cause(err error) string {
	if inner := errors.Unwrap(err); inner != nil {
		return inner.Error()
	}

	return err.Error()
}

// parse has env fill the struct and puts its errors into our words. No value in them is a secret: text always parses.
func parse(cfg any, fields []Field, given map[string]string, known []Mistake) []Mistake {
	err := env.ParseWithOptions(cfg, env.Options{Environment: given})
	if err == nil {
		return nil
	}

	causes := []error{err}
	if all, ok := errors.AsType[env.AggregateError](err); ok {
		causes = all.Errors
	}

	mistakes := make([]Mistake, 0, len(causes))

	for _, err := range causes {
		if mistake, fresh := translate(err, fields, given, known); fresh {
			mistakes = append(mistakes, mistake)
		}
	}

	return mistakes
}

// translate reports false for a required variable whose absence another mistake explains already.
func translate(err error, fields []Field, given map[string]string, known []Mistake) (Mistake, bool) {
	if missing, ok := errors.AsType[env.VarIsNotSetError](err); ok {
		explained := slices.ContainsFunc(known, func(m Mistake) bool { return m.Name == missing.Key+"_FILE" })
		mistake := Mistake{Name: missing.Key, Rule: "is required but not set"}

		if i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == missing.Key }); i >= 0 {
			mistake.Rule += ": " + fields[i].Help
			mistake.Fix = fix(&fields[i])
		}

		return mistake, !explained
	}

	parsing, ok := errors.AsType[env.ParseError](err)
	if !ok {
		return Mistake{Name: "settings", Rule: err.Error()}, true
	}

	i := slices.IndexFunc(fields, func(f Field) bool { return f.goName == parsing.Name && given[f.Name] != "" })
	if i < 0 {
		return Mistake{Name: parsing.Name, Rule: "does not parse"}, true
	}

	return Mistake{Name: fields[i].Name, Value: given[fields[i].Name], Rule: "must be " + wanted(&fields[i]), Fix: fix(&fields[i])}, true
}

func wanted(f *Field) string {
	switch f.Type {
	case "number":
		return "a whole number"
	case "size":
		return "a number of bytes, or one with KiB, MiB, GiB or TiB"
	case "namespaces":
		return "a comma list of db.collection or db.*"
	case "durations":
		return "a comma list of durations"
	case "log level":
		return "one of debug, info, warn, error"
	case "true or false":
		return f.Type
	default:
		return "a " + f.Type
	}
}

func fix(f *Field) string {
	if example := f.example(); example != "" {
		return "for example " + f.Name + "=" + example
	}

	return "set " + f.Name
}

// validate asks the struct and every struct in it. Where an outer struct has no method of its own, Go promotes the
// inner one, which is then asked twice: equal mistakes are kept once.
func validate(v reflect.Value) []Mistake {
	var mistakes []Mistake

	add := func(err error) {
		for _, mistake := range flatten(err) {
			known := func(m Mistake) bool { return m.Error() == mistake.Error() }
			if !slices.ContainsFunc(mistakes, known) {
				mistakes = append(mistakes, mistake)
			}
		}
	}

	if checked, ok := reflect.TypeAssert[interface{ Validate() error }](v.Addr()); ok {
		add(checked.Validate())
	}

	for i := range v.NumField() {
		if inner := v.Field(i); inner.Kind() == reflect.Struct && v.Type().Field(i).IsExported() {
			for _, mistake := range validate(inner) {
				add(mistake)
			}
		}
	}

	return mistakes
}

func flatten(err error) []Mistake {
	if err == nil {
		return nil
	}

	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var mistakes []Mistake
		for _, one := range many.Unwrap() {
			mistakes = append(mistakes, flatten(one)...)
		}

		return mistakes
	}

	if mistake, ok := errors.AsType[Mistake](err); ok {
		return []Mistake{mistake}
	}

	return []Mistake{{Name: "settings", Rule: err.Error()}}
}

func sortByField(mistakes []Mistake, fields []Field) {
	place := func(m Mistake) int {
		return slices.IndexFunc(fields, func(f Field) bool { return m.Name == f.Name || m.Name == f.Name+"_FILE" })
	}

	slices.SortStableFunc(mistakes, func(a, b Mistake) int { return cmp.Compare(place(a), place(b)) })
}

// checkBounds applies the tags oneof, min and max to the fields that parsed.
func checkBounds(fields []Field, known []Mistake) []Mistake {
	var mistakes []Mistake

	for i := range fields {
		f := &fields[i]
		if slices.ContainsFunc(known, func(m Mistake) bool { return m.Name == f.Name }) {
			continue
		}

		if rule := f.broken(); rule != "" {
			mistakes = append(mistakes, Mistake{Name: f.Name, Value: f.value.Interface(), Rule: rule, Fix: fix(f)})
		}
	}

	return mistakes
}

func (f *Field) broken() string {
	if len(f.OneOf) > 0 && !slices.Contains(f.OneOf, fmt.Sprint(f.value.Interface())) {
		return "must be one of " + strings.Join(f.OneOf, ", ")
	}

	if least, found := f.bound("min"); found && f.value.Int() < least {
		return "must be at least " + f.tag.Get("min")
	}

	if most, found := f.bound("max"); found && f.value.Int() > most {
		return "must be at most " + f.tag.Get("max")
	}

	return ""
}
