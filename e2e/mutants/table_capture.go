package mutants

const (
	listener  = "services/listener/internal/"
	processor = "services/processor/internal/"
	stats     = "services/stats/internal/"
	relayctl  = "services/relayctl/internal/"
)

// captured are mutants of what reads the source.
func captured() []Mutant {
	return []Mutant{
		{
			Name: "split-event-loses-its-last-part", File: listener + "changestream/fragments.go",
			What: "An event that the source has split is taken for whole before its last fragment came.",
			Old:  `	if len(f.parts) < e.Fragment.Of {`,
			New:  `	if len(f.parts) < e.Fragment.Of-1 {`,
		},
		{
			Name: "driver-may-reopen-the-stream", File: listener + "changestream/stream.go",
			What: "Nobody notices that the driver has opened another cursor by itself, where it thinks best.",
			Old:  `		if s.cursor.ID() != s.id && s.cursor.Err() == nil {`,
			New:  `		if s.cursor.ID() == 0 && s.cursor.Err() == nil {`,
		},
		{
			Name: "first-token-believed", File: listener + "changestream/stream.go",
			What: "The token of the reply that opened the cursor, which has scanned nothing, is taken for a place that was read.",
			Old:  `			if !s.asked || s.fragments.open() {`,
			New:  `			if s.fragments.open() {`,
		},
		{
			Name: "refetched-image-without-majority", File: listener + "refetch/read.go",
			What: "A document is read from the source without read concern majority: it may be rolled back.",
			Old:  `ns.Coll, options.Collection().SetReadConcern(readconcern.Majority()))`,
			New:  `ns.Coll, options.Collection().SetReadConcern(readconcern.Local()))`,
		},
		{
			Name: "refetched-image-of-no-time", File: listener + "refetch/read.go",
			What: "The image of a refetch is as old as the source likes: it does not wait for the event that asks for it.",
			Old:  `	if !notBefore.IsZero() {`,
			New:  `	if notBefore.IsZero() {`,
		},
		{
			Name: "standby-wants-the-end-to-stand-still", File: listener + "capture/lead.go",
			What: "A standby is in trouble when the active listener publishes while it reads the stream's end.",
			Old:  `	stream, tail, err := c.openTail(ctx, chain.Glance)`,
			New:  `	stream, tail, err := c.openTail(ctx, chain.ReadTail)`,
		},
		{
			Name: "unasked-messages-are-never-proven", File: listener + "capture/origins.go",
			What: "A marker asks for a reply where one is to come anyway, and not where none is.",
			Old:  `	return unproven > 0 && !asked`,
			New:  `	return unproven > 0 && asked`,
		},
	}
}

