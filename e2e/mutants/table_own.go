package mutants

// owned are mutants of who may work on what.
func owned() []Mutant {
	return []Mutant{
		{
			Name: "zombie-renews-anothers-lease", File: "pkg/lease/lease.go",
			What: "A holder whose lease has passed to another takes it back with its next renewal.",
			Old:  `	if !held.isLease || held.value != l.value {`,
			New:  `	if !held.isLease {`,
		},
		{
			Name: "lease-counted-from-the-reply", File: "pkg/lease/lease.go",
			What: "A holder counts its lease from the server's reply: while that is on its way the server's time runs.",
			Old: `	l.end = sent.Add(l.ttl - Margin(l.ttl))
`,
			New: `	l.end = sent.Add(time.Since(sent) + l.ttl - Margin(l.ttl))
`,
		},
		{
			Name: "context-outlives-its-lease", File: "pkg/lease/lease.go",
			What: "Work that begins when the lease has just ended is never told so.",
			Old: `	if l.err != nil {
		cancel(l.err)

		return ctx, func() { cancel(nil) }
	}

`,
			New: ``,
		},
		{
			Name: "beaten-leader-asks-at-once", File: listener + "leader/candidate.go",
			What: "Two listeners that both believe to lead chase each other off the tail.",
			Old: `	c.Ended()
	c.notUntil = now.Add(c.TTL)
`,
			New: `	c.Ended()
`,
		},
		{
			Name: "epoch-not-raised", File: processor + "ownership/acquire.go",
			What: "A new ownership has the epoch of the one before.",
			Old:  `	return epoch + 1`,
			New:  `	return epoch`,
		},
		{
			Name: "epoch-by-the-checkpoint-alone", File: processor + "ownership/acquire.go",
			What: "What this processor owned counts for nothing in the next epoch: a restored target brings an old one back to life.",
			Old:  `		epoch = max(epoch, c.last.Epoch)`,
			New:  `		epoch = max(epoch, 0)`,
		},
		{
			Name: "stale-owner-takes-it-back", File: processor + "ownership/acquire.go",
			What: "An owner that was replaced while it was not looking acquires the partition again under its old lease.",
			Old:  `	return c.last != nil && c.mine && held.Owner != c.owner`,
			New:  `	return c.last != nil && c.mine && held.Epoch < c.last.Epoch`,
		},
		{
			Name: "gap-of-any-marker", File: processor + "ownership/anew.go",
			What: "A checkpoint that is fenced for a gap moves behind the marker of whatever gap comes next.",
			Old:  `	if m.StreamID != stream.StreamID || marker.GetAcceptedGap() != held.Gap.ID {`,
			New:  `	if m.StreamID != stream.StreamID || marker.GetAcceptedGap() == "" {`,
		},
		{
			Name: "hole-of-a-former-owner", File: processor + "ownership/rewind.go",
			What: "Who met a hole tells it to the listener though somebody else owns the partition by now.",
			Old:  `	if !present || now.Epoch != p.held.Epoch || now.Owner != p.held.Owner {`,
			New:  `	if !present || now.Epoch < p.held.Epoch {`,
		},
	}
}

// crossed are mutants of schema changes and pauses.
func crossed() []Mutant {
	return []Mutant{
		{
			Name: "barrier-passed-before-all-came", File: processor + "barrier/barrier.go",
			What: "A schema change is made although a partition stands at an earlier one.",
			Old:  `!there || arrival.Position.Before(l.At.Position) {`,
			New:  `!there || arrival.Epoch < 0 {`,
		},
		{
			Name: "arrival-of-a-former-owner", File: processor + "barrier/barrier.go",
			What: "That a partition has arrived counts although another owner has taken it since.",
			Old:  `arrived && known && arrival.Epoch == present.Epoch && arrival.Commits`,
			New:  `arrived && known && arrival.Epoch <= present.Epoch && arrival.Commits`,
		},
		{
			Name: "arrival-that-the-target-has-lost", File: processor + "barrier/barrier.go",
			What: "That a partition has arrived counts on a target that was restored from a backup and lacks what it had committed.",
			Old:  `arrival.Epoch == present.Epoch && arrival.Commits <= present.Commits`,
			New:  `arrival.Epoch == present.Epoch`,
		},
		{
			Name: "restored-target-is-not-seen-at-a-barrier", File: processor + "barrier/barrier.go",
			What: "Who stands at a schema change does not look whether the target has its last commit.",
			Old:  `	if v.wentBack(l) {`,
			New:  `	if false && v.wentBack(l) {`,
		},
		{
			Name: "void-change-is-waited-for", File: processor + "barrier/barrier.go",
			What: "Partitions wait at a schema change that never came for partition 0, which stands at the next one and waits for them.",
			Old:  `	if first, there := v.arrival(0); there && l.At.Position.Before(first.Position) {`,
			New:  `	if first, there := v.arrival(0); there && first.Position.Before(first.Position) {`,
		},
		{
			Name: "idle-checkpoint-passes-a-barrier", File: processor + "barrier/passage.go",
			What: "An idle partition's checkpoint is moved to a marker behind a schema change that it has not passed.",
			Old:  `	return lastBarrier <= max(held, p.passed.Event)`,
			New:  `	return lastBarrier <= max(held, p.passed.Event) || !p.standing`,
		},
		{
			Name: "parked-tried-at-a-barrier", File: processor + "barrier/passage.go",
			What: "Parked events are tried while their partition stands at a schema change.",
			Old:  `	return !p.standing && (!held.Before(p.hold) || !p.passed.Position.Before(p.hold))`,
			New:  `	return !held.Before(p.hold) || !p.passed.Position.Before(p.hold)`,
		},
		{
			Name: "parked-tried-behind-a-change-begun", File: processor + "barrier/barrier.go",
			What: "A new owner tries what is parked while a schema change is made that its partition has not reached.",
			Old:  `	if d.Executing == nil || !held.Before(d.Executing.Position) {`,
			New:  `	if d.Executing == nil || !held.IsZero() {`,
		},
		{
			Name: "replaced-owner-claims-a-change", File: processor + "barrier/barrier.go",
			What: "An owner that was replaced makes a schema change again that its successor has claimed, and may have passed.",
			Old: `	case executing != nil && executing.Epoch > l.Epoch: // as above
`,
			New: ``,
		},
		{
			Name: "prepared-again", File: processor + "barrier/barrier.go",
			What: "A second owner that makes a schema change looks anew at what was there before, which the first may have changed.",
			Old:  `	if v.Executing != nil && v.Executing.Barrier == l.At {`,
			New:  `	if v.Executing != nil && v.Executing.Barrier == l.At && v.Executing.Epoch == l.Epoch {`,
		},
		{
			Name: "pause-forgotten-at-the-start", File: processor + "ownership/owner.go",
			What: "A processor that starts owns partitions, and writes, before it has looked whether the flow is paused.",
			Old: `	if readErr := o.lookForPause(ctx); readErr != nil {
		return readErr
	}

`,
			New: ``,
		},
		{
			Name: "paused-namespace-written", File: processor + "park/lot.go",
			What: "Changes of a paused namespace are written like any other.",
			Old:  `		case p.holds(item.Key):`,
			New:  `		case p.holds(item.Key) && d != nil:`,
		},
	}
}
