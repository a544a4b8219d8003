package routing

import (
	"fmt"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Encode returns the table as markers carry it.
func (t *Table) Encode() []*relayv1.PinnedNamespace {
	entries := t.Entries()
	pinned := make([]*relayv1.PinnedNamespace, len(entries))

	for i, e := range entries {
		pinned[i] = &relayv1.PinnedNamespace{
			Namespace:      &relayv1.Namespace{Database: e.Namespace.DB, Collection: e.Namespace.Coll},
			CollectionUuid: e.Collection.Bytes(),
			Partition:      uint32(e.Partition), //nolint:gosec // below 256
			Pin:            encodePin(e),
		}
	}

	return pinned
}

// FromMarker is the inverse of Encode. Errors wrap event.ErrMalformed: a table
// that is not of a stream with this number of partitions, or that a later version
// wrote. Whoever went on without it would send events another way.
func FromMarker(pinned []*relayv1.PinnedNamespace, partitions int) (*Table, error) {
	t := New(partitions)

	for _, p := range pinned {
		ns := event.Namespace{DB: p.GetNamespace().GetDatabase(), Coll: p.GetNamespace().GetCollection()}

		uuid, err := event.ParseUUID(p.GetCollectionUuid())
		if err != nil {
			return nil, fmt.Errorf("read routing table: %s: %w", ns, err)
		}

		entry := &Entry{Namespace: ns, Collection: uuid, Partition: int(p.GetPartition())}
		if entry.Partition >= partitions {
			return nil, fmt.Errorf("read routing table: %s: %w: partition %d of %d", ns, event.ErrMalformed, entry.Partition, partitions)
		}

		switch p.GetPin() {
		case relayv1.Pin_PIN_COLLATION:
			entry.Pin = event.PinCollation
		case relayv1.Pin_PIN_CAPPED:
			entry.Pin = event.PinCapped
		case relayv1.Pin_PIN_ENCRYPTED:
			entry.Encrypted = true
		case relayv1.Pin_PIN_UNSPECIFIED:
			fallthrough
		default:
			return nil, fmt.Errorf("read routing table: %s: %w: unknown pin %s", ns, event.ErrMalformed, p.GetPin())
		}

		t.insert(entry)
	}

	return t, nil
}

func encodePin(e Entry) relayv1.Pin {
	switch {
	case e.Encrypted:
		return relayv1.Pin_PIN_ENCRYPTED
	case e.Pin == event.PinCapped:
		return relayv1.Pin_PIN_CAPPED
	default:
		return relayv1.Pin_PIN_COLLATION
	}
}