// published are mutants of what writes the stream and looks after it.
func published() []Mutant {
	return []Mutant{
		{
			Name: "no-expected-last-id", File: listener + "chain/idchain.go",
			What: "A message does not name the one that it must follow.",
			Old:  `	msg := event.Encode(c.wire.flow, m, c.lastID)`,
			New:  `	msg := event.Encode(c.wire.flow, m, "")`,
		},
		{
			Name: "duplicate-is-success", File: listener + "chain/publisher.go",
			What: "The reply that a message is a duplicate, and was not stored, is taken for success.",
			Old:  `	if ack.Duplicate {`,
			New:  `	if ack.Duplicate && ack.Sequence == 0 {`,
		},
		{
			Name: "two-batches-in-flight", File: listener + "chain/batches.go",
			What: "The next atomic batch is sent before the one before it is stored.",
			Old: `	if b.flying.messages > 0 {
		return 0
	}

	next := b.waitingWhole`,
			New: `	if b.flying.messages > maxBatchMessages {
		return 0
	}

	next := b.waitingWhole`,
		},
		{
			Name: "first-part-has-the-events-token", File: listener + "chain/ledger.go",
			What: "The first part of an event carries the event's own resume token: after a crash its rest is never read again.",
			Old:  `	before := l.token`,
			New:  `	before := token`,
		},
		{
			Name: "attempt-not-raised", File: listener + "chain/ledger.go",
			What: "An event that stands unfinished at the tail is published again as the same attempt.",
			Old:  `	return unfinished.Attempt + 1, nil`,
			New:  `	return unfinished.Attempt, nil`,
		},
		{
			Name: "idle-stream-gets-no-marker", File: listener + "chain/ledger.go",
			What: "A stream that is idle gets no marker, so its tail becomes older than the source's history.",
			Old:  `	return (idle || l.markerPending || l.sinceMarker >= MarkerEvery) && l.markerAllowed()`,
			New:  `	return (l.markerPending || l.sinceMarker >= MarkerEvery) && l.markerAllowed()`,
		},
		{
			Name: "tail-of-two-moments", File: listener + "chain/tail.go",
			What: "The tail is put together from answers of before and after another listener published.",
			Old:  `		if after.LastSeq == before.LastSeq && after.LastTime.Equal(before.LastTime) {`,
			New:  `		if after.LastSeq >= before.LastSeq {`,
		},
		{
			Name: "tail-replaced-between-two-answers", File: listener + "chain/tail.go",
			What: "A message is taken for another one that had its number before NATS lost it.",
			Old:  ` && after.LastTime.Equal(before.LastTime) {`,
			New:  ` {`,
		},
		{
			Name: "foreign-tail-accepted", File: listener + "chain/tail.go",
			What: "The listener goes on behind a stranger's message.",
			Old:  `	if last.StreamID != stream.StreamID || last.ID == "" || last.ResumeToken == nil {`,
			New:  `	if last.ID == "" || last.ResumeToken == nil {`,
		},
		{
			Name: "counts-of-a-lost-tail-reused", File: listener + "capture/rewind.go",
			What: "Events that the tail has counted and no partition has are not missed: the next ones get their counts.",
			Old:  `	if !damage.Exceeds(known) && tail.Missing() <= 0 {`,
			New:  `	if !damage.Exceeds(known) {`,
		},
		{
			Name: "marker-that-is-a-duplicate-is-stored", File: "pkg/topology/publish.go",
			What: "A single message that the server takes for a duplicate, and does not store, counts as published.",
			Old:  `	case ack.Duplicate: //`,
			New:  `	case ack.Duplicate && ack.Sequence == 0: //`,
		},
		{
			Name: "count-of-an-unfinished-event-is-used", File: "pkg/topology/marker.go",
			What: "An event whose last part is missing counts as one that has happened: its next attempt gets another count.",
			Old:  `		return m.Count - 1`,
			New:  `		return m.Count`,
		},
		{
			Name: "generation-given-twice", File: listener + "rewind/watch.go",
			What: "A rewind gives a number that a checkpoint has from a generation that the stream has lost since.",
			Old: `		from = max(from, o.GetGeneration())
`,
			New: ``,
		},
		{
			Name: "rewind-to-the-highest-checkpoint", File: listener + "rewind/watch.go",
			What: "The stream is rewound to the highest checkpoint: what the others lack is missing for good.",
			Old:  `below(o.PartitionReport, owners[lowest].PartitionReport):`,
			New:  `below(owners[lowest].PartitionReport, o.PartitionReport):`,
		},
		{
			Name: "rewind-by-old-reports", File: listener + "rewind/watch.go",
			What: "Reports of before the damage was found count for the rewind: a checkpoint may have gone back since.",
			Old:  `		case o == nil || o.revision <= w.since || o.Skipped == nil:`,
			New:  `		case o == nil || o.Skipped == nil:`,
		},
		{
			Name: "purge-past-the-slowest-checkpoint", File: listener + "janitor/decide.go",
			What: "The stream is purged up to the fastest partition's checkpoint.",
			Old:  `		if r.Sequence < floor {`,
			New:  `		if r.Sequence > floor || floor == v.Last {`,
		},
		{
			Name: "purge-by-a-fenced-report", File: listener + "janitor/decide.go",
			What: "The report of an owner that was replaced counts for the purge.",
			Old:  `		if known == nil || r.Epoch > known.Epoch || r.Epoch == known.Epoch && r.Sequence < known.Sequence {`,
			New:  `		if known == nil || r.Sequence > known.Sequence {`,
		},
		{
			Name: "purge-by-another-generation", File: listener + "janitor/decide.go",
			What: "A checkpoint of before a rewind counts for what may be purged.",
			Old:  `	case r.Generation != v.Generation:`,
			New:  `	case r.Generation > v.Generation:`,
		},
		{
			Name: "stream-emptied-behind-the-marker", File: listener + "janitor/decide.go",
			What: "The newest marker, from which a restart knows the heads, may be purged.",
			Old:  `	if keep >= v.Marker {`,
			New:  `	if keep > v.Last {`,
		},
		{
			Name: "purge-sent-behind-a-restart", File: listener + "janitor/janitor.go",
			What: "What was decided before NATS came back, without the end of its stream, is purged all the same: nothing is left.",
			Old:  `	if j.reconnects() != reconnects {`,
			New:  `	if j.reconnects() < reconnects {`,
		},
		{
			Name: "later-collection-of-the-name", File: "pkg/routing/table.go",
			What: "Rewound to before what the stream keeps, a collection is taken for the one that has its name later: its events go another way.",
			Old:  `entry != nil || t.isOfLater() && !uuid.IsZero() {`,
			New:  `entry != nil {`,
		},
		{
			Name: "rewound-behind-a-lost-schema-change", File: listener + "chain/rewind.go",
			What: "A rewind begins at the lowest checkpoint with the table of a marker before it: a schema change between, which the stream has lost, is not known.",
			Old:  `	return Place{marker.ResumeToken, marker.Position, marker.Event, marker.Skipped, to.Table}, nil`,
			New:  `	return to, nil`,
		},
	}
}
