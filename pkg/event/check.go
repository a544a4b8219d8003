package event

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Bounds of documents. Everything that a MongoDB stores is within them; what a stranger may send is not.
const (
	// MaxDepth is how deep documents may nest: the server's own bound inside of it, and for what is stored it is less
	// (https://github.com/mongodb/mongo/blob/master/src/mongo/bson/bson_depth.h). Whoever walks a document may recur so far.
	MaxDepth = 200
	// MaxDocument is the largest document in bytes: what the server stores, and the room that it and its drivers grant
	// a document's envelope.
	MaxDocument = 16<<20 + 64<<10
	// MaxElements is how many values there may be in all: no fewer than 16 MiB have room for, so that nothing that is
	// stored is refused, and less than MaxSize has.
	MaxElements = 8 << 20
)

// BoundError says that a document exceeds one of the bounds. It wraps ErrMalformed.
type BoundError struct {
	What string // "bytes", "levels" or "values"
	Most int
}

// Error implements error.
func (e *BoundError) Error() string {
	return fmt.Sprintf("%v: a document of more than %d %s", ErrMalformed, e.Most, e.What)
}

// Unwrap makes it an ErrMalformed.
func (*BoundError) Unwrap() error { return ErrMalformed }

// CheckDocument makes sure that raw is one whole document to the last level, within the bounds. What was not checked must
// not be given to the driver's decoders, which trust lengths and recur as deep as a document nests. Errors wrap
// ErrMalformed and quote nothing of the document.
func CheckDocument(raw []byte) error { return checkDocument(raw, MaxDocument) }

// CheckEvent is CheckDocument for a change event, of which several documents and their envelope make up MaxSize bytes.
func CheckEvent(raw []byte) error { return checkDocument(raw, MaxSize) }

// checkDocument walks without recursion and without allocating. The documents in raw may have MaxDocument bytes each.
func checkDocument(raw []byte, most int) error {
	if len(raw) > most {
		return &BoundError{What: "bytes", Most: most}
	}

	c := checker{raw: raw}
	if err := c.open(len(raw)); err != nil {
		return err
	}

	for c.depth > 0 {
		if c.at == c.ends[c.depth-1] {
			c.at++ // the zero that ends it
			c.depth--

			continue
		}

		if err := c.element(); err != nil {
			return err
		}
	}

	return nil
}

// checker is a place in a document, and the ends of all documents around it.
type checker struct {
	raw      []byte
	at       int
	elements int
	depth    int
	ends     [MaxDepth]int // where the last byte of each stands
}

// open enters the document of this size that begins here.
func (c *checker) open(size int) error {
	if c.depth == MaxDepth {
		return &BoundError{What: "levels", Most: MaxDepth}
	}

	if c.depth > 0 && size > MaxDocument {
		return &BoundError{What: "bytes", Most: MaxDocument}
	}

	document := c.raw[c.at : c.at+size]
	if size < 5 || int64(binary.LittleEndian.Uint32(document)) != int64(size) || document[size-1] != 0 {
		return fmt.Errorf("%w: %d bytes are not a whole BSON document", ErrMalformed, size)
	}

	c.ends[c.depth] = c.at + size - 1
	c.depth++
	c.at += 4

	return nil
}

// element passes one value, or enters it.
func (c *checker) element() error {
	if c.elements++; c.elements > MaxElements {
		return &BoundError{What: "values", Most: MaxElements}
	}

	kind := bson.Type(c.raw[c.at])
	rest := c.raw[c.at+1 : c.ends[c.depth-1]]

	name := bytes.IndexByte(rest, 0)
	if name < 0 {
		return fmt.Errorf("%w: field name without end", ErrMalformed)
	}

	rest = rest[name+1:]
	c.at += 1 + name + 1

	size, err := valueSize(kind, rest)
	if err != nil {
		return err
	}

	switch kind {
	case bson.TypeEmbeddedDocument, bson.TypeArray:
		return c.open(size)
	case bson.TypeCodeWithScope:
		_, scope, err := cutCode(rest[:size])
		if err != nil {
			return err
		}

		c.at += size - len(scope)

		return c.open(len(scope))
	default:
		c.at += size

		return nil
	}
}
