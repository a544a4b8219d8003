package routing

import (
	"fmt"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Encode writes the table into a marker.
func (t *Table) Encode(marker *relayv1.Marker) {
	entries := t.Entries()

	marker.Pinned = make([]*relayv1.PinnedNamespace, len(entries))
	for i := range entries {
		marker.Pinned[i] = encode(&entries[i])
	}

	marker.Dropped = make([]*relayv1.PinnedNamespace, len(t.dropped))
	for i, e := range t.dropped {
		marker.Dropped[i] = encode(e)
	}

	if t.isOfLater() {
		marker.TablePlace = topology.EncodePosition(t.place)
	}
}

func encode(e *Entry) *relayv1.PinnedNamespace {
	return &relayv1.PinnedNamespace{
		Namespace:      &relayv1.Namespace{Database: e.Namespace.DB, Collection: e.Namespace.Coll},
		CollectionUuid: e.Collection.Bytes(),
		Partition:      uint32(e.Partition), //nolint:gosec // below 256
		Pin:            encodePin(e),
	}
}

// FromMarker is the inverse of Encode. Errors wrap event.ErrMalformed: a table
// that is not of a stream with this number of partitions, or that a later version
// wrote. Whoever went on without it would send events another way.
func FromMarker(marker *relayv1.Marker, partitions int) (*Table, error) {
	t := New(partitions)
	t.place = topology.DecodePosition(marker.GetTablePlace())

	for _, p := range marker.GetDropped() {
		entry, err := decode(p, partitions)
		if err != nil {
			return nil, err
		}

		t.remember(entry)
	}

	for _, p := range marker.GetPinned() {
		entry, err := decode(p, partitions)
		if err != nil {
			return nil, err
		}

		t.insert(entry)
	}

	return t, nil
}

func decode(p *relayv1.PinnedNamespace, partitions int) (*Entry, error) {
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

	return entry, nil
}

func encodePin(e *Entry) relayv1.Pin {
	switch {
	case e.Encrypted:
		return relayv1.Pin_PIN_ENCRYPTED
	case e.Pin == event.PinCapped:
		return relayv1.Pin_PIN_CAPPED
	default:
		return relayv1.Pin_PIN_COLLATION
	}
}
