package settings

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"
)

// Field describes one variable of a settings struct, for the generated reference.
type Field struct {
	Name     string // variable
	Type     string // in the words of the reference: duration, size, number, …
	Default  string // written form; empty when there is none
	Help     string
	OneOf    []string // allowed values; nil when the type decides
	Secret   bool     // may be given as <NAME>_FILE
	Required bool

	goName string
	tag    reflect.StructTag
	value  reflect.Value
}

// Fields lists the variables of a pointer to a settings struct in the order of its fields. Where a field has no
// envDefault, its present value is the default, so set those before the call.
func Fields(cfg any) []Field {
	return fieldsOf(structOf(cfg))
}

// structOf panics on anything but a pointer to a struct: that is a mistake in our own code.
func structOf(cfg any) reflect.Value {
	v := reflect.ValueOf(cfg)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("settings: want a pointer to a struct, got %T", cfg))
	}

	return v.Elem()
}

func fieldsOf(v reflect.Value) []Field {
	var fields []Field

	for i := range v.NumField() {
		declared := v.Type().Field(i)
		tag, tagged := declared.Tag.Lookup("env")

		switch {
		case tagged:
			fields = append(fields, newField(declared, v.Field(i), tag))
		case declared.Type.Kind() == reflect.Struct && declared.IsExported():
			fields = append(fields, fieldsOf(v.Field(i))...)
		}
	}

	return fields
}

func newField(declared reflect.StructField, value reflect.Value, tag string) Field {
	name, options, _ := strings.Cut(tag, ",")

	f := Field{
		Name:     name,
		Help:     declared.Tag.Get("help"),
		Required: strings.Contains(options, "required"),
		Secret:   isSecret(declared.Type),
		Type:     typeName(declared.Type),
		goName:   declared.Name,
		tag:      declared.Tag,
		value:    value,
	}

	if allowed := declared.Tag.Get("oneof"); allowed != "" {
		f.OneOf = strings.Split(allowed, ",")
	}

	if preset, found := declared.Tag.Lookup("envDefault"); found {
		f.Default = preset
	} else if !value.IsZero() {
		f.Default = fmt.Sprint(value.Interface())
	}

	return f
}

func isSecret(t reflect.Type) bool {
	return t == reflect.TypeFor[Secret]() || t == reflect.TypeFor[URI]()
}

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Secret]():
		return "secret"
	case reflect.TypeFor[URI]():
		return "URI"
	case reflect.TypeFor[Bytes]():
		return "size"
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[Durations]():
		return "durations"
	case reflect.TypeFor[Namespaces]():
		return "namespaces"
	case reflect.TypeFor[slog.Level]():
		return "log level"
	}

	switch {
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Slice:
		return "list"
	default:
		return "number"
	}
}

// example is a value of the field's type that a reader can copy.
func (f *Field) example() string {
	switch {
	case f.Default != "":
		return f.Default
	case len(f.OneOf) > 0:
		return f.OneOf[0]
	}

	switch f.Type {
	case "URI":
		return "mongodb://host:27017/?replicaSet=rs0"
	case "size":
		return "8MiB"
	case "duration":
		return "25s"
	case "durations":
		return "1s,5s,15s"
	case "namespaces":
		return "shop.orders,crm.*"
	case "true or false":
		return "true"
	case "number":
		return "100"
	default:
		return ""
	}
}
