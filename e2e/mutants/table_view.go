package mutants

// viewed are mutants of what people are told, and of what they may do.
func viewed() []Mutant {
	return []Mutant{
		{
			Name: "sum-of-two-moments", File: stats + "collect/collect.go",
			What: "The stream's figures are read before the checkpoints, so a sample may have more processed than there is.",
			Old: `	before := f.readTarget(ctx, in)
	in.Still = f.readStream(ctx, in, before)
`,
			New: `	in.Still = f.readStream(ctx, in, nil)
	before := f.readTarget(ctx, in)
	_ = before
`,
		},
		{
			Name: "parked-is-not-pending", File: stats + "tally/count.go",
			What: "Events that are parked are in no sum.",
			Old:  `	p.Pending = new(unread + unsigned(p.Checkpoint.Parked))`,
			New:  `	p.Pending = new(unread)`,
		},
		{
			Name: "skipped-by-the-listener-forgotten", File: stats + "tally/count.go",
			What: "Only what processors skipped counts as skipped.",
			Old:  `		s.Skipped = new(in.Stream.Skipped + skipped)`,
			New:  `		s.Skipped = new(skipped)`,
		},
		{
			Name: "sum-that-differs-is-fine", File: stats + "tally/judge.go",
			What: "A sum that does not add up does not change the status.",
			Old:  `	if s.AddsUp != nil && !*s.AddsUp {`,
			New:  `	if s.AddsUp != nil && *s.Total < *s.Processed && !*s.AddsUp {`,
		},
		{
			Name: "accepted-once-is-for-ever", File: "pkg/checkpoint/unsupported.go",
			What: "An accepted divergence hides what the target differs by later.",
			Old: `	return max(0, d.Events-d.AcceptedEvents)
`,
			New: `	if d.AcceptedEvents > 0 {
		return 0
	}

	return d.Events
`,
		},
		{
			Name: "viewer-may-replay", File: stats + "api/access.go",
			What: "What changes something needs no more than the role of a viewer.",
			Old:  `	return access.Operator`,
			New:  `	return access.Viewer`,
		},
		{
			Name: "password-with-an-at-sign-shown", File: "pkg/settings/secret.go",
			What: "Of a password that has an @ what follows it is shown.",
			Old:  `	if at := strings.LastIndexByte(rest, '@'); at >= 0 {`,
			New:  `	if at := strings.IndexByte(rest, '@'); at >= 0 {`,
		},
		{
			Name: "secret-in-structured-logs", File: "pkg/settings/secret.go",
			What: "A URI shows its password to slog.",
			Old:  `func (u URI) LogValue() slog.Value { return slog.StringValue(u.String()) }`,
			New:  `func (u URI) LogValue() slog.Value { return slog.StringValue(u.Reveal()) }`,
		},
		{
			Name: "verify-ignores-missing-documents", File: relayctl + "verify/merge.go",
			What: "Documents of the source behind the target's last one are taken for equal.",
			Old: `	case target == nil:
		return step{kind: Missing, source: true}`,
			New: `	case target == nil:
		return step{source: true}`,
		},
		{
			Name: "verify-does-not-wait-for-the-flow", File: relayctl + "verify/rechecks.go",
			What: "A document in flight is judged before the flow has passed it.",
			Old:  `	return r.those(func(s *Suspect) bool { return !s.at.IsZero() && p.passed(s.Partition, s.at) })`,
			New:  `	return r.those(func(s *Suspect) bool { return !s.at.IsZero() && len(p.Partitions) > s.Partition })`,
		},
		{
			Name: "gap-without-fence", File: relayctl + "flow/gap_marker.go",
			What: "The marker behind an accepted gap follows whatever the tail is by then, instead of the one that was decided on.",
			Old: `	tail.Sequence = uint64(g.Sequence) //nolint:gosec // never negative; another tail by now is refused
`,
			New: ``,
		},
		{
			Name: "gap-in-the-same-generation", File: relayctl + "flow/gap_marker.go",
			What: "The marker that passes over a hole begins no generation: partitions go on in the one that has the hole.",
			Old:  `		generation, number, skipped = uint64(g.Generation), uint64(g.Event), uint64(g.Skipped) //nolint:gosec // never negative`,
			New:  `		number, skipped = uint64(g.Event), uint64(g.Skipped)`,
		},
		{
			Name: "unknown-token-is-nobody-in-particular", File: stats + "access/access.go",
			What: "Who shows a token that nobody has is let in as one without a token.",
			Old:  `			return Identity{}, ErrBadToken`,
			New:  `			break`,
		},
		{
			Name: "reports-of-the-future", File: stats + "collect/reports.go",
			What: "A report that NATS dated by a clock that was ahead arrives in the future: whoever sent it lives that long.",
			Old:  `	if arrived := update.Created().Add(offset); arrived.Before(now) {`,
			New:  `	if arrived := update.Created().Add(offset); !arrived.IsZero() {`,
		},
	}
}
