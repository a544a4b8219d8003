package verify

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Compare orders two values as an _id index with the simple collation does: negative if a is first, 0 if the server takes
// them for the same _id, whatever their types (1 and 1.0), positive if b is first.
//
// A mistake here costs time and no truth: a pair that is merged wrongly becomes two suspects, and a suspect is read again
// on both sides by its _id (see Rechecks).
//
// https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/; where that is silent, what mongod does
// (BSONElement::compareElements).
func Compare(a, b bson.RawValue) int {
	if order := cmp.Compare(rank(a.Type), rank(b.Type)); order != 0 {
		return order
	}

	switch a.Type {
	case bson.TypeInt32, bson.TypeInt64, bson.TypeDouble, bson.TypeDecimal128:
		return compareNumbers(a, b)
	case bson.TypeString, bson.TypeSymbol, bson.TypeJavaScript:
		return bytes.Compare(text(a), text(b))
	case bson.TypeEmbeddedDocument:
		return compareElements(a.Value, b.Value, true)
	case bson.TypeArray:
		return compareElements(a.Value, b.Value, false)
	case bson.TypeBinary:
		return compareBinary(a.Value, b.Value)
	case bson.TypeDateTime:
		return cmp.Compare(int64(binary.LittleEndian.Uint64(a.Value)), int64(binary.LittleEndian.Uint64(b.Value))) //nolint:gosec // the bits are meant
	case bson.TypeTimestamp:
		return cmp.Compare(binary.LittleEndian.Uint64(a.Value), binary.LittleEndian.Uint64(b.Value))
	case bson.TypeRegex:
		return compareRegex(a, b)
	case bson.TypeDBPointer:
		return cmp.Or(cmp.Compare(len(a.Value), len(b.Value)), bytes.Compare(a.Value, b.Value))
	case bson.TypeCodeWithScope:
		return compareScoped(a, b)
	default: // ObjectID, Boolean by their bytes; Null, MinKey and the like have none
		return bytes.Compare(a.Value, b.Value)
	}
}

// rank is the place of a type among the others. Types of one rank are compared by value.
func rank(t bson.Type) int {
	switch t {
	case bson.TypeMinKey:
		return -1
	case bson.TypeUndefined:
		return 0
	case bson.TypeNull:
		return 5
	case bson.TypeInt32, bson.TypeInt64, bson.TypeDouble, bson.TypeDecimal128:
		return 10
	case bson.TypeString, bson.TypeSymbol:
		return 15
	case bson.TypeEmbeddedDocument:
		return 20
	case bson.TypeArray:
		return 25
	case bson.TypeBinary:
		return 30
	case bson.TypeObjectID:
		return 35
	case bson.TypeBoolean:
		return 40
	case bson.TypeDateTime:
		return 45
	case bson.TypeTimestamp:
		return 47
	case bson.TypeRegex:
		return 50
	case bson.TypeDBPointer:
		return 55
	case bson.TypeJavaScript:
		return 60
	case bson.TypeCodeWithScope:
		return 65
	default: // MaxKey
		return 127
	}
}

// text is a string's bytes, without its length and the zero at its end.
func text(v bson.RawValue) []byte {
	if len(v.Value) < 5 {
		return nil
	}

	return v.Value[4 : len(v.Value)-1]
}

// compareBinary: the shorter one, then the lower subtype, then bytes.
func compareBinary(a, b []byte) int {
	const header = 4 // of the length; the subtype follows

	return cmp.Or(cmp.Compare(len(a), len(b)), bytes.Compare(a[header:], b[header:]))
}

func compareRegex(a, b bson.RawValue) int {
	patternA, optionsA := a.Regex()
	patternB, optionsB := b.Regex()

	return cmp.Or(strings.Compare(patternA, patternB), strings.Compare(optionsA, optionsB))
}

func compareScoped(a, b bson.RawValue) int {
	codeA, scopeA := a.CodeWithScope()
	codeB, scopeB := b.CodeWithScope()

	return cmp.Or(strings.Compare(codeA, codeB), compareElements(scopeA, scopeB, true))
}

// compareElements compares element by element: types, then names if they count, then values. The shorter one is first
// where everything before is equal.
func compareElements(a, b bson.Raw, names bool) int {
	left, _ := a.Elements()
	right, _ := b.Elements()

	for i := range min(len(left), len(right)) {
		l, r := left[i].Value(), right[i].Value()

		if order := cmp.Compare(rank(l.Type), rank(r.Type)); order != 0 {
			return order
		}

		if names {
			if order := strings.Compare(left[i].Key(), right[i].Key()); order != 0 {
				return order
			}
		}

		if order := Compare(l, r); order != 0 {
			return order
		}
	}

	return cmp.Compare(len(left), len(right))
}
