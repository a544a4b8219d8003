package chain

import "go.mongodb.org/mongo-driver/v2/bson"

// Rewind makes the ledger go on from an earlier place of the source's history,
// in a new generation: everything behind it is published anew. An event that
// stands unfinished at the tail has no further attempt; it comes again as one of
// the new generation. The caller publishes a marker before anything else, so that
// readers find where the generation begins.
func (l *Ledger) Rewind(generation uint64, to Place) {
	l.generation = generation
	clear(l.heads)
	l.event, l.skipped = to.Event, to.Skipped
	l.token = to.Token
	l.clusterTime = bson.Timestamp{T: to.Position.T, I: to.Position.I}
	l.ordinal = to.Position.Ordinal + 1
	l.unfinished = nil
	l.table = to.Table
	l.lastBarrier = min(l.lastBarrier, to.Event) // who goes on from there has passed all before
}
