// Package diff tells where two documents differ. Both are compared as bytes: 1 and 1.0 are different values.
package diff

import (
	"bytes"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Place is where two documents differ first. It holds no values: ValuesAt finds them.
type Place struct {
	Fields    []string // from the outermost one; numbers for the elements of arrays; none: the document itself
	OrderOnly bool     // of fields, everywhere; Fields lead to the first document whose order differs
}

// Path is written with dots, as in a query.
func (p Place) Path() string { return strings.Join(p.Fields, ".") }

// First finds it, in the order of the source's fields. ok is false for documents that are equal as bytes.
func First(source, target bson.Raw) (place Place, ok bool) {
	if bytes.Equal(source, target) {
		return Place{}, false
	}

	if sameButOrder(document(source), document(target)) {
		fields, _ := firstOrder(source, target)

		return Place{Fields: fields, OrderOnly: true}, true
	}

	return Place{Fields: firstValue(source, target)}, true
}

func document(raw bson.Raw) bson.RawValue {
	return bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: raw}
}

// All returns the paths of the values that one of two documents lacks or has otherwise, at most so many, in the order of
// the source's fields. The order of fields does not count.
func All(source, target bson.Raw, most int) []string {
	var all []string

	differences(source, target, nil, func(path []string) bool {
		all = append(all, Place{Fields: path}.Path())

		return len(all) < most
	})

	return all
}

// Equal tells whether two values are the same but for the order of fields.
func Equal(a, b bson.RawValue) bool { return sameButOrder(a, b) }

// differences tells of each path until the caller has enough, which it returns as false.
func differences(a, b bson.Raw, above []string, tell func(path []string) bool) bool {
	left, _ := a.Elements()
	right, _ := b.Elements()

	byName := make(map[string]bson.RawValue, len(right))
	for _, el := range right {
		byName[el.Key()] = el.Value()
	}

	for _, el := range left {
		path := append(slices.Clip(above), el.Key())
		l := el.Value()
		r, found := byName[el.Key()]

		delete(byName, el.Key())

		more := true

		switch {
		case found && sameButOrder(l, r):
		case found && l.Type == r.Type && (l.Type == bson.TypeEmbeddedDocument || l.Type == bson.TypeArray):
			more = differences(l.Value, r.Value, path, tell)
		default:
			more = tell(path)
		}

		if !more {
			return false
		}
	}

	for _, el := range right {
		if _, unmet := byName[el.Key()]; unmet && !tell(append(slices.Clip(above), el.Key())) {
			return false
		}
	}

	return true
}

func same(a, b bson.RawValue) bool { return a.Type == b.Type && bytes.Equal(a.Value, b.Value) }

// sameButOrder tells whether two values are equal when the order of fields does not count. That of an array's elements
// does.
func sameButOrder(a, b bson.RawValue) bool {
	if same(a, b) {
		return true
	}

	if a.Type != b.Type || (a.Type != bson.TypeEmbeddedDocument && a.Type != bson.TypeArray) {
		return false
	}

	left, _ := bson.Raw(a.Value).Elements()
	right, _ := bson.Raw(b.Value).Elements()

	if len(left) != len(right) {
		return false
	}

	byName := make(map[string]bson.RawValue, len(right))
	for _, el := range right {
		byName[el.Key()] = el.Value()
	}

	if len(byName) != len(right) { // a name twice: only the order tells which is which
		return false
	}

	for _, el := range left {
		other, found := byName[el.Key()]
		if !found || !sameButOrder(el.Value(), other) {
			return false
		}
	}

	return true
}

// firstOrder finds the first document with another order in two that are the same but for it.
func firstOrder(a, b bson.Raw) (fields []string, found bool) {
	left, _ := a.Elements()
	right, _ := b.Elements()

	for i := range left {
		if left[i].Key() != right[i].Key() {
			return nil, true
		}
	}

	for i := range left {
		l, r := left[i].Value(), right[i].Value()
		if l.Type != bson.TypeEmbeddedDocument && l.Type != bson.TypeArray {
			continue
		}

		if below, found := firstOrder(l.Value, r.Value); found {
			return slices.Insert(below, 0, left[i].Key()), true
		}
	}

	return nil, false
}

// firstValue finds the first field that one side lacks or has otherwise.
func firstValue(a, b bson.Raw) []string {
	left, _ := a.Elements()
	right, _ := b.Elements()

	byName := make(map[string]bson.RawValue, len(right))
	for _, el := range right {
		byName[el.Key()] = el.Value()
	}

	for _, el := range left {
		l := el.Value()
		r, found := byName[el.Key()]

		delete(byName, el.Key())

		switch {
		case found && sameButOrder(l, r):
		case found && l.Type == r.Type && (l.Type == bson.TypeEmbeddedDocument || l.Type == bson.TypeArray):
			return slices.Insert(firstValue(l.Value, r.Value), 0, el.Key())
		default:
			return []string{el.Key()}
		}
	}

	for _, el := range right {
		if _, unmet := byName[el.Key()]; unmet {
			return []string{el.Key()}
		}
	}

	return nil // names that stand twice
}

// ValueAt is the value at a place, as extended JSON and cut to a readable length; empty where there is none.
func (p Place) ValueAt(raw bson.Raw) string {
	// mostShown is in bytes.
	const mostShown = 200

	value, err := raw.LookupErr(p.Fields...)
	if len(p.Fields) == 0 {
		value, err = document(raw), nil
	}

	if raw == nil || err != nil {
		return ""
	}

	text := value.String()
	if len(text) > mostShown {
		text = strings.ToValidUTF8(text[:mostShown], "") + "…"
	}

	return text
}
