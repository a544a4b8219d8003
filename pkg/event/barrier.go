package event

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// SchemaChange is what every partition has to know of a schema change. The
// change itself, with all that it takes to repeat it, is the event that
// partition 0 carries.
type SchemaChange struct {
	Operation  Operation
	Namespace  Namespace
	To         Namespace // new name of a renamed collection
	Collection UUID      // zero where the server does not say
}

// SchemaChange returns what the copies of e's barrier say.
func (e *Event) SchemaChange() SchemaChange {
	return SchemaChange{Operation: e.Operation, Namespace: e.Namespace, To: e.To, Collection: e.Collection}
}

// Marshal returns the payload of a copy. Errors wrap ErrMalformed: a name that is
// not UTF-8, which BSON does not allow either.
func (c *SchemaChange) Marshal() ([]byte, error) {
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(&relayv1.Barrier{
		Operation: string(c.Operation), Namespace: encodeNamespace(c.Namespace), To: encodeNamespace(c.To), CollectionUuid: c.Collection.Bytes(),
	})
	if err != nil {
		return nil, fmt.Errorf("write copy of %s on %s: %w: %w", c.Operation, c.Namespace, ErrMalformed, err)
	}

	return payload, nil
}

// SchemaChange returns what a barrier's message says of its schema change: the
// payload of a copy, or of the change itself, put together if it came in parts.
// Errors wrap ErrMalformed.
func (m *Message) SchemaChange() (SchemaChange, error) {
	switch {
	case m.Kind != KindBarrier:
		return SchemaChange{}, fmt.Errorf("event %d at %s: %w: it is no schema change", m.Event, m.Position, ErrMalformed)
	case m.IsCopy():
		return parseCopy(m.Payload)
	}

	e, err := Parse(m.Payload)

	return e.SchemaChange(), err
}

func parseCopy(payload []byte) (SchemaChange, error) {
	var b relayv1.Barrier
	if err := proto.Unmarshal(payload, &b); err != nil {
		return SchemaChange{}, fmt.Errorf("read copy of a schema change: %w: %w", ErrMalformed, err)
	}

	collection, err := ParseUUID(b.GetCollectionUuid())
	if err != nil {
		return SchemaChange{}, fmt.Errorf("read copy of a schema change: %w", err)
	}

	return SchemaChange{
		Operation: Operation(b.GetOperation()), Namespace: decodeNamespace(b.GetNamespace()), To: decodeNamespace(b.GetTo()), Collection: collection,
	}, nil
}

func encodeNamespace(ns Namespace) *relayv1.Namespace {
	if ns == (Namespace{}) {
		return nil
	}

	return &relayv1.Namespace{Database: ns.DB, Collection: ns.Coll}
}

func decodeNamespace(ns *relayv1.Namespace) Namespace {
	return Namespace{DB: ns.GetDatabase(), Coll: ns.GetCollection()}
}
