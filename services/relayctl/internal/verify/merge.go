package verify

import (
	"bytes"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Kind is how the two sides differ in a document.
type Kind string

// The kinds of difference.
const (
	Missing    Kind = "missing"         // on the source only
	Extra      Kind = "extra"           // on the target only
	Different  Kind = "different"       // in a field at least
	FieldOrder Kind = "order of fields" // the same fields with the same values, in another order
)

// step is what the documents at the head of two streams mean, both in the order of _id.
type step struct {
	kind           Kind // empty: they are equal
	source, target bool // whose head is done
}

// merge compares two heads; nil is a stream that has ended. At least one is not nil. Equal documents, which are nearly
// all, cost one comparison of bytes.
func merge(source, target bson.Raw) step {
	switch {
	case target == nil:
		return step{kind: Missing, source: true}
	case source == nil:
		return step{kind: Extra, target: true}
	case bytes.Equal(source, target):
		return step{source: true, target: true}
	}

	switch order := Compare(source.Lookup("_id"), target.Lookup("_id")); {
	case order < 0:
		return step{kind: Missing, source: true}
	case order > 0:
		return step{kind: Extra, target: true}
	default:
		return step{kind: Different, source: true, target: true}
	}
}
