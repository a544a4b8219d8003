package mutants

// consumed are mutants of what brings an event from the stream to a batch.
func consumed() []Mutant {
	return []Mutant{
		{
			Name: "large-numbers-are-other-documents", File: "pkg/event/number.go",
			What: "An _id of 2^40 as a double goes to another partition than the same number as a long.",
			Old:  `	case f == math.Trunc(f) && f >= -(1<<63) && f < 1<<63: // -0.0 becomes 0`,
			New:  `	case f == math.Trunc(f) && f >= -(1<<31) && f < 1<<31: // -0.0 becomes 0`,
		},
		{
			Name: "parts-of-two-attempts-joined", File: "pkg/event/assemble.go",
			What: "Parts of an event that was published twice are put together from both attempts.",
			Old: `		m.Attempt == a.last.Attempt &&
`,
			New: ``,
		},
		{
			Name: "message-id-without-the-attempt", File: "pkg/event/message.go",
			What: "The parts of a second attempt have the message ids of the first: the server drops them as duplicates.",
			Old:  `		uint64(m.Attempt), m.Event, m.Count, uint64(m.Parts), //nolint:gosec // never negative`,
			New:  `		m.Event, m.Count, uint64(m.Parts), //nolint:gosec // never negative`,
		},
		{
			Name: "event-at-the-checkpoint-comes-again", File: processor + "consume/verifier.go",
			What: "The guard against events that are applied already has < for <=.",
			Old:  `	if m.Position.Compare(v.position) <= 0 {`,
			New:  `	if m.Position.Compare(v.position) < 0 {`,
		},
		{
			Name: "hole-in-the-counts-accepted", File: processor + "consume/verifier.go",
			What: "A count that is too high is taken: events that the stream lost are passed over in silence.",
			Old:  `	if m.Count != expected {`,
			New:  `	if m.Count < expected {`,
		},
		{
			Name: "generation-before-read-on", File: processor + "consume/verifier.go",
			What: "Messages of the generation before are read on, whose counts mean other events.",
			Old:  `	case m.Generation < v.generation:`,
			New:  `	case m.Generation+1 < v.generation:`,
		},
		{
			Name: "lost-delivery-not-noticed", File: processor + "consume/verifier.go",
			What: "A delivery that went into a dead connection is not noticed.",
			Old:  `	if consumerSequence != v.consumer+1 {`,
			New:  `	if consumerSequence <= v.consumer {`,
		},
		{
			Name: "consumer-begins-one-late", File: "pkg/topology/topology.go",
			What: "An owner's consumer leaves out the message behind the checkpoint.",
			Old:  `		OptStartSeq:       checkpoint + 1,`,
			New:  `		OptStartSeq:       checkpoint + 2,`,
		},
		{
			Name: "deletion-by-hand-allowed", File: "pkg/topology/stream.go",
			What: "A stream whose messages may be deleted passes the check of its configuration.",
			Old: `	check("deny_delete", want.DenyDelete, live.DenyDelete)
`,
			New: ``,
		},
		{
			Name: "trickle-starves-a-batch", File: processor + "batch/batch.go",
			What: "The age of a batch is counted from its last event, so a trickle keeps it open for ever.",
			Old:  `now.Sub(b.first) >= b.limits.MaxAge`,
			New:  `now.Sub(b.last) >= b.limits.MaxAge`,
		},
		{
			Name: "full-batch-takes-in-more", File: processor + "ownership/lane.go",
			What: "A partition reads on while its next batch is full: a slow target fills the memory.",
			Old:  `func (l *lane) wants() bool { return !l.batcher.Full() && l.aside == nil }`,
			New:  `func (l *lane) wants() bool { return l.aside == nil }`,
		},
		{
			Name: "large-events-wait-for-each-other", File: processor + "consume/budget.go",
			What: "Several large events may be half collected at a time, and wait for each other's memory.",
			Old:  `large: int64(bytes) > b.total/largeShare}`,
			New:  `large: int64(bytes) > b.total*largeShare}`,
		},
		{
			Name: "answers-of-two-listeners-mixed", File: "pkg/refetch/collect.go",
			What: "Parts of the answers of two listeners are put together to one document.",
			Old:  `	if p.encoded != c.following || p.number < c.next {`,
			New:  `	if p.number < c.next {`,
		},
		{
			Name: "pulls-by-messages", File: processor + "consume/pull.go",
			What: "A pull that was too small for the next message is asked for again, as large as it was.",
			Old: `		jetstream.PullThresholdMessages(countNoMessages),
`,
			New: ``,
		},
	}
}

// applied are mutants of what writes a batch to the target.
func applied() []Mutant {
	return []Mutant{
		{
			Name: "unknown-commit-is-a-failure", File: processor + "apply/judge.go",
			What: "A transaction of unknown outcome that the checkpoint shows as committed is taken for failed.",
			Old: `		return Committed
`,
			New: `		return NotCommitted
`,
		},
		{
			Name: "outage-counts-against-a-document", File: "pkg/mongodb/classify.go",
			What: "Trouble of the target is taken for the document's own error, and its retries are counted.",
			Old:  `	if len(codes) == 0 || IsTransient(err) || IsUnauthorized(err) {`,
			New:  `	if len(codes) == 0 || IsUnauthorized(err) {`,
		},
		{
			Name: "write-conflict-given-up", File: "pkg/mongodb/classify.go",
			What: "A write conflict that the server does not label is not tried again as an outage is.",
			Old:  `		24, 46, 112, //`,
			New:  `		24, 46, //`,
		},
		{
			Name: "commit-guard-without-the-owner", File: processor + "apply/apply.go",
			What: "A transaction moves the checkpoint whoever owns the partition by now.",
			Old: `		{Key: "epoch", Value: last.Epoch},
		{Key: "owner", Value: last.Owner},
`,
			New: ``,
		},
		{
			Name: "commit-guard-without-the-commits", File: processor + "apply/apply.go",
			What: "A transaction moves the checkpoint although another one of the same owner has moved it.",
			Old: `		{Key: "place.sequence", Value: last.Sequence},
		{Key: "commits", Value: last.Commits},
`,
			New: ``,
		},
		{
			Name: "target-that-went-back-not-noticed", File: processor + "apply/judge.go",
			What: "A checkpoint of an earlier epoch, of a target that was restored, is somebody else's.",
			Old:  `	if !present || held.Epoch < last.Epoch {`,
			New:  `	if !present {`,
		},
		{
			Name: "unproven-commit-is-committed", File: processor + "apply/commit.go",
			What: "A transaction of unknown outcome that the checkpoint does not show is taken for committed.",
			Old:  `		return err // it did not happen: to be repeated`,
			New:  `		return nil // it did not happen: to be repeated`,
		},
		{
			Name: "counters-beside-the-transaction", File: processor + "apply/apply.go",
			What: "The counters do not commit with the writes.",
			Old: `		{Key: "counters", Value: next.Counters},
`,
			New: ``,
		},
		{
			Name: "document-that-is-missing-is-updated", File: processor + "apply/write.go",
			What: "Fewer documents than a transaction addressed are enough: an update of one that is not there is lost.",
			Old:  `	if matched == want {`,
			New:  `	if matched <= want {`,
		},
	}
}
