package event

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Key identifies a document across namespaces. Two keys are equal exactly when
// MongoDB takes the documents for the same one, so it may stand for the
// document in a map. It is opaque: its bytes are not an _id.
type Key string

// NewKey returns the key of the document with this _id. Equality is that of an
// _id index with the simple collation: numbers by value whatever their type,
// symbols as strings, everything else by type and content, nested values too;
// the names of an array's elements do not count. Errors wrap ErrMalformed: no
// _id, not BSON, or nested deeper than 200 levels.
func NewKey(ns Namespace, id bson.RawValue) (Key, error) {
	var buffer [256]byte // most keys fit: one allocation, for the result

	b := appendName(buffer[:0], ns.DB)
	b = appendName(b, ns.Coll)

	var err error

	switch id.Type {
	case bson.TypeEmbeddedDocument, bson.TypeArray, bson.TypeCodeWithScope:
		b, err = appendValue(bytes.Clone(b), id, 0) // a recursion takes its buffer from the heap
	default:
		b, err = appendScalar(b, id)
	}

	if err != nil {
		return "", fmt.Errorf("read _id of a document in %s: %w", ns, err)
	}

	return Key(b), nil
}

// Partition returns which of n partitions carries the document's changes; n is
// at least 1. The result is part of the stream's contract: it never changes for
// a given key and n.
func (k Key) Partition(n int) int {
	return int(xxhash.Sum64String(string(k)) % uint64(n)) //nolint:gosec // n is positive, the remainder fits
}

// PartitionOf returns which of n partitions carries all changes of a collection
// that is pinned to one when it is made. It is part of the stream's contract like
// Key.Partition.
func PartitionOf(ns Namespace, n int) int {
	return Key(appendName(appendName(nil, ns.DB), ns.Coll)).Partition(n)
}

// Tags of all other values; those of numbers stand in number.go. Every value
// is its tag and then either a fixed length, a length prefix, or, for documents
// and arrays, elements up to tagEnd: no concatenation has two readings.
const (
	tagEnd           = 0
	tagString        = 's'
	tagDocument      = 'o'
	tagArray         = 'a'
	tagBinary        = 'b'
	tagUndefined     = 'u'
	tagObjectID      = 'O'
	tagBoolean       = 'B'
	tagDate          = 'T'
	tagNull          = 'N'
	tagRegex         = 'R'
	tagDBPointer     = 'P'
	tagCode          = 'c'
	tagCodeWithScope = 'w'
	tagTimestamp     = 't'
	tagMinKey        = '<'
	tagMaxKey        = '>'
)

// appendValue appends the canonical form of a value at a depth of nesting.
func appendValue(b []byte, v bson.RawValue, depth int) ([]byte, error) {
	switch v.Type {
	case bson.TypeEmbeddedDocument:
		return appendElements(append(b, tagDocument), v.Value, depth+1, true)
	case bson.TypeArray:
		return appendElements(append(b, tagArray), v.Value, depth+1, false)
	case bson.TypeCodeWithScope:
		return appendCodeWithScope(b, v, depth)
	default:
		return appendScalar(b, v)
	}
}

// appendScalar takes the types that nest nothing.
func appendScalar(b []byte, v bson.RawValue) ([]byte, error) {
	if err := checkSize(v); err != nil {
		return nil, err
	}

	switch v.Type {
	case bson.TypeInt32:
		return appendInteger(b, int64(int32(binary.LittleEndian.Uint32(v.Value)))), nil //nolint:gosec // the bits are meant
	case bson.TypeInt64:
		return appendInteger(b, int64(binary.LittleEndian.Uint64(v.Value))), nil //nolint:gosec // the bits are meant
	case bson.TypeDouble:
		return appendDouble(b, math.Float64frombits(binary.LittleEndian.Uint64(v.Value))), nil
	case bson.TypeDecimal128:
		low, high := binary.LittleEndian.Uint64(v.Value), binary.LittleEndian.Uint64(v.Value[8:])
		return appendDecimal128(b, bson.NewDecimal128(high, low)), nil
	case bson.TypeBoolean:
		if v.Value[0] > 1 {
			return nil, fmt.Errorf("%w: %d is no boolean", ErrMalformed, v.Value[0])
		}
	default:
	}

	// What is left has one form only, and shows its own length.
	return append(append(b, contentTag(v.Type)), v.Value...), nil
}

// checkSize makes sure that the value fills its bytes.
func checkSize(v bson.RawValue) error {
	if v.Type == 0 {
		return fmt.Errorf("%w: there is none", ErrMalformed)
	}

	size, err := valueSize(v.Type, v.Value)
	if err != nil {
		return err
	}

	if size != len(v.Value) {
		return fmt.Errorf("%w: %d bytes behind a %s", ErrMalformed, len(v.Value)-size, v.Type)
	}

	return nil
}

func contentTag(kind bson.Type) byte {
	switch kind {
	case bson.TypeString, bson.TypeSymbol:
		return tagString
	case bson.TypeBinary:
		return tagBinary
	case bson.TypeUndefined:
		return tagUndefined
	case bson.TypeObjectID:
		return tagObjectID
	case bson.TypeBoolean:
		return tagBoolean
	case bson.TypeDateTime:
		return tagDate
	case bson.TypeNull:
		return tagNull
	case bson.TypeRegex:
		return tagRegex
	case bson.TypeDBPointer:
		return tagDBPointer
	case bson.TypeJavaScript:
		return tagCode
	case bson.TypeTimestamp:
		return tagTimestamp
	case bson.TypeMinKey:
		return tagMinKey
	default: // valueSize has refused all others
		return tagMaxKey
	}
}

func appendElements(b, raw []byte, depth int, names bool) ([]byte, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("%w: nested deeper than %d levels", ErrMalformed, MaxDepth)
	}

	w, err := walk(raw)
	if err != nil {
		return nil, err
	}

	for w.more() {
		key, value, err := w.next()
		if err != nil {
			return nil, err
		}

		// The value comes first: its tag tells an element from tagEnd.
		if b, err = appendValue(b, value, depth); err != nil {
			return nil, err
		}

		if names {
			b = appendName(b, string(key))
		}
	}

	return append(b, tagEnd), nil
}

// appendCodeWithScope has the scope compared like a document.
func appendCodeWithScope(b []byte, v bson.RawValue, depth int) ([]byte, error) {
	if err := checkSize(v); err != nil {
		return nil, err
	}

	code, scope, err := cutCode(v.Value)
	if err != nil {
		return nil, err
	}

	b = append(append(b, tagCodeWithScope), code...)

	return appendElements(b, scope, depth+1, true)
}

func appendName(b []byte, name string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(name))), name...)
}
