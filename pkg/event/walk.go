package event

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// walker reads the elements of a BSON document one by one. It trusts no length,
// does not allocate, and does not look into nested documents.
type walker struct{ rest []byte }

// walk starts at the first element. The document must fill raw exactly.
func walk(raw []byte) (walker, error) {
	if len(raw) < 5 || int64(binary.LittleEndian.Uint32(raw)) != int64(len(raw)) || raw[len(raw)-1] != 0 {
		return walker{}, fmt.Errorf("%w: %d bytes are not a whole BSON document", ErrMalformed, len(raw))
	}

	return walker{rest: raw[4 : len(raw)-1]}, nil
}

func (w *walker) more() bool { return len(w.rest) > 0 }

// next returns the next element; its key and value alias the document.
func (w *walker) next() (key []byte, value bson.RawValue, err error) {
	kind := bson.Type(w.rest[0])

	end := bytes.IndexByte(w.rest[1:], 0)
	if end < 0 {
		return nil, bson.RawValue{}, fmt.Errorf("%w: field name without end", ErrMalformed)
	}

	key, w.rest = w.rest[1:1+end], w.rest[2+end:]

	size, err := valueSize(kind, w.rest)
	if err != nil {
		return nil, bson.RawValue{}, err
	}

	value = bson.RawValue{Type: kind, Value: w.rest[:size:size]}
	w.rest = w.rest[size:]

	return key, value, nil
}

// cutCode returns the code string, with its length, and the scope of a code
// with scope.
func cutCode(raw []byte) (code, scope []byte, err error) {
	size, err := valueSize(bson.TypeJavaScript, raw[4:])
	if err != nil {
		return nil, nil, err
	}

	return raw[4 : 4+size], raw[4+size:], nil
}

// valueSize returns how many of b's first bytes are a value of this type
// (bsonspec.org). Errors wrap ErrMalformed.
func valueSize(kind bson.Type, b []byte) (int, error) {
	size, ok := int64(0), true

	switch kind {
	case bson.TypeNull, bson.TypeUndefined, bson.TypeMinKey, bson.TypeMaxKey:
	case bson.TypeBoolean:
		size = 1
	case bson.TypeInt32:
		size = 4
	case bson.TypeDouble, bson.TypeDateTime, bson.TypeInt64, bson.TypeTimestamp:
		size = 8
	case bson.TypeObjectID:
		size = 12
	case bson.TypeDecimal128:
		size = 16
	case bson.TypeString, bson.TypeSymbol, bson.TypeJavaScript:
		size, ok = stringSize(b)
	case bson.TypeBinary:
		size, ok = prefixed(b, 5)
	case bson.TypeDBPointer:
		size, ok = stringSize(b)
		size += 12
	case bson.TypeEmbeddedDocument, bson.TypeArray, bson.TypeCodeWithScope:
		size, ok = prefixed(b, 0)
		ok = ok && size >= 5
	case bson.TypeRegex:
		size, ok = regexSize(b)
	default:
		return 0, fmt.Errorf("%w: unknown BSON type 0x%02x", ErrMalformed, byte(kind))
	}

	if !ok || size > int64(len(b)) {
		return 0, fmt.Errorf("%w: %s is cut off", ErrMalformed, kind)
	}

	return int(size), nil
}

// prefixed reads a length and adds what the length itself does not count.
func prefixed(b []byte, more int64) (int64, bool) {
	if len(b) < 4 {
		return 0, false
	}

	n := int64(int32(binary.LittleEndian.Uint32(b))) //nolint:gosec // a BSON length is signed; negative is refused here

	return n + more, n >= 0
}

func stringSize(b []byte) (int64, bool) {
	size, ok := prefixed(b, 4)
	if !ok || size < 5 || size > int64(len(b)) || b[size-1] != 0 {
		return 0, false
	}

	return size, true
}

func regexSize(b []byte) (int64, bool) {
	pattern := bytes.IndexByte(b, 0)
	if pattern < 0 {
		return 0, false
	}

	options := bytes.IndexByte(b[pattern+1:], 0)
	if options < 0 {
		return 0, false
	}

	return int64(pattern + options + 2), true
}
