package mongomodel

import (
	"bytes"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// marshal encodes a document of this program, or takes one that is encoded.
func marshal(document any) bson.Raw {
	if raw, ok := document.(bson.Raw); ok {
		return raw
	}

	raw, err := bson.Marshal(document)
	if err != nil {
		panic("mongomodel: " + err.Error()) // of a type that the relay writes
	}

	return raw
}

// idOf names a document in its collection.
func idOf(id bson.RawValue) string { return string(byte(id.Type)) + string(id.Value) }

// lookup returns the value at a dotted path; ok is false when there is none.
func lookup(document bson.Raw, path string) (bson.RawValue, bool) {
	v, err := document.LookupErr(strings.Split(path, ".")...)

	return v, err == nil
}

// same compares values; numbers by value.
func same(a, b bson.RawValue) bool {
	if x, ok := a.AsInt64OK(); ok {
		y, ok := b.AsInt64OK()

		return ok && x == y
	}

	return a.Type == b.Type && bytes.Equal(a.Value, b.Value)
}

// matches tells whether a document passes a filter of equalities.
func matches(document, filter bson.Raw) bool {
	elements, _ := filter.Elements()
	for _, e := range elements {
		got, ok := lookup(document, e.Key())
		want := e.Value()

		if want.Type == bson.TypeNull && !ok {
			continue
		}

		if !ok || !same(got, want) {
			return false
		}
	}

	return true
}

// field is one element of a document that is being changed.
type field struct {
	key   string
	value bson.RawValue
}

func fieldsOf(document bson.Raw) []field {
	elements, _ := document.Elements()
	list := make([]field, len(elements))

	for i, e := range elements {
		list[i] = field{key: e.Key(), value: e.Value()}
	}

	return list
}

func build(fields []field) bson.Raw {
	index, b := bsoncore.AppendDocumentStart(nil)
	for _, f := range fields {
		b = bsoncore.AppendValueElement(b, f.key, bsoncore.Value{Type: bsoncore.Type(f.value.Type), Data: f.value.Value})
	}

	b, _ = bsoncore.AppendDocumentEnd(b, index)

	return bson.Raw(b)
}

// Apply is a document after an update of top-level fields; inserted tells that it is new.
func Apply(document bson.Raw, update any, inserted bool) bson.Raw {
	fields := fieldsOf(document)
	operators, _ := marshal(update).Elements()

	for _, operator := range operators {
		arguments, _ := operator.Value().Document().Elements()

		for _, a := range arguments {
			i := slices.IndexFunc(fields, func(f field) bool { return f.key == a.Key() })
			value := a.Value()

			switch operator.Key() {
			case "$unset":
				if i >= 0 {
					fields = slices.Delete(fields, i, i+1)
				}

				continue
			case "$setOnInsert":
				if !inserted {
					continue
				}
			case "$inc":
				if i >= 0 {
					value = number(fields[i].value.AsInt64() + value.AsInt64())
				}
			case "$set":
			default:
				panic("mongomodel: unknown operator " + operator.Key())
			}

			if i >= 0 {
				fields[i].value = value
			} else {
				fields = append(fields, field{key: a.Key(), value: value})
			}
		}
	}

	return build(fields)
}

func number(n int64) bson.RawValue {
	return bson.RawValue{Type: bson.TypeInt64, Value: bsoncore.AppendInt64(nil, n)}
}
