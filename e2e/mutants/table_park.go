package mutants

// parked are mutants of what becomes of events that the target refuses.
func parked() []Mutant {
	return []Mutant{
		{
			Name: "follower-overtakes-in-its-batch", File: processor + "park/refuse.go",
			What: "Of the later events of a batch the one right behind a refused event is applied, although it may be of the same document.",
			Old:  `		case i > at && item.Entry == nil && item.Fate == Apply:`,
			New:  `		case i > at+1 && item.Entry == nil && item.Fate == Apply:`,
		},
		{
			Name: "follower-overtakes-in-a-later-batch", File: processor + "park/lot.go",
			What: "An event does not wait behind those of its document that are parked since an earlier batch.",
			Old:  `		case d == nil, lifted[item.Key]:`,
			New:  `		case d == nil, lifted[item.Key], len(d.entries) > 0 && d.first() != nil:`,
		},
		{
			Name: "delta-behind-a-dead-letter", File: processor + "park/lot.go",
			What: "A delta is applied to a document that missed a change before it.",
			Old:  `		case d.first() == nil && item.Whole: // it ends the mark, and lets pass what is behind it`,
			New:  `		case d.first() == nil: // it ends the mark, and lets pass what is behind it`,
		},
		{
			Name: "delta-on-a-refetched-document", File: processor + "park/document.go",
			What: "An event of the very time that a refetched document covers is applied to it once more.",
			Old:  `	return !(bson.Timestamp{T: position.T, I: position.I}).After(t)`,
			New:  `	return (bson.Timestamp{T: position.T, I: position.I}).Before(t)`,
		},
		{
			Name: "cover-ends-too-early", File: processor + "park/effects.go",
			What: "It is forgotten that a document was refetched while events that its image holds are still to come.",
			Old:  `		if !upTo(position, t) {`,
			New:  `		if !upTo(position, p.oldest) || t.IsZero() {`,
		},
		{
			Name: "failed-counted-twice", File: processor + "park/effects.go",
			What: "A dead letter that was replayed and failed again counts as failed twice.",
			Old: `		if !e.Counted {
			b.fx.Failed += e.events()
		}

		e.State,`,
			New: `		b.fx.Failed += e.events()

		e.State,`,
		},
		{
			Name: "letter-replayed-twice", File: stats + "deadletter/act.go",
			What: "A dead letter that somebody else has just replayed is replayed once more.",
			Old: `		{Key: "flow", Value: t.flow},
		{Key: "state", Value: parked.Dead},
`,
			New: `		{Key: "flow", Value: t.flow},
`,
		},
		{
			Name: "one-retry-too-few", File: processor + "park/effects.go",
			What: "The last retry is left out.",
			Old:  `e.Attempts > b.p.policy.Retries {`,
			New:  `e.Attempts >= b.p.policy.Retries {`,
		},
		{
			Name: "unfitting-delta-counts", File: processor + "park/effects.go",
			What: "A delta that does not fit the target's document uses up a retry before the source was asked.",
			Old: `	case parked.Unfitting:
		return false
	case parked.Conflict:
		return b.countsConflict(e, item)
`,
			New: `	case parked.Unfitting:
		return true
	case parked.Conflict:
		return b.countsConflict(e, item)
`,
		},
		{
			Name: "conflict-of-an-image-lets-the-event-through", File: processor + "park/effects.go",
			What: "An event that only the source's document can take the place of is written itself once that has conflicted.",
			Old:  `	if e.Reason != parked.Unfitting || e.Whole {`,
			New:  `	if e.Reason != parked.Unfitting || e.Whole || why.Reason == parked.Conflict {`,
		},
		{
			Name: "parked-event-under-its-old-name", File: processor + "ownership/parked.go",
			What: "A parked event is written where it says, although its collection was renamed since.",
			Old: `		e.Namespace = item.Key.Namespace() // which it has followed, if its collection was renamed
`,
			New: "",
		},
		{
			Name: "room-not-told", File: processor + "ownership/work.go",
			What: "An idle partition whose dead letters were discarded does not tell the others that there is room.",
			Old:  `	if l.parked.Bytes() == l.held.ParkedBytes || !l.passage.MayTry(l.held.Position) {`,
			New:  `	if l.parked.Bytes() >= 0 || !l.passage.MayTry(l.held.Position) {`,
		},
	}
}
