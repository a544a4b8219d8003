package changestream

import (
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// maxEventBytes bounds a reassembled event: a document before and after a
// change, its update description and some room.
const maxEventBytes = 64 << 20

// fragments puts together what $changeStreamSplitLargeEvent cut. By its
// documentation every fragment has an _id (its own resume token) and
// splitEvent; every other top-level field stands whole in exactly one fragment,
// and fragments come in order without other events in between.
type fragments struct {
	parts []event.Event
	size  int
}

// open tells whether a fragment is missing.
func (f *fragments) open() bool { return len(f.parts) > 0 }

// add takes the next event of the cursor. It returns a whole event, or nil
// while fragments are missing.
func (f *fragments) add(e event.Event) (*event.Event, error) {
	if e.Fragment.Of <= 1 && !f.open() {
		return &e, nil
	}

	if e.Fragment.Number != len(f.parts)+1 || f.open() && e.Fragment.Of != f.parts[0].Fragment.Of {
		return nil, fmt.Errorf("%w: fragment %d of %d after %d fragments",
			event.ErrMalformed, e.Fragment.Number, e.Fragment.Of, len(f.parts))
	}

	f.size += len(e.Raw)
	if f.size > maxEventBytes {
		return nil, fmt.Errorf("%w: split event exceeds %d bytes", event.ErrMalformed, maxEventBytes)
	}

	f.parts = append(f.parts, e)
	if len(f.parts) < e.Fragment.Of {
		return nil, nil //nolint:nilnil // no event yet and no error is this function's normal answer
	}

	whole, err := f.merge()
	*f = fragments{}

	return whole, err
}

// merge builds the event that was split: the _id of the last fragment, which
// resumes after the event, and all other fields in their order.
func (f *fragments) merge() (*event.Event, error) {
	index, doc := bsoncore.AppendDocumentStart(make([]byte, 0, f.size))
	last := f.parts[len(f.parts)-1]

	id := last.Raw.Lookup("_id")
	doc = bsoncore.AppendValueElement(doc, "_id", bsoncore.Value{Type: bsoncore.Type(id.Type), Data: id.Value})

	for _, part := range f.parts {
		elements, err := part.Raw.Elements()
		if err != nil {
			return nil, fmt.Errorf("%w: fragment %d: %w", event.ErrMalformed, part.Fragment.Number, err)
		}

		for _, el := range elements {
			if key := el.Key(); key != "_id" && key != "splitEvent" {
				doc = append(doc, el...)
			}
		}
	}

	doc, err := bsoncore.AppendDocumentEnd(doc, index)
	if err != nil {
		return nil, fmt.Errorf("%w: reassemble split event: %w", event.ErrMalformed, err)
	}

	whole, err := event.Parse(bson.Raw(doc))
	if err != nil {
		return nil, err
	}

	return &whole, nil
}
