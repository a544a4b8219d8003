package chain

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/routing"
)

// Rewind makes the ledger go on from an earlier place of the source's history,
// in a new generation: everything behind it is published anew. An event that
// stands unfinished at the tail has no further attempt; it comes again as one of
// the new generation. The caller publishes a marker before anything else, so that
// readers find where the generation begins. table is that of this place, see
// TableAt; nil where the stream has none.
func (l *Ledger) Rewind(generation uint64, token bson.Raw, position event.Position, counted, skipped uint64, table *routing.Table) {
	l.generation = generation
	clear(l.heads)
	l.event, l.skipped = counted, skipped
	l.token = token
	l.clusterTime = bson.Timestamp{T: position.T, I: position.I}
	l.ordinal = position.Ordinal + 1
	l.unfinished = nil
	l.table = table
	l.lastBarrier = min(l.lastBarrier, counted) // who goes on from there has passed all before
}
