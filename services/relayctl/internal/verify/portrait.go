package verify

import (
	"bytes"
	"crypto/sha256"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/diff"
)

// digest stands for a document, or for the absence of one, where only equality counts.
type digest struct {
	exists bool
	sum    [sha256.Size]byte
}

// largeDocument is above what of a document is kept whole to find the field that differs.
const largeDocument = 1 << 20

// portrait is what is kept of a document: itself, or, of a large one, its fields with the digests of their values, so
// that two of 16 MiB are never held at a time for this.
type portrait struct {
	digest

	likeness bson.Raw // nil when there is no document
	outline  bool     // likeness holds digests
}

// portray copies what it keeps; nil is no document.
func portray(raw bson.Raw) portrait {
	if raw == nil {
		return portrait{}
	}

	p := portrait{digest: digest{exists: true, sum: sha256.Sum256(raw)}}

	if len(raw) <= largeDocument {
		p.likeness = bytes.Clone(raw)

		return p
	}

	p.likeness, p.outline = outline(raw), true

	return p
}

// outline is the document with a digest in the place of each value.
func outline(raw bson.Raw) bson.Raw {
	elements, _ := raw.Elements()
	fields := make(bson.D, len(elements))

	for i, el := range elements {
		value := el.Value()

		sum := sha256.New()
		sum.Write([]byte{byte(value.Type)})
		sum.Write(value.Value)

		fields[i] = bson.E{Key: el.Key(), Value: sum.Sum(nil)}
	}

	drawn, _ := bson.Marshal(fields) // names came from BSON, values are binary: nothing can fail

	return drawn
}

// differ says how two portraits differ. Of large documents only fields of the outermost level are told.
func differ(source, target portrait) (Kind, diff.Place) {
	switch {
	case !target.exists:
		return Missing, diff.Place{}
	case !source.exists:
		return Extra, diff.Place{}
	}

	if source.outline != target.outline { // one is large: compare what both have
		source, target = portrait{likeness: outlineOf(source)}, portrait{likeness: outlineOf(target)}
	}

	place, _ := diff.First(source.likeness, target.likeness)
	if place.OrderOnly {
		return FieldOrder, place
	}

	return Different, place
}

func outlineOf(p portrait) bson.Raw {
	if p.outline {
		return p.likeness
	}

	return outline(p.likeness)
}
